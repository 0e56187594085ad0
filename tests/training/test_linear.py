"""The linear path is ridge regression, of the training TRs alone; the network starts at it and can only add to it."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.optimize import minimize_scalar

from giblet.alignment import convolve_hrf
from giblet.codec.architecture import codebooks_of
from giblet.codec.quantizer import rvq_dequantize
from giblet.data.dataset.stimulus_split import ShownRun
from giblet.data.dataset.windows import Recording, fit_normalisers
from giblet.encoding import DecodingModel, EncodingModel, fit_ridge
from giblet.evaluation.predictions import predict
from giblet.models import Modality, ModelSettings, MultimodalAutoencoder
from giblet.models.linear_path import LinearPath
from giblet.statistics.correlation import correlations
from giblet.training.gains import gain_of
from giblet.training.linear import fit_linear_path, folds_of_rows
from giblet.training.linear_decoding import fit_linear_decoding
from giblet.training.objective import Objective
from giblet.training.parts import moments_of
from giblet.training.scored_windows import ScoredWindows
from giblet.training.study import build_study
from giblet.training.trainer import Trainer
from tests.training.test_trainer import weights

TR, N, TRAIN = 1.5, 480, np.arange(320)
SMALL = {"tr": TR, "features": 16, "bottleneck": 8, "rank": 8}


def brain(seed, n_voxels=9, ref=0.0, run=None, **sizes):
    """Vectors by name, and BOLD that answers to all of them with an equal part of noise."""
    rng = np.random.default_rng(seed)
    shown = {name: rng.standard_normal((N, n)).astype(np.float32) for name, n in (sizes or {"text": 7}).items()}
    signal = sum(
        convolve_hrf(x, tr=TR, kind="continuous", slice_time_ref=ref, run=run)[:, : x.shape[1]]
        @ rng.standard_normal((x.shape[1], n_voxels))
        for x in shown.values()
    )
    return shown, signal / signal.std() + rng.standard_normal((N, n_voxels))


def fitted(subjects, ref=0.0, run=None, centre_runs=False, **options):
    """A model whose linear path was fitted to some subjects' training TRs; their recordings and normalisers."""
    recordings = [
        Recording.of(name, {**shown, "bold": bold}, tr=TR, run=run) for name, (shown, bold) in subjects.items()
    ]
    normalisers = fit_normalisers(recordings, TRAIN, centre_runs=centre_runs)
    kinds = {name: Modality("vector", (x.shape[1],)) for name, x in next(iter(subjects.values()))[0].items()}
    torch.manual_seed(0)
    model = MultimodalAutoencoder(
        ModelSettings.make(**SMALL, use_encodec=False, **options), kinds,
        {name: bold.shape[1] for name, (_, bold) in subjects.items()}, slice_time_ref=dict.fromkeys(subjects, ref),
    )  # fmt: skip
    windows = train_windows(model, *recordings, normalisers)
    told = fit_linear_path(model, windows, centre_runs=centre_runs)
    return model.eval(), recordings, normalisers, told


def train_windows(model, *recordings_and_normalisers):
    """Windows of the training part, of films that begin at row 0."""
    *recordings, normalisers = recordings_and_normalisers
    return ScoredWindows(
        recordings, {one.subject: TRAIN for one in recordings}, window=42, context=model.context_trs,
        lead=model.lead_trs, normalisers=normalisers, stimulus_trs={one.subject: np.arange(N) for one in recordings},
    )  # fmt: skip


def predicted(model, recording, normalisers, trs):
    (stretch,) = predict(model, recording, normalisers[recording.subject], trs, stimulus_trs=np.arange(N))
    return normalisers[recording.subject]["bold"].inverse(stretch.bold_predicted)


TEST = np.arange(352, N)


