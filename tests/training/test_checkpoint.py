"""A state is of one run: whole, its own, and never executed."""

import hashlib
import json
import os
import pickle
import resource
import signal
import stat
from contextlib import contextmanager

import pandas as pd
import pytest
import torch
import yaml

from giblet.codec.training.checkpoints import load_checkpoint, save_checkpoint
from giblet.errors import CheckpointError, InputError
from giblet.pipeline.trained_run import TrainedRun
from giblet.training.checkpoint import followed, load_state, restore, save_state
from giblet.training.trainer import Trainer
from tests.trained import other_film


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    save_state(tmp_path, model, optimizer, 1, {"rows": [{"val": 0.1 + 0.2}]})
    return tmp_path, model, optimizer


def test_a_state_comes_back_to_the_last_bit(saved):
    folder, model, optimizer = saved
    state = load_state(folder)
    assert state["step"] == 1 and state["rows"] == [{"val": 0.1 + 0.2}]
    other = torch.nn.Linear(3, 2)
    fresh = torch.optim.AdamW(other.parameters())
    restore(state, other, fresh)
    assert torch.equal(model.weight, other.weight) and torch.equal(model.bias, other.bias)
    one, two = (o.state_dict()["state"] for o in (optimizer, fresh))
    assert one.keys() == two.keys() and all(torch.equal(one[i][k], two[i][k]) for i in one for k in one[i])


def test_a_kill_between_the_two_files_leaves_the_old_state(saved, monkeypatch):
    folder, model, optimizer = saved

    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("giblet.training.checkpoint.json.dumps", killed)
    with pytest.raises(KeyboardInterrupt):
        save_state(folder, model, optimizer, 2, {})
    assert load_state(folder)["step"] == 1
    monkeypatch.undo()
    save_state(folder, model, optimizer, 3, {})
    assert [p.name for p in folder.glob("step-*")] == ["step-00000003.safetensors"]


