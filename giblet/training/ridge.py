"""The ridge regression that a trained model is measured by: its own linear path, or one fitted to the same TRs."""

from __future__ import annotations

import logging

import torch

from giblet.features import CODES
from giblet.models import MultimodalAutoencoder
from giblet.training.build import model_of, windows_of
from giblet.training.linear import fit_linear_path
from giblet.training.linear_decoding import fit_linear_decoding
from giblet.training.settings import TrainSettings
from giblet.training.study import Study

log = logging.getLogger(__name__)


def ridge_of(model: MultimodalAutoencoder, settings: TrainSettings, study: Study) -> MultimodalAutoencoder:
    """A model whose linear path predicts BOLD and decodes everything that `model` does.

    Parameters
    ----------
    model : MultimodalAutoencoder
        Trained.
    settings : TrainSettings
        Of its training.
    study : Study
        The data that it was trained on.

    Returns
    -------
    MultimodalAutoencoder
        `model` itself where it has such a path. Otherwise, of a run with ``linear_path: false``, of an earlier version,
        or with a head that knows codes as categories, an untrained one, of which the linear path was fitted to the same
        training TRs and decodes latents; of codes nothing else is linear.

    Raises
    ------
    GibletError
        If the codec is not there, or data and settings do not fit.
    """
    coded = [name for name, one in model.modalities.items() if one.kind == CODES]
    path = model.linear_path
    if path is not None and all(name in path.answers for name in coded):
        return model
    log.info("fitting ridge regression to the training TRs, to have it beside the model")
    head = {"head": "latent"} if coded else {}
    own = settings.model.model_copy(update={"linear_path": True, **head})
    settings = settings.model_copy(update={"model": own})
    with torch.random.fork_rng(devices=[]):
        found, _ = model_of(settings, study, model.decoder.codebooks)
    windows = windows_of(settings, study, "train")
    centre = settings.data.centre_runs
    fit_linear_path(found, windows, centre_runs=centre)
    fit_linear_decoding(found, windows, centre_runs=centre, moments=study.moments)
    return found.eval()