@pytest.mark.parametrize("ref", [0.0, 0.5])
def test_untrained_model_predicts_what_fit_ridge_does(ref):
    shown, bold = brain(0, ref=ref)
    model, (recording,), normalisers, _ = fitted({"a": (shown, bold)}, ref=ref)
    ridge = fit_ridge(shown["text"], bold, TRAIN, TR, slice_time_ref=ref).predicted[TEST]
    ours = predicted(model, recording, normalisers, TEST)
    assert np.abs(ours - ridge).max() < 2e-3 * ridge.std()
    one, other = (correlations(bold[TEST], said).r for said in (ours, ridge))
    assert one == pytest.approx(other, abs=1e-4) and one.mean() > 0.4


def test_untrained_model_of_several_modalities_is_banded_ridge():
    shown, bold = brain(1, text=7, level=3)
    model, (recording,), normalisers, _ = fitted({"a": (shown, bold)})
    ridge = EncodingModel(tr=TR, hrf="glover", n_iter=20).fit(shown, bold, train=TRAIN).predict(shown)[TEST]
    assert np.abs(predicted(model, recording, normalisers, TEST) - ridge).max() < 2e-3 * ridge.std()


def test_linear_hrf_fir_is_ridge_with_copies_at_delays():
    shown, bold = brain(2)
    model, (recording,), normalisers, _ = fitted({"a": (shown, bold)}, linear_hrf="fir")
    ridge = fit_ridge(shown["text"], bold, TRAIN, TR, hrf="fir").predicted[TEST]
    assert np.abs(predicted(model, recording, normalisers, TEST) - ridge).max() < 2e-3 * ridge.std()


