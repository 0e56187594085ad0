"""Settings refuse what they do not know, in words."""

import json

import pytest

from giblet.data.audio import AudioSettings
from giblet.errors import InputError


def test_settings_survive_yaml(tmp_path):
    settings = AudioSettings.make(tr=0.72, n_trs=300, use_encodec=False)
    (tmp_path / "s.yaml").write_text(settings.to_yaml())
    assert AudioSettings.from_yaml(tmp_path / "s.yaml") == settings


def test_an_unknown_option_is_an_error_that_names_the_nearest():
    with pytest.raises(InputError, match=r"there is no option bandwith; did you mean bandwidth\?"):
        AudioSettings.make(bandwith=6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tr": 0}, "tr is 0: .*greater than 0"),
        ({"tr": -1}, "tr is -1"),
        ({"tr": float("nan")}, "tr is nan"),
        ({"tr": "fast"}, "tr is 'fast': .*number"),
        ({"n_trs": 0}, "n_trs is 0: .*greater than or equal to 1"),
        ({"n_trs": 1.5}, "n_trs is 1.5"),
        ({"gain": "loud"}, "gain is 'loud': .*dB .*, or 'peak'"),
        ({"gain": float("inf")}, "gain is inf"),
        ({"gain": True}, "gain is True"),
        ({"gain": 201}, "gain is 201: expected a number of dB from -200 to 200"),
        ({"gain": "-1000"}, "gain is '-1000'"),
    ],
)
def test_values_out_of_range_say_what_is_allowed(values, message):
    with pytest.raises(InputError, match=message) as caught:
        AudioSettings.make(**values)
    assert "\n" not in str(caught.value)


def test_a_settings_file_that_is_not_one_is_refused(tmp_path):
    for content, message in (
        ("- a\n", "holds a list; expected a YAML"), ("a: [", "cannot read"), ("", "is empty; expected a YAML"),
        ("fast", "one value, 'fast'"), ("tr: 2020-13-45\n", "month must be"),
        ("tr: " + "[" * 3000, "cannot read"), ("1: x\n", "option names must be words"),
    ):  # fmt: skip
        (tmp_path / "s.yaml").write_text(content)
        with pytest.raises(InputError, match=message):
            AudioSettings.from_yaml(tmp_path / "s.yaml")
    with pytest.raises(InputError, match="cannot read"):
        AudioSettings.from_yaml(tmp_path / "none.yaml")


def test_provenance_holds_what_decides_the_numbers_and_nothing_else():
    codes, mel = AudioSettings.make().provenance(), AudioSettings.make(use_encodec=False).provenance()
    assert set(codes) == {"tr", "n_trs", "use_encodec", "bandwidth", "track"}
    assert set(mel) == {"tr", "n_trs", "use_encodec", "track", "n_mels", "mel_average"}
    assert AudioSettings.make(device="cpu").provenance() == codes
    assert AudioSettings.make(gain=-6).provenance() == {**codes, "gain": -6.0}


def test_an_unknown_option_of_an_inner_part_is_compared_with_those_of_that_part():
    from giblet.codec.training.settings import CodecTrainingSettings

    with pytest.raises(InputError, match=r"no option loss_weights\.complx; did you mean complex\?"):
        CodecTrainingSettings.make(audio="a", output="b", loss_weights={"complx": 1.0})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"overrule_tr": True}, "overrule_tr is on and tr is not given"),
        ({"tr": [2.0] * 500}, "tr is a list: expected a number"),
        ({"tr": [2.0]}, r"tr is \[2\.0\]: expected a number"),
        ({"tr": "2" * 500 + "s"}, r"tr is '22.*\.\.\.: expected a number"),
        ({"tr": {"run": 2.0}}, "tr is a mapping: expected a number"),
    ],
)
def test_what_is_wrong_with_a_whole_is_said_without_the_whole(values, message):
    from giblet.data.fmri import BoldSettings

    with pytest.raises(InputError, match=f"^{message}") as caught:
        BoldSettings.make(**values)
    assert len(str(caught.value)) < 200


def test_an_error_within_a_configuration_does_not_print_the_configuration(tmp_path):
    from giblet.training.settings import TrainSettings

    runs = [{"bold": f"run-{k}_bold.tsv", "text": "t.nc"} for k in range(40)]
    path = tmp_path / "train.yaml"
    for content, message in [
        ({"subjects": [{"name": "01", "runs": runs}] * 2}, "data: subject 01 is listed twice"),
        ({"subjects": [{"runs": runs}]}, r"data\.subjects\.0\.name: field required"),
        (
            {"subjects": [{"name": "01", "runs": [{"bold": {"path": "x" * 500}}]}]},
            r"bold is a mapping: expected a path",
        ),
    ]:
        path.write_text(json.dumps({"data": content, "output": "o"}))
        with pytest.raises(InputError, match=message) as caught:
            TrainSettings.from_yaml(path)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"subjects": [{"name": "sub 1", "runs": [{"bold": "a.tsv"}]}]},
            "data.subjects.0.name is 'sub 1': letters, digits, - and _ are allowed",
        ),
        (
            {"subjects": [{"name": "1", "slice_time_ref": 2, "runs": [{"bold": "a.tsv"}]}]},
            "data.subjects.0.slice_time_ref is 2: input should be less than or equal to 1",
        ),
        ({"subjects": []}, "data.subjects is []: expected at least 1"),
        ({"subjects": [{"name": "1", "runs": "a.tsv"}]}, "data.subjects.0.runs is 'a.tsv': expected a list"),
        ({"subjects": [{"name": 1, "runs": [{"bold": 3}]}]}, "data.subjects.0.name is 1: expected text; "
         "data.subjects.0.runs.0.bold is 3: expected a path"),
        (["a.tsv"], "data is ['a.tsv']: expected a mapping of options"),
        (None, "data is None: expected a mapping of options"),
    ],
)  # fmt: skip
def test_an_error_within_a_configuration_is_said_once_and_without_words_of_python(tmp_path, data, message):
    from giblet.training.settings import TrainSettings

    (tmp_path / "train.yaml").write_text(json.dumps({"data": data, "output": "o"}))
    with pytest.raises(InputError) as caught:
        TrainSettings.from_yaml(tmp_path / "train.yaml")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ({"env": {"of": "audio", "takes": "x"}}, r"there is no option bands\.env\.takes; did you mean take\?"),
        ({"my band": {"of": "audio"}}, "bands.my band is 'my band': letters, digits and _ are allowed"),
        ({"env": {"of": "audio", "n_components": 0}}, r"^bands\.env\.n_components is 0: input .* equal to 1, or input"),
        ({}, "bands is empty: expected at least 1"),
    ],
)
def test_options_under_a_name_of_the_users_own_are_refused_by_that_name(bands, message):
    from giblet.encoding.settings import EncodeSettings

    data = {"subjects": [{"name": "1", "runs": [{"bold": "b.tsv", "audio": "a.nc"}]}]}
    with pytest.raises(InputError, match=message):
        EncodeSettings.make(data=data, bands=bands, output="out")


def test_an_unknown_option_of_all_runs_is_told_once():
    from giblet.encoding.settings import EncodeSettings

    data = {"subjects": [{"name": "1", "runs": [{"bold": "b.tsv", "audi": "a.nc"}] * 3}]}
    with pytest.raises(InputError) as caught:
        EncodeSettings.make(data=data, bands={"env": {"of": "audio"}}, output="out")
    assert str(caught.value) == "there is no option data.subjects.0.runs.0.audi; did you mean audio?"
