"""What a run starts from: an untrained model that fits a study, and the windows of each part of it."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from giblet.alignment.hrf_layer import HRFLayer
from giblet.codec.architecture import codebooks_of
from giblet.codec.encodec import codes_fingerprint
from giblet.codec.loading import find_codec, read_model
from giblet.data.dataset.windows import TRWindows
from giblet.errors import CodecError, InputError
from giblet.features import CODES
from giblet.modalities import BOLD
from giblet.models import Modality, MultimodalAutoencoder, Scales, fit_scales
from giblet.training.scored_windows import ScoredWindows
from giblet.training.settings import TrainSettings
from giblet.training.study import Study

log = logging.getLogger(__name__)


def check_columns(settings: TrainSettings, study: Study) -> None:
    """Refuse, or leave out with a warning, what of the BOLD cannot be learned: as ``bad`` says of each subject.

    Parameters
    ----------
    settings : TrainSettings
    study : Study

    Raises
    ------
    InputError
        If a subject has such columns and ``bad: error``, or nothing else.
    """
    for subject in settings.data.subjects:
        if subject.name not in study.unlearnable:
            continue
        text = f"subject {subject.name} has {study.unlearnable[subject.name]}"
        if not study.normalisers[subject.name][BOLD].varies.any():
            raise InputError(f"{text}; nothing remains to learn; check the scans and the split")
        if subject.bad == "error":
            raise InputError(
                f"{text}; they would outweigh all others in the losses; look at them, then leave them out of mask or "
                "columns, or choose bad: mask, which leaves them out of losses and scores"
            )
        log.warning("%s; left out of losses and scores", text)


def model_of(
    settings: TrainSettings, study: Study, codebooks: Tensor | None = None
) -> tuple[MultimodalAutoencoder, Scales]:
    """An untrained model for a study, and the scales of its losses; both know of training TRs alone.

    Parameters
    ----------
    settings : TrainSettings
    study : Study
    codebooks : Tensor, shape (K, V, D), optional
        Of the codec that made the codes; by default it is looked for.

    Returns
    -------
    model : MultimodalAutoencoder
    scales : Scales

    Raises
    ------
    CodecError
        If the codec is not there, or not the one that made the codes.
    InputError
        If model and data do not fit.
    """
    settings, books = _with_tr_of(study, settings), codebooks
    if study.codec_fingerprint is not None and books is None:
        network = read_model(*find_codec(settings.codec, None), settings.codec)
        if codes_fingerprint(network) != study.codec_fingerprint:
            raise CodecError(
                f"the codes were made by codec {study.codec_fingerprint[:12]}, codec: {settings.codec} is "
                f"{codes_fingerprint(network)[:12]}: name the one that made them, or extract them again"
            )
        books = codebooks_of(network)[: settings.model.n_codebooks]
    train = study.part("train")
    rows = TRWindows(study.recordings, train, window=32, normalisers=study.normalisers, partial="pad")
    scales = fit_scales((rows[i] for i in range(len(rows))), settings.model, books)
    kinds = {name: Modality.of(name, shape, kind == CODES) for name, (kind, shape) in study.stimuli.items()}
    torch.manual_seed(settings.seed)
    model = MultimodalAutoencoder(
        settings.model, kinds, study.n_voxels, books, scales.priors, study.codec_fingerprint, scales.statistics,
        study.slice_time_ref,
    )  # fmt: skip
    for name, own in study.normalisers.items():
        model.leave_out(~own[BOLD].varies, name)
    return model, scales


def _with_tr_of(study: Study, settings: TrainSettings) -> TrainSettings:
    """The same settings, with the TR of the study where ``model.tr`` is not given."""
    if "tr" in settings.model.model_fields_set:
        return settings
    model = settings.model.model_copy(update={"tr": study.recordings[0].tr})
    return settings.model_copy(update={"model": model})


def windows_of(settings: TrainSettings, study: Study, part: str) -> ScoredWindows:
    """The windows of one part of the split.

    Where TRs can be scored in one way only, BOLD or decoding, a warning says so; training needs both.

    Parameters
    ----------
    settings : TrainSettings
    study : Study
    part : {"train", "val", "test"}

    Returns
    -------
    ScoredWindows

    Raises
    ------
    InputError
        If the part has no window, or none of its TRs can be scored; for ``"train"`` also if none can in one of the two
        ways.
    """
    settings = _with_tr_of(study, settings)
    context = len(HRFLayer(tr=settings.model.tr, hrf=settings.model.hrf).kernel) - 1
    windows = ScoredWindows(
        study.recordings, study.part(part), window=settings.window, context=context, lead=settings.model.decode_trs - 1,
        normalisers=study.normalisers, stimulus_trs=study.stimulus_trs,
    )  # fmt: skip
    empty = [way for way, n in windows.scorable.items() if n == 0]
    if empty:
        what = (
            f"{part} has no TR whose {' or '.join(empty)} can be scored: BOLD needs {context} TRs of stimulus before "
            f"it, decoding {windows.lead} TRs behind it"
        )
        if part == "train" or len(empty) == 2:
            raise InputError(f"{what}; use longer runs, or other fractions")
        log.warning("%s; it is scored on what is left", what)
    return windows