def test_levels_of_runs_teach_nothing():
    """Of runs that are centred, as in fit_ridge: a baseline of BOLD changes no weight."""
    run = np.repeat([1, 2, 3], N // 3)
    shown, bold = brain(3, run=run)
    model, (recording,), normalisers, _ = fitted(
        {"a": (shown, bold + 40 * (run == 1)[:, None])}, run=run, centre_runs=True
    )
    last = np.arange(2 * N // 3, N)
    learned = np.r_[: N // 3, N // 3 + model.context_trs : len(TRAIN)]  # the second run is not the film's beginning
    ridge = fit_ridge(shown["text"], bold, learned, TR, run=run).predicted[last]
    ours = predicted(model, recording, normalisers, last)
    assert np.diag(np.corrcoef(ours.T, ridge.T)[:9, 9:]).min() > 0.998  # but for how a run begins


def test_each_subject_has_a_ridge_of_its_own_and_voxels_without_change_stay_0():
    one, (shown, bold) = brain(4), brain(5, n_voxels=4)
    bold[TRAIN, 2] = 7.0
    together, recordings, normalisers, _ = fitted({"a": one, "b": (shown, bold)})
    alone, (recording,), own, _ = fitted({"b": (shown, bold)})
    assert all("bold" in together.linear_path.fitted_of(place) for place in (0, 1))
    both = [predicted(m, r, n, TEST) for m, r, n in ((together, recordings[1], normalisers), (alone, recording, own))]
    assert np.allclose(both[0], both[1], atol=1e-5)
    assert not together.linear_path.weights(1)[0][:, 2].any() and np.all(both[0][:, 2] == 7.0)


def test_training_is_told_what_the_linear_path_predicts():
    shown, bold = brain(7)
    model, (recording,), normalisers, told = fitted({"a": (shown, bold)})
    said = normalisers["a"]["bold"](predicted(model, recording, normalisers, TRAIN))
    assert np.allclose(told["a"]["bold"][TRAIN], said, atol=1e-4) and not told["a"]["bold"][len(TRAIN) :].any()


def test_linear_path_keeps_its_seconds_at_another_tr_and_its_hrf_while_the_networks_learns():
    shown, bold = brain(8)
    model, *_ = fitted({"a": (shown, bold)}, learnable_hrf=True)
    data = {"text": torch.from_numpy(shown["text"])[None]}
    mask = {"text": torch.ones(1, N, dtype=torch.bool)}
    before = model.predict_bold(data, mask, "a")
    with torch.no_grad():
        model.hrf.log_parameters.add_(0.3)
    assert torch.equal(model.predict_bold(data, mask, "a"), before)
    finer = {"text": data["text"].repeat_interleave(2, dim=1)}
    model.set_tr(TR / 2)
    halved = model.predict_bold(finer, {"text": mask["text"].repeat(1, 2)}, "a")[:, ::2]
    model.set_tr(TR)
    assert torch.equal(model.predict_bold(data, mask, "a"), before)
    assert np.corrcoef(halved.detach().numpy().ravel(), before.detach().numpy().ravel())[0, 1] > 0.95
    absent = model.predict_bold(data, {"text": torch.zeros(1, N, dtype=torch.bool)}, "a")
    assert torch.allclose(absent, model.linear_path.weights(0)[1].expand_as(absent))


def test_too_few_trs_for_folds_leave_the_network_alone(caplog):
    shown, bold = brain(9)
    recording = Recording.of("a", {"text": shown["text"][:60], "bold": bold[:60]}, tr=TR)
    model = MultimodalAutoencoder(
        ModelSettings.make(**SMALL, use_encodec=False), {"text": Modality("vector", (7,))}, {"a": 9}
    )
    windows = ScoredWindows([recording], {"a": np.arange(40)}, window=10, context=22, lead=7)
    assert fit_linear_path(model, windows, centre_runs=True) == {}
    assert "too little training data for the linear path" in caplog.text
    assert "bold" not in model.linear_path.fitted_of(0) and model.brains[0].to_voxels.weight.any()


def test_without_a_linear_path_the_network_is_the_same():
    shown, bold = brain(10)
    with_path, *_ = fitted({"a": (shown, bold)})
    without, *_, told = fitted({"a": (shown, bold)}, linear_path=False)
    assert without.linear_path is None and told == {}
    others = dict(with_path.named_parameters())
    for name, value in without.named_parameters():
        assert torch.equal(value, others[name]) or name.startswith("brains.0.to_voxels"), name


def test_gain_is_where_scipy_finds_the_least_loss_if_all_parts_agree():
    rng = np.random.default_rng(11)
    for best in (0.35, 0.8, 1.6):
        truth, said = rng.standard_normal((2, 8, 400))
        truth += best * said

        def loss(gain, truth=truth, said=said):
            return np.square(truth - gain * said)

        course = np.stack([loss(0).sum(1), loss(0.5).sum(1), loss(1).sum(1), np.full(8, 400.0)], axis=1)
        found = minimize_scalar(lambda g: loss(g).mean(), bounds=(0, 1), method="bounded", options={"xatol": 1e-9})
        gain, value = gain_of(course[None])
        assert gain == pytest.approx(found.x, abs=1e-4)
        assert (
            found.fun - 1e-6 <= value < found.fun + 0.02 * (loss(0).mean() - found.fun)
        )  # each part by the others' gain


def test_a_useless_network_rarely_gets_a_gain():
    """Of 400 networks of noise, and of 200 runs with 30 of them each, whichever of these is luckiest.

    Found on the TRs on which it is judged, half of all gains would be above 0, and nearly all of the luckiest.
    """
    rng = np.random.default_rng(12)

    def course(truth, said):
        return np.stack([*(np.square(truth - g * said).sum(1) for g in (0, 0.5, 1)), np.full(8, 20.0)], axis=1)

    alone = [gain_of(course(*rng.standard_normal((2, 8, 20)))[None])[0] for _ in range(400)]
    assert np.mean(np.array(alone) > 0) < 0.04
    runs = []
    for _ in range(200):
        truth = rng.standard_normal((8, 20))
        courses = np.array([course(truth, said) for said in rng.standard_normal((30, 8, 20))])
        runs.append(max(gain_of(courses[: k + 1])[0] for k in range(len(courses))))
    assert np.mean(np.array(runs) > 0) < 0.07
    same = np.tile([3.0, 3.0, 3.0, 5.0], (1, 4, 1))
    assert gain_of(same) == (1.0, pytest.approx(0.6))  # a network that says 0


def test_a_harmful_network_gets_no_gain_and_costs_nothing(settings, monkeypatch):
    """Weights of the network drawn at random: the validation is that of the linear path, and the model predicts it."""
    run = settings(learning_rate=1e-30, warmup_steps=0, weight_decay=0.0, steps=2)
    start = MultimodalAutoencoder.start_at_linear_path
    monkeypatch.setattr(MultimodalAutoencoder, "start_at_linear_path", lambda *_: None)
    result = Trainer(run).fit()
    monkeypatch.setattr(MultimodalAutoencoder, "start_at_linear_path", start)
    best = MultimodalAutoencoder.from_pretrained(run.output / "best")
    plain = settings("plain", learning_rate=1e-30, warmup_steps=0, weight_decay=0.0, steps=2)
    wanted = Trainer(plain).fit().linear_val["bold"]
    assert 0 <= float(best.linear_path.gain("bold")) < 0.5
    assert wanted - 0.02 < result.val["bold"] <= wanted + 1e-6


def test_each_way_keeps_its_own_best(settings, monkeypatch):
    """Encoding is best at step 2, decoding at step 4: best/ holds the weights of each as they were then."""
    courses = {"bold": (0.9, 0.5, 0.6, 0.7), "audio": (1.0, 0.99, 0.9, 0.95)}
    kept = {}
    for until in (2, 4, 6):
        calls = iter(range(4))

        def said(*_, calls=calls):
            k = next(calls)
            return ({name: course[k] for name, course in courses.items()},) * 2

        monkeypatch.setattr(Objective, "validate", said)
        run = settings(f"until-{until}", epochs=3)
        result = Trainer(run).fit(until=None if until == 6 else until)
        kept[until] = {n.removeprefix("model."): v for n, v in weights(run).items() if n.startswith("model.")}
    assert result.best_steps == {"encoding": 2, "decoding": 4} and result.best_step == 4
    assert result.val == {"bold": 0.5, "audio": 0.9} and result.best_val == pytest.approx(1.4)
    model = MultimodalAutoencoder.from_pretrained(run.output / "best")
    own = model.state_dict()
    ways = {model.way_of(name) for name, _ in model.named_parameters()}
    assert ways == {"encoding", "decoding"}
    for name, _ in model.named_parameters():
        step = {"encoding": 2, "decoding": 4}[model.way_of(name)]
        assert torch.equal(own[name], kept[step][name]), name
    names = [name for name, _ in model.named_parameters() if not torch.equal(kept[2][name], kept[4][name])]
    moved = {model.way_of(name) for name in names}
    assert moved == {"encoding", "decoding"}
    summary = json.loads((run.output / "summary.json").read_text())
    assert summary["best_steps"] == {"encoding": 2, "decoding": 4}


def test_patience_is_that_of_the_way_that_still_grows_better(settings, monkeypatch):
    calls = iter(range(99))

    def said(*_):
        return ({"bold": 0.9, "audio": max(1 - 0.01 * next(calls), 0.96)},) * 2

    monkeypatch.setattr(Objective, "validate", said)
    result = Trainer(settings(epochs=50, patience=3)).fit()
    assert result.status == "stopped early" and result.best_steps == {"encoding": 0, "decoding": 8}
    assert result.step == 14


def test_what_decoding_weighs_does_not_reach_encoding(settings):
    """The ways share no weights, and their gradients are clipped apart: bit for bit the same encoding."""
    found = []
    for weight in (1.0, 50.0):
        run = settings(f"weight-{weight:g}", steps=3, model={"modality_weights": {"audio": weight}})
        Trainer(run).fit()
        found.append(weights(run))
    model = MultimodalAutoencoder.from_pretrained(run.output / "best")
    names = [name for name, _ in model.named_parameters()]
    same = {name: torch.equal(found[0][f"model.{name}"], found[1][f"model.{name}"]) for name in names}
    assert all(same[name] for name in names if model.way_of(name) == "encoding")
    assert not all(same[name] for name in names if model.way_of(name) == "decoding")


def test_run_of_before_each_way_kept_its_own_best_goes_on(settings):
    """Its state names one step for both, knows no linear path, and keeps no best weights."""
    run = settings(steps=2, model={"linear_path": False})
    first = Trainer(run).fit()
    last = run.output / "checkpoints" / "last.json"
    state = json.loads(last.read_text())
    ways = state["best"]
    step = ways["encoding"]["step"]
    assert step == ways["decoding"]["step"] == 2
    state["best"] = {"step": step, "total": first.best_val, "val": first.val, "since": 0}
    del state["settings"]["model"]["linear_path"], state["settings"]["model"]["linear_hrf"]
    last.write_text(json.dumps(state))
    result = Trainer(settings(steps=4)).fit()
    assert result.step == 4 and result.best_val <= first.best_val
    whole = settings("whole", steps=4, model={"linear_path": False})
    Trainer(whole).fit()
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(run)[name]), name


def heard_brain(seed, n_voxels=40):
    """Vectors of three numbers, and BOLD of many voxels that answers to them with as much noise."""
    return brain(seed, n_voxels=n_voxels, text=3)


def test_untrained_model_decodes_as_the_decoding_model_does():
    shown, bold = heard_brain(20)
    model, (recording,), normalisers, _ = fitted({"a": (shown, bold)})
    windows = train_windows(model, recording, normalisers)
    fit_linear_decoding(model, windows, centre_runs=False)
    (stretch,) = predict(model, recording, normalisers["a"], TEST, stimulus_trs=np.arange(N))
    own = stretch.scored["text"]
    ridge = DecodingModel(tr=TR, window=(0.0, (model.lead_trs) * TR)).fit(bold, shown["text"], train=TRAIN)
    said = ridge.predict(bold[TEST])[own]
    assert own.sum() == len(TEST) - model.lead_trs
    assert np.abs(stretch.decoded["text"][own] - said).max() < 5e-3 * said.std()
    assert correlations(shown["text"][TEST][own], stretch.decoded["text"][own]).r.min() > 0.4


def test_lesion_reaches_the_linear_decoder():
    """With all voxels silenced it says the mean of all TRs; without those that answer nothing, about what it did."""
    shown, bold = heard_brain(21)
    bold[:, 30:] = np.random.default_rng(0).standard_normal((N, 10))
    model, (recording,), normalisers, _ = fitted({"a": (shown, bold)})
    fit_linear_decoding(model, train_windows(model, recording, normalisers), centre_runs=False)
    series = torch.from_numpy(normalisers["a"]["bold"](bold))[None]
    whole = model.decode(series, "a")["text"]
    with model.lesion(torch.ones(40, dtype=torch.bool), "a"):
        nothing = model.decode(series, "a")["text"]
    assert torch.allclose(nothing, nothing[:, :1].expand_as(nothing)) and nothing.abs().max() < 0.3
    with model.lesion(torch.arange(40) >= 30, "a"):
        rest = model.decode(series, "a")["text"]
    assert (rest - whole).std() < 0.5 * whole.std() and not torch.equal(rest, whole)


@pytest.mark.parametrize(
    ("modality", "size"),
    [
        (Modality("mel", (5,)), 5),
        (Modality("mel", (5, 4)), 5),
        (Modality("frames", (12, 20, 3)), 180),
        (Modality("vector", (7,)), 7),
    ],
)
def test_linear_answers_have_the_form_of_the_modality(modality, size):
    name = {"mel": "audio", "frames": "video", "vector": "text"}[modality.kind]
    settings = ModelSettings.make(**SMALL, use_encodec=False)
    path = LinearPath(settings, {name: modality}, [3], [0.0])
    x = torch.randn(4, *modality.shape)
    targets = path.targets(name, x)
    assert targets.shape == (4, size) and path.spread(name, targets).shape == x.shape
    if modality.kind == "frames":  # fields of 2 x 2
        wanted = x.numpy().reshape(4, 6, 2, 10, 2, 3).mean((2, 4)).transpose(0, 3, 1, 2).reshape(4, -1)
        assert np.allclose(targets.numpy(), wanted, atol=1e-6)
        flat = torch.full_like(x, 0.25)
        assert torch.allclose(path.spread(name, path.targets(name, flat)), flat)
    elif len(modality.shape) == 2:
        assert torch.allclose(path.spread(name, targets), x.mean(2, keepdim=True).expand_as(x))
    else:
        assert torch.equal(path.spread(name, targets), x)


def test_linear_answer_of_codes_is_the_mean_latent(bundled_model):
    codebooks = codebooks_of(bundled_model)[:8].detach()
    settings = ModelSettings.make(tr=TR)
    codes = torch.randint(0, 1024, (4, 8, 112), generator=torch.Generator().manual_seed(0))
    path = LinearPath(settings, {"audio": Modality("codes", (8, 112))}, [3], [0.0], codebooks)
    wanted = rvq_dequantize(codes, codebooks).mean(1)
    assert torch.allclose(path.targets("audio", codes), wanted, atol=1e-4)
    assert path.spread("audio", wanted).shape == (4, codebooks.shape[2], 112)


def test_film_that_is_left_out_is_so_in_all_runs_that_show_it(shown, settings):
    """Heard in two runs, the second from its 10th TR on; and another film, at the same places."""
    study = build_study(settings())
    codes = [study.moments["01"][study.recordings[0].run == run, 0] for run in (1, 2, 3, 4)]
    assert [set(one) for one in codes] == [{0.0}, {1.0}, {2.0}, {3.0}]  # films of their own
    shows = [ShownRun({"a": 0.0}, 60), ShownRun({"a": 15.0}, 40), ShownRun({"b": 0.0}, 60)]
    run = np.repeat([1, 2, 3], [60, 40, 60])
    moments = moments_of(shows, run, TR)
    assert moments[[0, 60, 99, 100]].tolist() == [[0, 0], [0, 10], [0, 49], [2, 0]]
    plain, apart = (folds_of_rows(np.arange(160), run, TR, 9.0, seen) for seen in (None, moments))
    for (train, test), (learned, same) in zip(plain, apart, strict=True):
        assert np.array_equal(test, same) and set(learned) <= set(train)
        gone = set(train) - set(learned)
        apart_in_film = np.abs(moments[train, 1][:, None] - moments[test, 1])
        same_film = moments[train, 0][:, None] == moments[test, 0]
        assert gone == set(train[(same_film & (apart_in_film < 7)).any(1)])
    assert any(len(a[0]) < len(b[0]) for a, b in zip(apart, plain, strict=True))


def test_linear_path_knows_where_words_are_absent():
    """A brain that answers to speech of any kind: ridge on the vectors with 0 for silence predicts it, the path too."""
    rng = np.random.default_rng(30)
    spoken = np.repeat(rng.random(N // 4) < 0.6, 4)
    words = rng.standard_normal((N, 7)).astype(np.float32)
    heard = convolve_hrf(spoken[:, None].astype(np.float32), tr=TR, kind="continuous")
    bold = heard / heard.std() + rng.standard_normal((N, 5))
    said = xr.DataArray(words, dims=("tr", "dim"), coords={"mask": ("tr", spoken)}, attrs={"kind": "continuous"})
    recording = Recording.of("a", {"text": said, "bold": bold}, tr=TR)
    normalisers = fit_normalisers([recording], TRAIN)
    torch.manual_seed(0)
    model = MultimodalAutoencoder(
        ModelSettings.make(**SMALL, use_encodec=False), {"text": Modality("vector", (7,))}, {"a": 5}
    )
    fit_linear_path(model, train_windows(model, recording, normalisers), centre_runs=False)
    (stretch,) = predict(model.eval(), recording, normalisers["a"], TEST, stimulus_trs=np.arange(N))
    own = stretch.bold_scored
    known = np.column_stack([words * spoken[:, None], spoken]).astype(np.float32)
    ridge = fit_ridge(known, bold, TRAIN, TR).predicted[TEST][own]
    r, wanted = (correlations(bold[TEST][own], said).r.mean() for said in (stretch.bold_predicted[own], ridge))
    assert r > 0.5 and r > wanted - 0.02
