"""A configuration says what it knows: unknown options are refused with the nearest one named, wherever they stand."""

from pathlib import Path

import pytest

from giblet.errors import InputError
from giblet.training.settings import TrainSettings

ROOT = Path(__file__).parents[2]
DATA = {"subjects": [{"name": "01", "runs": [{"bold": "b.tsv", "audio": "a.nc"}]}]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rat": 1}, "there is no option learning_rat; did you mean learning_rate?"),
        ({"model": {"heads": "latent"}}, "there is no option model.heads; did you mean head?"),
        ({"data": {**DATA, "fraction": 1}}, "there is no option data.fraction; did you mean fractions?"),
        (
            {"data": {"subjects": [{"name": "01", "runs": [{"bold": "b.tsv", "stimulus_time_at_volume0": 2}]}]}},
            "there is no option data.subjects.0.runs.0.stimulus_time_at_volume0; did you mean "
            "stimulus_time_at_volume_0?",
        ),
        (
            {"data": {"subjects": [{"name": "01", "runs": [{"bold": "b.tsv", "start_offset": 2}]}]}},
            "data.subjects.0.runs.0.start_offset is now called data.subjects.0.runs.0.stimulus_time_at_volume_0",
        ),
        ({"zzz": 1}, "there is no option zzz; known are data, output"),
    ],
)
def test_an_option_that_does_not_exist_is_an_error_naming_the_nearest(values, message):
    with pytest.raises(InputError) as told:
        TrainSettings.make(**{"data": DATA, "output": "run", **values})
    assert message in str(told.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 3, "devices": 2, "num_nodes": 2}, "4 processes need at least one window each"),
        ({"data": {**DATA, "fractions": (0.9, 0.0, 0.1)}}, "validation must have a share above 0"),
        ({"data": {"subjects": DATA["subjects"] * 2}}, "subject 01 is listed twice"),
        ({"model": {"modality_weights": {"sound": 2.0}}}, "modality_weights names 'sound'"),
        ({"precision": "16-mixed"}, "precision is '16-mixed'"),
        ({"learning_rate": 0}, "learning_rate is 0"),
    ],
)
def test_options_that_cannot_work_are_refused(values, message):
    with pytest.raises(InputError) as told:
        TrainSettings.make(**{"data": DATA, "output": "run", **values})
    assert message in str(told.value) and "\n" not in str(told.value)


def test_settings_come_back_from_their_own_yaml(tmp_path):
    settings = TrainSettings.make(data=DATA, output="run", model={"head": "latent"}, patience=None)
    path = tmp_path / "config.yaml"
    path.write_text(settings.to_yaml())
    assert TrainSettings.from_yaml(path) == settings


def test_training_docs_name_every_option():
    page = (ROOT / "docs" / "training.md").read_text()
    from giblet.training.settings import DataSettings, ModelSettings, RunSettings, SubjectSettings

    for part in (TrainSettings, DataSettings, SubjectSettings, RunSettings, ModelSettings):
        missing = [name for name in part.model_fields if f"`{name}`" not in page]
        assert not missing, (part.__name__, missing)


def test_example_configuration_is_valid():
    example = TrainSettings.from_yaml(ROOT / "configs" / "train" / "example.yaml")
    assert example.model.use_encodec and len(example.data.subjects[0].runs) >= 3
