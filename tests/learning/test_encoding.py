"""The model predicts simulated brains that heard real speech as well as ridge does."""

import numpy as np
import pytest

from giblet.evaluation.encoding import fit_ridge, score_encoding
from giblet.evaluation.reconstruction import latents_by_tr
from giblet.evaluation.statistics import Resampling

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("brain", "at_least"), [("linear", 0.95), ("tanh", 1.0)])
def test_bold_is_predicted_as_well_as_by_ridge_and_better_where_the_brain_saturates(
    learned, heads, codec, brain, at_least
):
    study, stretch = learned(brain, "latent", "encoding")
    recording = study.recordings[0]
    n = len(recording.run)
    latents = latents_by_tr(recording.series["audio"].read(0, n), codec).mean(axis=2, dtype=np.float64)
    bold = study.normalisers["01"]["bold"](recording.series["bold"].read(0, n))
    ridge = fit_ridge(latents, bold, study.splits["01"].train, heads.TR)
    rows = np.arange(stretch.start, stretch.stop)[stretch.bold_scored]
    plan = Resampling(len(rows), heads.TR)
    measured = stretch.bold[stretch.bold_scored]
    ours = score_encoding(measured, stretch.bold_predicted[stretch.bold_scored], plan).mean.value
    theirs = score_encoding(measured, ridge.predicted[rows], plan).mean.value
    assert theirs > 0.5  # there is something to be learned
    assert ours > at_least * theirs
