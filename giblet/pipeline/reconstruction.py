"""Sound, picture and words decoded from the brain by a trained run, and how much they are worth."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from giblet.codec import AudioCodec
from giblet.data.clap import ClapModel
from giblet.data.study_settings import bring_companions
from giblet.data.words.subtitles import read_segments
from giblet.device import pick_device
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.evaluation.group_scorecard import group_scorecard
from giblet.evaluation.heard import SoundOptions
from giblet.evaluation.scorecard import Scorecard
from giblet.files import check_writable, remove, write_atomic
from giblet.modalities import TEXT
from giblet.notebook import html_facts
from giblet.pipeline.brain_files import Paths
from giblet.pipeline.predicted_files import Texts, text_model, write_encoding, write_prediction
from giblet.pipeline.results import described, files_of_result
from giblet.pipeline.scoring import check_original, score
from giblet.pipeline.trained_run import PARTS, Part, TrainedRun
from giblet.storage import bring, taking_urls
from giblet.version import __version__

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Reconstruction:
    """Result of :func:`reconstruct`: the decoded files and their scorecard."""

    scorecard: Scorecard
    files: tuple[Path, ...]
    """Feature files, sounds, pictures, each with its sidecar, texts, and last the scorecard as JSON and as a table."""

    def __repr__(self) -> str:
        return f"<Reconstruction: {len(self.files)} files beside {self.files[-1]}; {self.scorecard!r}>"

    def _repr_html_(self) -> str:
        return self.scorecard._repr_html_() + html_facts("files", {path.name: path.parent for path in self.files})


# 14 parameters: the options of `giblet reconstruct`.
@fill_doc
@taking_urls("bold", "confounds", "lesion", "original", "texts", into=("out_dir",))
def reconstruct(
    run: TrainedRun,
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
    pitch: bool = False,
    clap: str | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> Reconstruction:
    """Decode a part of the scan with a trained run, write what comes out, and score it.

    Parameters
    ----------
    run : TrainedRun
        As :meth:`TrainedRun.open` (``giblet.open_run``) finds it in its folder; one may serve for many calls.
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
        %(codec_now)s
    pitch : bool
        Score voicing and F0 of decoded sound too, for some 0.2 s of a processor per second of each sound.
    clap : str, optional
        A CLAP model of transformers, a folder or a hub name, by which decoded sound is compared with what was heard.
    overwrite : bool
        Replace a result of other options, or of another model, that stands in `out_dir`.
    device : str
        %(device)s

    Returns
    -------
    Reconstruction

    Raises
    ------
    CheckpointError
        If it is of another codec.
    GibletError
        If a file or an option cannot be used, or files of another result would be replaced.

    See Also
    --------
    TrainedRun.predict : What the model says of a part, without files.
    giblet.pipeline.scoring.score : How much of a prediction is true.

    Notes
    -----
    All that is written is on the clock of the film: ``onset`` and ``StartTime`` are seconds of the film, those of the
    sound and the pictures stand in the JSON sidecar beside them. The scorecard's JSON holds all options.
    """
    where = pick_device(device)
    if not isinstance(run, TrainedRun):
        raise InputError(f"run is {run!r}; expected an opened one, reconstruct(open_run({str(run)!r}))")
    bring_companions([bold] if isinstance(bold, (str, Path)) else bold or [])
    scans: dict[str, Any] = {"bold": bold, "confounds": confounds, "lesion": lesion}
    parts = [run.part(split, name, **scans) for name in _subjects(run, split, subject, scans)]
    loaded = run.load_codec(codec, where)
    if loaded is None and (pitch or clap is not None):
        raise InputError("pitch and clap are of the sound of codes, and the run has none; leave them out")
    options = SoundOptions(pitch, None if clap is None else ClapModel(clap, device=str(where)))
    folder = Path(out_dir) if out_dir is not None else run.folder / parts[0].folder
    check_writable(folder)
    if out_dir is not None:  # else it lies in the run, which was brought whole
        bring(folder, needed=False, folder=True)
    made = [
        _reconstruct(part, folder, loaded, options, original=original, texts=texts, overwrite=overwrite, device=where)
        for part in parts
    ]
    return made[0] if len(made) == 1 else _group(made, folder, split)


def _subjects(run: TrainedRun, split: str, subject: str | None, scans: dict[str, Any]) -> list[str]:
    """Whose part is decoded: one's, or that of all who have one."""
    if subject is not None or len(run.subjects) == 1:
        return [run.named(subject if subject is not None else run.subjects[0])]
    for what, given in scans.items():
        if given:
            raise InputError(
                f"the run has subjects {', '.join(run.subjects)}; pass the one whose {what} it is as subject"
            )
    if split not in PARTS:
        return list(run.subjects)
    absent = [name for name in run.subjects if not len(run.study.part(split)[name])]
    if absent and len(absent) < len(run.subjects):
        log.warning("%s saw no film of %s: no scorecard, and no part in the mean", ", ".join(absent), split)
        return [name for name in run.subjects if name not in absent]
    return list(run.subjects)


