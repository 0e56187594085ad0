"""From simulated brains that heard real speech the model brings back more than the nulls know."""

import pytest

from giblet.evaluation.scorecard import FREQUENT
from giblet.evaluation.scores import score_codes

pytestmark = pytest.mark.slow


def scores_of(study, stretch, codec, tr):
    train = study.splits["01"].train
    heard = study.recordings[0].series["audio"].read(int(train[0]), int(train[-1]) + 1)
    keep = stretch.scored["audio"]
    found, _ = score_codes(stretch.truth["audio"][keep], stretch.decoded["audio"][keep], heard, codec, tr)
    return {score.name: score for score in found}


def test_more_codes_of_the_first_codebook_are_right_than_the_most_frequent_one_is(learned, heads, codec):
    first = scores_of(*learned("codes", "classification", "decoding"), codec, heads.TR)["accuracy, codebook 1"]
    assert first.nulls[FREQUENT].margin.low > 0  # the 95 % interval lies above the majority baseline


def test_reconstruction_is_above_all_nulls_in_latents_and_mel(learned, heads, codec):
    found = scores_of(*learned("linear", "latent", "decoding"), codec, heads.TR)
    for name in ("latent r", "latent r over time", "mel r", "mel r over time"):
        assert found[name].above_nulls, name
