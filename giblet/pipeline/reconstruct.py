"""Sound, picture and words decoded from the brain by a trained run, and how much they are worth."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from giblet import __version__
from giblet.codec import AudioCodec, load_codec
from giblet.data.media import AudioReader
from giblet.data.subtitles import read_segments
from giblet.errors import CheckpointError, InputError
from giblet.evaluation.encoding import score_encoding
from giblet.evaluation.predictions import Stretch, predict
from giblet.evaluation.reconstruction import log_mel
from giblet.evaluation.rotation import HIGH_PASS
from giblet.evaluation.scorecard import MEAN, Score, Scorecard, group_scorecard
from giblet.evaluation.scores import compare, identification, score_codes
from giblet.evaluation.statistics import ScoredTRs
from giblet.features import load_features
from giblet.files import check_writable, sha256_of, write_atomic
from giblet.models.settings import AUDIO, TEXT
from giblet.pipeline.brain_files import Paths, brain_about, default_folder, lesion_of, listed, replacement_bold
from giblet.pipeline.predicted_files import text_model, write_sound_files, write_text, write_vectors, write_video
from giblet.pipeline.results import described, files_of_result
from giblet.pipeline.run_checks import fitted_to_part, open_run
from giblet.training.columns import unit_of
from giblet.training.settings import SubjectSettings, TrainSettings
from giblet.training.study import Study

if TYPE_CHECKING:
    from giblet.data.normalise import Normaliser
    from giblet.models import MultimodalAutoencoder

log = logging.getLogger(__name__)

PARTS = ("test", "val", "train")


@dataclass(frozen=True)
class Reconstructed:
    """What a reconstruction left."""

    scorecard: Scorecard
    files: tuple[Path, ...]
    """Feature files, sounds, pictures, each with its sidecar, texts, and last the scorecard as JSON and as a table."""


def reconstruct(
    run: str | Path,
    bold: Paths | None = None,
    *,
    confounds: Paths | None = None,
    split: str = "test",
    lesion: str | Path | None = None,
    out_dir: str | Path | None = None,
    subject: str | None = None,
    original: str | Path | None = None,
    texts: str | Path | None = None,
    codec: str | None = None,
    data: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> Reconstructed:
    """Decode a part of the scan with a trained run, write what comes out, and score it.

    Parameters
    ----------
    run : str or Path
        Folder of a training run. Its configuration is read again, with the files that it names.
    bold : path or sequence of path, optional
        Decode these scans, one for each run that the split touches (or one per run), instead of those of the
        configuration; volume by volume of the same stimulus, on the voxels or regions of the training.
    confounds : path or sequence of path, optional
        One for each scan of `bold`; needed where the training scans were cleaned with confounds.
    split : {"test", "val", "train"}
        Which TRs. Only those of ``"test"`` are evidence.
    lesion : str or Path, optional
        Voxels that are silenced: a mask image on the voxels of the scan, a ``.npy`` of bool by voxel, or, for tables
        and atlases, names of regions as ``a,b``.
    out_dir : str or Path, optional
        By default ``<run>/reconstruction``, with ``_bold-<name>-<hash>`` and ``_lesion-<name>-<hash>`` behind it.
    subject : str, optional
        One of several; by default all of them, with a scorecard of their mean beside theirs. Needed with `bold`,
        `confounds` and `lesion`.
    original : str or Path, optional
        The film or sound that the features were made from: sound is then compared with it, and the codec's own loss
        is told. Needs a split of one stretch.
    texts : str or Path, optional
        Table or subtitles of which the nearest to each decoded text vector are named.
    codec : str, optional
        Where the codec of the codes is now, if it has moved.
    data : str or Path, optional
        Folder of the files that the run was trained on, if they have moved; see
        :func:`giblet.pipeline.run_checks.located`.
    overwrite : bool
        Replace a result of other options, or of another model, that stands in `out_dir`.
    device : str

    Returns
    -------
    Reconstructed

    Raises
    ------
    CheckpointError
        If the run is not finished, damaged, or of other data or another codec.
    GibletError
        If a file or an option cannot be used, or files of another result would be replaced.

    Notes
    -----
    All that is written is on the clock of the film: ``onset`` and ``StartTime`` are seconds of the film, those of the
    sound and the pictures stand in the JSON sidecar beside them. The scorecard's JSON holds all options.
    """
    run = Path(run)
    if split not in PARTS:
        raise InputError(f"split is {split!r}: {', '.join(PARTS)} are known")
    if confounds and not bold:
        raise InputError("confounds belong to other scans: give --bold too, or leave out --confounds")
    opened = open_run(run, None if data is None else Path(data))
    names = list(opened[1].splits)
    if subject is None and len(names) > 1:
        for what, given in (("bold", bold), ("confounds", confounds), ("lesion", lesion)):
            if given:
                raise InputError(f"the run has subjects {', '.join(names)}: say whose {what} it is with subject")
    chosen = names if subject is None else [_subject(names, subject)]
    if subject is None and (absent := [name for name in names if not len(opened[1].part(split)[name])]) != names:
        chosen = [name for name in names if name not in absent]
        if absent:
            log.warning("%s saw no film of %s: no scorecard, and no part in the mean", ", ".join(absent), split)
    options: dict[str, Any] = {
        "bold": bold, "confounds": confounds, "split": split, "lesion": lesion, "original": original, "texts": texts,
        "codec": codec, "overwrite": overwrite, "device": device,
    }  # fmt: skip
    made = [_reconstruct(run, opened, name, out_dir, **options) for name in chosen]
    if len(made) == 1:
        return made[0]
    card = group_scorecard([one.scorecard for one in made])
    folder = Path(out_dir) if out_dir is not None else run / default_folder([], None, [])
    path = folder / f"group_split-{split}_scorecard.json"
    write_atomic(path.with_suffix(".md"), card.markdown())
    write_atomic(path, json.dumps(card.as_dict(), indent=1, allow_nan=False) + "\n")
    return Reconstructed(card, (*(file for one in made for file in one.files), path, path.with_suffix(".md")))


def _reconstruct(
    run: Path,
    opened: tuple[TrainSettings, Study, dict[str, dict[str, Normaliser]], MultimodalAutoencoder],
    name: str,
    out_dir: str | Path | None,
    *,
    bold: Paths | None,
    confounds: Paths | None,
    split: str,
    lesion: str | Path | None,
    original: str | Path | None,
    texts: str | Path | None,
    codec: str | None,
    overwrite: bool,
    device: str,
) -> Reconstructed:
    """:func:`reconstruct` for one subject of an open run."""
    settings, study, normalisers, model = opened
    recording = next(one for one in study.recordings if one.subject == name)
    trs = study.part(split)[name]
    if not len(trs):
        raise InputError(f"the run has no TRs of {split}: choose another split")
    own = next(one for one in settings.data.subjects if one.name == name)
    holes = study.holes.get(name)
    unused = None if holes is None else holes.unused
    silenced = None if lesion is None else lesion_of(lesion, own, settings.model.tr, study.n_voxels[name], unused)
    given = None
    if bold is not None:
        given = replacement_bold(
            bold, confounds, own, settings.model.tr, study.volumes[name], recording.run, trs, unused
        )  # fmt: skip
    train = study.part("train")[name]
    damaged = None if holes is None or given is not None else holes.columns(trs, study.n_voxels[name])
    fitting, notes = fitted_to_part(normalisers[name], recording, trs, train, given, study.columns[name], damaged)
    if name in study.unlearnable:
        notes = [f"{study.unlearnable[name]}; left out of the scores", *notes]
    notes += [*study.split_notes.get("", []), *study.split_notes.get(name, [])]
    out_dir = Path(out_dir) if out_dir is not None else run / default_folder(listed(bold), lesion, listed(confounds))
    check_writable(out_dir)
    loaded = _codec(settings, study, codec, device)
    if texts is not None and TEXT not in model.modalities:
        raise InputError("the model decodes no text: leave out --texts")
    search = None if texts is None else (text_model(own), [one.text for one in read_segments(texts)])
    if original is not None:
        _check_original(original, own, loaded)
    label = f"sub-{name.removeprefix('sub-')}_split-{split}"
    card_path = out_dir / f"{label}_scorecard.json"
    source = {"source": run.absolute().name, "source_sha256": sha256_of(run / "best" / "model.safetensors")}
    brain = brain_about(bold, confounds, lesion)
    options = {
        "model_sha256": source["source_sha256"], "subject": name, "split": split, **brain,
        "original": described(original), "texts": described(texts),
        "codec": None if loaded is None else loaded.fingerprint,
    }  # fmt: skip
    before = files_of_result(card_path, options, overwrite)
    where = torch.device("cuda" if device in ("auto", "cuda") and torch.cuda.is_available() else "cpu")
    with ExitStack() as stack:
        if silenced is not None:
            stack.enter_context(model.to(where).lesion(torch.from_numpy(silenced), name))
        stretches = predict(
            model, recording, fitting, trs, stimulus_trs=study.stimulus_trs[name], bold=given, device=where
        )
    if silenced is not None:
        unit = unit_of(study.columns[name])
        notes.append(f"{int(silenced.sum())} of {len(silenced)} {unit} are silenced in decoding")
    card = _score(stretches, study, name, split, settings, loaded, original, fitting, notes)
    card_path.unlink(missing_ok=True)  # of two results, the files would not be those that it describes
    files, parts = list[Path](), []
    for stretch in stretches:
        stem = out_dir / (label + (f"_rows-{stretch.start}" if len(stretches) > 1 else ""))
        start = float(study.film_seconds[name][stretch.start])
        part = {"run": stretch.run, "first_row": stretch.start, "film_seconds": start}
        about = {"subject": name, "split": split, **part, "head": settings.model.head,
                 "first_stimulus_tr": int(study.stimulus_trs[name][stretch.start]), **brain}  # fmt: skip
        parts.append({**part, "n_trs": stretch.stop - stretch.start})
        if AUDIO in stretch.decoded:
            files += write_sound_files(stretch, stem, start, settings.model, loaded, study.bandwidth, source, about)
        files += write_vectors(stretch, stem, start, settings.model.tr, source, about)
        files += write_video(stretch, stem, start, settings.model.tr, source)
        if search is not None:
            files += write_text(stretch, stem, start, settings.model.tr, *search)
    files += [card_path, card_path.with_suffix(".md")]
    names = [path.name for path in files]
    made = {"run": source["source"], "giblet_version": __version__, "stretches": parts, "options": options}
    card = replace(card, about={**card.about, **brain, **made, "files": names})
    write_atomic(files[-1], card.markdown())
    write_atomic(card_path, json.dumps(card.as_dict(), indent=1, allow_nan=False) + "\n")
    for gone in set(before) - set(names):
        (out_dir / gone).unlink(missing_ok=True)  # of the result that was replaced
    return Reconstructed(card, tuple(files))


def _subject(names: Sequence[str], subject: str) -> str:
    found = [name for name in names if name.removeprefix("sub-") == subject.removeprefix("sub-")]
    if not found:
        raise InputError(f"the run has no subject {subject}: it has {', '.join(names)}")
    return found[0]


def _codec(settings: TrainSettings, study: Study, codec: str | None, device: str) -> AudioCodec | None:
    if study.codec_fingerprint is None:
        return None
    assert study.bandwidth is not None
    loaded = load_codec(codec or settings.codec, bandwidth=study.bandwidth, device=device)
    if loaded.fingerprint != study.codec_fingerprint:
        raise CheckpointError(
            f"the run was trained on codes of codec {study.codec_fingerprint[:12]}, {loaded.name} is "
            f"{loaded.fingerprint[:12]}: name the one that made them (--codec)"
        )
    return loaded


def _score(
    stretches: Sequence[Stretch],
    study: Study,
    subject: str,
    split: str,
    settings: TrainSettings,
    codec: AudioCodec | None,
    original: str | Path | None,
    normalisers: dict[str, Normaliser],
    said: Sequence[str],
) -> Scorecard:
    tr = settings.model.tr
    recording = next(one for one in study.recordings if one.subject == subject)
    notes, scores = list(said), list[Score]()
    if split != "test":
        notes.append(f"TRs of {split} were used in training: these scores are no evidence")
    if len(stretches) > 1:
        notes.append(f"{len(stretches)} stretches of TRs are scored end to end")
    for name in stretches[0].decoded:
        keep = [s.scored[name] for s in stretches]
        n = int(sum(k.sum() for k in keep))
        if n < 3:
            notes.append(f"{name} is not scored: {n} TRs have all of their BOLD in this part, 3 are needed")
            continue
        truth, own = (np.concatenate([getattr(s, what)[name][k] for s, k in zip(stretches, keep, strict=True)])
                      for what in ("truth", "decoded"))  # fmt: skip
        trs = ScoredTRs(tr, np.concatenate([np.full(k.sum(), i) for i, k in enumerate(keep)]))
        if name == AUDIO and codec is not None:
            train = study.part("train")[subject]
            codes = recording.series[name]
            seen = np.concatenate([codes.read(int(k), int(k) + 1) for k in train if codes.valid[k]])
            sound = None
            if original is not None:
                sound = _original(original, study, subject, stretches, keep, settings, codec)
            found, told = score_codes(truth, own, seen, codec, tr, original=sound, trs=trs)
            scores += found
            notes += told
        else:
            mean = np.broadcast_to(normalisers[name].mean, truth.shape)
            if name == AUDIO:
                loudest = float(truth.max())
                truth, own, mean = (log_mel(values, loudest) for values in (truth, own, mean))
            elif truth.ndim == 4:  # (n, H, W, 3): each pixel and colour is a feature
                truth, own, mean = (values.reshape(n, -1) for values in (truth, own, mean))
            scores += compare("mel r" if name == AUDIO else f"{name} r", truth, own, {MEAN: mean}, trs)
            if name == TEXT and truth.shape[1] > 1:  # a word rate has no direction
                scores.append(identification("text identification", truth, own, trs))
            notes += trs.notes
    rows = np.concatenate([s.bold_scored for s in stretches])
    encoding = None
    if rows.sum() >= 3:
        measured, predicted = (np.concatenate([getattr(s, what) for s in stretches])[rows]
                               for what in ("bold", "bold_predicted"))  # fmt: skip
        stretch = np.repeat(np.arange(len(stretches)), [int(s.bold_scored.sum()) for s in stretches])
        trs = ScoredTRs(tr, stretch)
        encoding = score_encoding(measured, predicted, trs)
        notes += trs.notes
    about: dict[str, Any] = {
        "subject": subject, "split": split, "tr": tr, "n_trs": int(sum(s.stop - s.start for s in stretches)),
        "n_trs_scored": {name: int(sum(s.scored[name].sum() for s in stretches)) for name in stretches[0].decoded},
        "n_trs_encoding": int(rows.sum()), "head": settings.model.head if settings.model.use_encodec else "mel",
        "codec": None if codec is None else {"name": codec.name, "fingerprint": codec.fingerprint},
        "high_pass": HIGH_PASS, "unit": unit_of(study.columns[subject]),
    }  # fmt: skip
    return Scorecard.of(about, scores, encoding, notes)


def _check_original(path: str | Path, subject: SubjectSettings, codec: AudioCodec | None) -> None:
    """Say before any work that this is not the sound that the codes were made from."""
    if codec is None:
        raise InputError("the original is compared with the sound of codes, and the run has none: leave out --original")
    if not Path(path).is_file():
        raise InputError(f"no such file: {path}")
    known = {load_features(run.audio).attrs["source_sha256"] for run in subject.runs if run.audio is not None}
    if sha256_of(path) not in known:
        raise InputError(f"{path} is not the file that the run's features were made from: name that, or leave it out")


def _original(
    path: str | Path,
    study: Study,
    subject: str,
    stretches: Sequence[Stretch],
    keep: Sequence[np.ndarray],
    settings: TrainSettings,
    codec: AudioCodec,
) -> np.ndarray:
    """The film's sound at the TRs that are scored, at the codec's rate."""
    if len(stretches) > 1 or not np.array_equal(keep[0], np.arange(len(keep[0])) < keep[0].sum()):
        raise InputError("the original can be compared with one stretch of TRs only: leave it out for this split")
    own = next(one for one in settings.data.subjects if one.name == subject).runs[stretches[0].run - 1]
    assert own.audio is not None
    if load_features(own.audio).attrs["source_sha256"] != sha256_of(path):
        raise InputError(f"{path} is not the file that {own.audio} was made from: name that one, or leave it out")
    start = round(float(study.film_seconds[subject][stretches[0].start]) * codec.sample_rate)
    sound = np.concatenate(list(AudioReader(path, sample_rate=codec.sample_rate)))
    n = round(int(keep[0].sum()) * settings.model.tr * codec.sample_rate)
    return np.pad(sound, (max(0, -start), 0))[max(0, start) : max(0, start) + n]