@contextmanager
def disk_of(size: int):
    """Files cannot grow beyond so many bytes within the block: writing fails as on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_one_line_and_leaves_the_state_before(saved):
    folder, *_ = saved
    large = torch.nn.Linear(300, 300)
    with disk_of(100_000), pytest.raises(InputError, match=r"cannot write .*step-00000002.*free some space") as told:
        save_state(folder, large, torch.optim.AdamW(large.parameters()), 2, {})
    assert "\n" not in str(told.value)
    assert sorted(p.name for p in folder.iterdir()) == ["last.json", "step-00000001.safetensors"]
    assert load_state(folder)["step"] == 1


def test_a_full_disk_leaves_the_checkpoint_before_of_a_codec_too(tmp_path):
    state = {"minutes": 0.0, "rows": [], "config": {}}
    save_checkpoint(tmp_path, 1, {"a": torch.zeros(3)}, state)
    with disk_of(100_000), pytest.raises(InputError, match=r"cannot write .*step-00000002"):
        save_checkpoint(tmp_path, 2, {"a": torch.zeros(300, 300)}, state)
    assert load_checkpoint(tmp_path)[1]["step"] == 1


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_all_files_of_a_run_have_the_modes_that_the_umask_leaves(settings, mask):
    before = os.umask(mask)
    try:
        run = settings(f"mask-{mask:o}", steps=1)
        Trainer(run).fit()
        save_checkpoint(run.output / "codec", 1, {"a": torch.zeros(3)}, {})
    finally:
        os.umask(before)
    files = [path for path in run.output.rglob("*") if path.is_file()]
    assert len(files) >= 12
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~mask}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "has format 'list'"),
        ("[" * 100_000, "cannot read"),  # RecursionError
        ('{"format": "giblet-training-2", "step": 1}', "lacks tensors, sha256"),
        ('{"format": "giblet-training-2", "step": 1, "tensors": 7, "sha256": ""}', "is not the file"),
        ("\x00", "cannot read"),
    ],
)
def test_a_json_of_anything_at_all_is_refused_in_one_line(saved, content, message):
    folder, *_ = saved
    (folder / "last.json").write_text(content)
    with pytest.raises(CheckpointError, match=message) as told:
        load_state(folder)
    assert "\n" not in str(told.value) and len(str(told.value)) < 500


def damage_truncated(folder, tensors):
    tensors.write_bytes(tensors.read_bytes()[:-5])


def damage_tampered(folder, tensors):
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)


def damage_missing(folder, tensors):
    tensors.unlink()


def damage_json(folder, tensors):
    (folder / "last.json").write_text("{")


def damage_version(folder, tensors):
    state = json.loads((folder / "last.json").read_text())
    (folder / "last.json").write_text(json.dumps({**state, "format": "giblet-training-0"}))


def damage_elsewhere(folder, tensors):
    state = json.loads((folder / "last.json").read_text())
    (folder / "last.json").write_text(json.dumps({**state, "tensors": "../" + tensors.name}))


@pytest.mark.parametrize(
    "damage", [damage_truncated, damage_tampered, damage_missing, damage_json, damage_version, damage_elsewhere]
)
def test_a_damaged_state_is_refused(saved, damage):
    folder, *_ = saved
    damage(folder, folder / "step-00000001.safetensors")
    with pytest.raises(CheckpointError, match=r"delete .* to train from scratch"):
        load_state(folder)


class Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_in_place_of_the_tensors_is_never_executed(saved, tmp_path):
    folder, model, optimizer = saved
    content = pickle.dumps(Malice(tmp_path / "executed"))
    pickle.loads(content).close()  # noqa: S301  (it does what it says)
    (tmp_path / "executed").unlink()
    (folder / "step-00000001.safetensors").write_bytes(content)
    state = json.loads((folder / "last.json").read_text())
    state["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "last.json").write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match="not of this model"):
        restore(load_state(folder), model, optimizer)
    assert not (tmp_path / "executed").exists()


def test_a_run_goes_on_under_its_own_settings_data_and_codec_alone(settings, shown, tmp_path):
    run = settings(steps=1)
    Trainer(run).fit()
    for changes, message in [
        ({"learning_rate": 0.5}, "learning_rate was 0.01, is 0.5"),
        ({"model": {"dropout": 0.2}}, "model.dropout was 0.1, is 0.2"),
        ({"final_learning_rate": 1e-4, "steps": 2}, "final_learning_rate was None"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            Trainer(settings(**{"steps": 1, **changes})).fit()
    # How long and where may change.
    assert Trainer(settings(steps=2, patience=7, checkpoint_every=1, num_workers=0)).fit().step == 2

    state = json.loads((run.output / "checkpoints" / "last.json").read_text())
    last = run.output / "checkpoints" / "last.json"
    for part, value, message in [
        ("n_voxels", {"01": 13}, "n_voxels.01 was 13, is 12"),
        ("codec_fingerprint", {"codec": "0" * 64}, "codec_fingerprint.codec was '0000"),
        ("sources", {**state["sources"], str(shown["speech"][1]): "1" * 64}, "speech.*was '1111"),
    ]:
        last.write_text(json.dumps({**state, part: value}))
        with pytest.raises(CheckpointError, match=message):
            Trainer(settings(steps=2)).fit()
    last.write_text(json.dumps(state))
    assert Trainer(settings(steps=2)).fit().status == "up to date"


def test_other_voxels_in_the_files_are_noticed(settings, shown, tmp_path):
    table = pd.read_csv(shown["speech"][1], sep="\t").iloc[:, :7]
    table.to_csv(tmp_path / "bold.tsv", sep="\t", index=False)
    films = [str(other_film(shown["speech"][0], k)) for k in range(3)]
    runs = [{"bold": str(tmp_path / "bold.tsv"), "audio": film} for film in films]
    data = {"subjects": [{"name": "01", "runs": runs}], "fractions": (0.34, 0.33, 0.33)}
    Trainer(settings(steps=1, data=data)).fit()
    table.iloc[:, :6].to_csv(tmp_path / "bold.tsv", sep="\t", index=False)
    with pytest.raises(CheckpointError, match=r"n_voxels\.01 was 7, is 6"):
        Trainer(settings(steps=1, data=data)).fit()


def test_a_file_that_was_moved_is_the_same_and_one_that_was_changed_is_not(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "bold.tsv").write_text("a\n1\n")
    old, new = str(tmp_path / "gone.tsv"), str(tmp_path / "new" / "bold.tsv")
    digest = hashlib.sha256(b"a\n1\n").hexdigest()
    state = {
        "settings": {"data": {"runs": [{"bold": old, "audio": "a.nc"}]}, "name": "x"},
        "sources": {old: digest, "a.nc": "1", str(tmp_path / "gone.json"): "2"},
    }
    now = {"data": {"runs": [{"bold": new, "audio": "b.nc"}]}, "name": "y"}
    found = followed(state, now)
    # The scan moved, and its sidecar with it; nothing is known of the other features.
    assert found["settings"] == {"data": {"runs": [{"bold": new, "audio": "a.nc"}]}, "name": "x"}
    assert found["sources"] == {new: digest, "a.nc": "1", str(tmp_path / "new" / "bold.json"): "2"}
    (tmp_path / "new" / "bold.tsv").write_text("a\n2\n")
    assert followed(state, now)["settings"] == state["settings"]


def test_a_state_whose_json_was_edited_is_refused_in_one_line(settings):
    run = settings(steps=1)
    Trainer(run).fit()
    last = run.output / "checkpoints" / "last.json"
    state = json.loads(last.read_text())
    for name in ("step", "seconds", "rows", "best", "running", "knowing_nothing", "settings", "sources"):
        for content in (None, "x", ...):
            edited = {k: v for k, v in state.items() if k != name} if content is ... else {**state, name: content}
            last.write_text(json.dumps(edited))
            with pytest.raises(CheckpointError, match=name) as told:
                Trainer(run).fit()
            assert "\n" not in str(told.value)
    last.write_text(json.dumps(state))
    assert Trainer(run).fit().status == "up to date"


def test_a_run_from_before_an_option_existed_goes_on(settings):
    """The default of a new option does what was done before there was one; another value does not."""
    run = settings(steps=1)
    Trainer(run).fit()
    last = run.output / "checkpoints" / "last.json"
    state = json.loads(last.read_text())
    del state["settings"]["clip_gradient"], state["settings"]["data"]["subjects"][0]["bad"]
    last.write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match=r"clip_gradient was 1\.0, is 2\.0"):
        Trainer(settings(steps=1, clip_gradient=2.0)).fit()
    assert Trainer(settings(steps=2)).fit().step == 2


def test_a_run_from_before_runs_were_centred_goes_on_and_opens_without(settings):
    """Its state and configuration lack the options; a configuration that names them otherwise is another run."""
    before = {"split": "subject", "centre_runs": False}
    run = settings(steps=1, data=before)
    Trainer(run).fit()
    last = run.output / "checkpoints" / "last.json"
    state = json.loads(last.read_text())
    values = yaml.safe_load((run.output / "config.yaml").read_text())
    for name in before:
        del state["settings"]["data"][name], values["data"][name]
    last.write_text(json.dumps(state))
    (run.output / "config.yaml").write_text(yaml.safe_dump(values))
    found = TrainedRun.open(run.output)
    opened, study, normalisers = found.settings, found.study, found.normalisers
    assert (opened.data.split, opened.data.centre_runs) == ("subject", False)
    assert not normalisers["01"]["bold"].levels and not study.normalisers["01"]["bold"].levels
    with pytest.raises(CheckpointError, match=r"data\.centre_runs was False, is True"):
        Trainer(settings(steps=2, data={"centre_runs": True})).fit()
    result = Trainer(settings(steps=2)).fit()  # names neither
    assert (result.step, result.split, result.centre_runs) == (2, "subject", False)
    assert yaml.safe_load((run.output / "config.yaml").read_text())["data"]["centre_runs"] is False