def _reconstruct(
    part: Part, out_dir: Path, codec: AudioCodec | None, measured: SoundOptions, *, original: str | Path | None,
    texts: str | Path | None, overwrite: bool, device: torch.device,
) -> Reconstruction:  # fmt: skip
    """Predict, score and write one part, once it is clear that the result may stand there."""
    search = None if texts is None else _texts(texts, part)
    if original is not None:
        check_original(original, part, codec)
    options = {
        "model_sha256": part.run.source["source_sha256"], "subject": part.subject, "split": part.split, **part.brain,
        "original": described(original), "texts": described(texts),
        "codec": None if codec is None else codec.fingerprint,
    }  # fmt: skip
    # Named only where they are asked for, so that results made before they existed are known again.
    options |= {"pitch": True} if measured.pitch else {}
    options |= {} if measured.clap is None else {"clap": measured.clap.fingerprint}
    path = out_dir / f"{part.label}_scorecard.json"
    before = files_of_result(path, options, overwrite)
    prediction = part.predict(device)
    card = score(prediction, codec=codec, original=original, options=measured)
    for note in card.below_ridge:
        log.warning("subject %s: %s", part.subject, note)
    remove(path)  # of two results, the files would not be those that it describes
    files, stretches = write_prediction(prediction, out_dir, codec, search)
    space: dict[str, Any] = {}
    if card.encoding is not None:
        maps, space = write_encoding(part, card.encoding, out_dir)
        files += maps
    files += [path, path.with_suffix(".md")]
    made = {"run": part.run.source["source"], "giblet_version": __version__, "stretches": stretches, "space": space}
    names = [file.name for file in files]
    card = replace(card, about={**card.about, **part.brain, **made, "options": options, "files": names})
    _write_card(card, path)
    for gone in set(before) - set(names):
        remove(out_dir / gone)  # of the result that was replaced
    return Reconstruction(card, tuple(files))


def _group(made: Sequence[Reconstruction], folder: Path, split: str) -> Reconstruction:
    """The mean of several subjects beside them."""
    card = group_scorecard([one.scorecard for one in made])
    path = folder / f"group_split-{split}_scorecard.json"
    _write_card(card, path)
    return Reconstruction(card, (*(file for one in made for file in one.files), path, path.with_suffix(".md")))


def _write_card(card: Scorecard, path: Path) -> None:
    """As a table, and last as JSON, which says that the result is whole."""
    write_atomic(path.with_suffix(".md"), card.markdown())
    write_atomic(path, json.dumps(card.as_dict(), indent=1, allow_nan=False) + "\n")


def _texts(path: str | Path, part: Part) -> Texts:
    if TEXT not in part.run.model.modalities:
        raise InputError("the model decodes no text: leave out `texts`")
    return Texts(text_model(part.settings), tuple(one.text for one in read_segments(path)))
