"""A trained run, opened: its training data, and the predictions of its model for parts of a scan."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from giblet.codec import AudioCodec, load_codec
from giblet.data.dataset.normalise import Normaliser
from giblet.data.dataset.windows import Recording
from giblet.device import pick_device
from giblet.docs import fill_doc
from giblet.errors import CheckpointError, InputError
from giblet.evaluation.predictions import Stretch, predict
from giblet.files import sha256_of
from giblet.models import MultimodalAutoencoder
from giblet.pipeline.brain_files import Paths, brain_about, default_folder, lesion_of, listed, replacement_bold
from giblet.pipeline.run_checks import checked_run, fitted_to_part
from giblet.storage import bring, local_path
from giblet.training.columns import unit_of
from giblet.training.ridge import ridge_of
from giblet.training.settings import SubjectSettings, TrainSettings
from giblet.training.study import Study

PARTS = ("test", "val", "train")


@dataclass(frozen=True, repr=False)
class TrainedRun:
    """A training run: settings, data, normalisers and the best model, found to belong together.

    See Also
    --------
    giblet.pipeline.reconstruction.reconstruct : prediction, scores and files in one call.

    Examples
    --------
    >>> run = TrainedRun.open("runs/sherlock")  # doctest: +SKIP
    >>> prediction = run.predict("test", "sub-01")  # doctest: +SKIP
    >>> score(prediction, codec=run.load_codec())  # doctest: +SKIP
    """

    folder: Path
    settings: TrainSettings
    study: Study
    normalisers: dict[str, dict[str, Normaliser]]
    """By subject and modality, as they were fitted on the training TRs."""
    model: MultimodalAutoencoder
    """The one that was best in validation."""

    @classmethod
    def open(cls, folder: str | Path, data: str | Path | None = None) -> TrainedRun:
        """Open the run in `folder`, wherever it and its data are now.

        Parameters
        ----------
        folder : str or Path
            As training left it, or a copy.
        data : str or Path, optional
            Folder in which the files that the run was trained on are looked for too; see
            :func:`giblet.pipeline.run_checks.located`.

        Returns
        -------
        TrainedRun

        Raises
        ------
        CheckpointError
            If the run is not finished, was edited, is damaged, or a file that it was trained on has changed or is
            nowhere.
        GibletError
            If the configuration cannot be read, or the data cannot be used.
        """
        folder = bring(local_path(folder), folder=True)
        data = None if data is None else bring(local_path(data), folder=True)
        return cls(folder, *checked_run(folder, None if data is None else Path(data)))

    def __repr__(self) -> str:
        subjects = ", ".join(self.subjects)
        return f"<TrainedRun {self.folder}: {subjects}; TR {self.settings.model.tr:g} s, {self.head} head>"

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of all subjects."""
        return tuple(self.study.splits)

    @property
    def head(self) -> str:
        """Head that decodes the sound: ``"latent"``, ``"classification"``, ``"regression"``, or ``"mel"``."""
        return self.settings.model.head if self.settings.model.use_encodec else "mel"

    @cached_property
    def source(self) -> dict[str, str]:
        """Name of the run and SHA-256 of its best model, as written into files made from it."""
        return {
            "source": self.folder.absolute().name,
            "source_sha256": sha256_of(self.folder / "best" / "model.safetensors"),
        }

    @cached_property
    def ridge(self) -> MultimodalAutoencoder:
        """A model whose linear path is the ridge regression that scores stand beside: the run's own where it has one.

        See :func:`giblet.training.ridge.ridge_of`.
        """
        return ridge_of(self.model, self.settings, self.study)

    def named(self, subject: str) -> str:
        """The run's own spelling of a subject, with or without ``sub-``.

        Parameters
        ----------
        subject : str

        Returns
        -------
        str

        Raises
        ------
        InputError
            If there is no such subject.
        """
        found = [name for name in self.subjects if name.removeprefix("sub-") == subject.removeprefix("sub-")]
        if not found:
            raise InputError(f"the run has no subject {subject}: it has {', '.join(self.subjects)}")
        return found[0]

    @fill_doc
    def load_codec(self, codec: str | None = None, device: str | torch.device = "auto") -> AudioCodec | None:
        """The codec of the run's codes; None for a run on mel spectrograms.

        Parameters
        ----------
        codec : str, optional
            Where it is now, if it has moved.
        device : str or torch.device
            %(device)s

        Returns
        -------
        AudioCodec or None
            At the bandwidth of the codes.

        Raises
        ------
        CheckpointError
            If it is another codec.
        CodecError
            If it cannot be loaded.
        InputError
            If the device is not there.
        """
        if self.study.codec_fingerprint is None:
            return None
        assert self.study.bandwidth is not None
        loaded = load_codec(codec or self.settings.codec, bandwidth=self.study.bandwidth, device=str(device))
        if loaded.codes_fingerprint != self.study.codec_fingerprint:
            raise CheckpointError(
                f"the run was trained on codes of codec {self.study.codec_fingerprint[:12]}, {loaded.name} is "
                f"{loaded.codes_fingerprint[:12]}: name the one that made them (`codec`)"
            )
        return loaded

    def part(
        self, split: str, subject: str, *, bold: Paths | None = None, confounds: Paths | None = None,
        lesion: str | Path | None = None,
    ) -> Part:  # fmt: skip
        """A part of a subject's scan, found to fit the run; nothing is computed yet.

        Parameters
        ----------
        split : {"test", "val", "train"}
        subject : str
        bold, confounds, lesion
            As :func:`giblet.pipeline.reconstruction.reconstruct` takes them.

        Returns
        -------
        Part

        Raises
        ------
        InputError
            If there is no such part, or the scans or the lesion do not fit the run.

        See Also
        --------
        predict : the part, and what the model says of it.
        """
        if split not in PARTS:
            raise InputError(f"split is {split!r}: {', '.join(PARTS)} are known")
        if confounds and not bold:
            raise InputError("confounds belong to other scans; pass `bold` too, or leave out `confounds`")
        study, name, tr = self.study, self.named(subject), self.settings.model.tr
        trs = study.part(split)[name]
        if not len(trs):
            raise InputError(f"the run has no TRs of {split}: choose another split")
        recording = next(one for one in study.recordings if one.subject == name)
        own = next(one for one in self.settings.data.subjects if one.name == name)
        holes = study.holes.get(name)
        unused = None if holes is None else holes.unused
        silenced = None if lesion is None else lesion_of(lesion, own, tr, study.n_voxels[name], unused)
        given = damaged = None
        if bold is not None:
            given = replacement_bold(bold, confounds, own, tr, study.volumes[name], recording.run, trs, unused)
        elif holes is not None:
            damaged = holes.columns(trs, study.n_voxels[name])
        fitting, notes = fitted_to_part(
            self.normalisers[name], recording, trs, study.part("train")[name], given, study.columns[name], damaged
        )
        if name in study.unlearnable:
            notes = [f"{study.unlearnable[name]}; left out of the scores", *notes]
        notes += [*study.split_notes.get("", []), *study.split_notes.get(name, [])]
        folder = default_folder(listed(bold), lesion, listed(confounds))
        brain = brain_about(bold, confounds, lesion)
        return Part(self, name, split, trs, recording, own, fitting, given, silenced, brain, folder, tuple(notes))

    @fill_doc
    def predict(
        self, split: str, subject: str, *, bold: Paths | None = None, confounds: Paths | None = None,
        lesion: str | Path | None = None, device: str = "auto",
    ) -> Prediction:  # fmt: skip
        """Predict a part of a subject's scan in both directions: stimulus from BOLD, BOLD from stimulus.

        Parameters
        ----------
        split, subject, bold, confounds, lesion
            As for :meth:`part`.
        device : str
            %(device)s

        Returns
        -------
        Prediction

        Raises
        ------
        InputError
            As :meth:`part`, and if the device is not there.
        """
        where = pick_device(device)
        return self.part(split, subject, bold=bold, confounds=confounds, lesion=lesion).predict(where)


@dataclass(frozen=True, repr=False)
class Part:
    """One part of one subject's scan, as a run predicts it."""

    run: TrainedRun
    subject: str
    split: str
    trs: np.ndarray
    """Rows of the recording, int64."""
    recording: Recording
    settings: SubjectSettings
    normalisers: Mapping[str, Normaliser]
    """By modality; what hardly varied in training and does here is 0."""
    bold: np.ndarray | None
    """float32 (n_rows, n_voxels): of other scans, in place of the recording's."""
    silenced: np.ndarray | None
    """bool (n_voxels,)."""
    brain: Mapping[str, Any]
    """Which scans and which lesion these are, with their SHA-256."""
    folder: str
    """What to call the folder of its files."""
    notes: tuple[str, ...]
    """What a reader must know of it."""

    @property
    def label(self) -> str:
        """Beginning of the names of its files."""
        return f"sub-{self.subject.removeprefix('sub-')}_split-{self.split}"

    def predict(self, device: str | torch.device = "cpu") -> Prediction:
        """Predict sound, pictures and words from BOLD, and BOLD from these.

        Parameters
        ----------
        device : str or torch.device
            ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.

        Returns
        -------
        Prediction

        See Also
        --------
        TrainedRun.predict : the same in one call.
        """
        model, study, notes = self.run.model, self.run.study, list(self.notes)
        with ExitStack() as stack:
            if self.silenced is not None:
                lesion = torch.from_numpy(self.silenced)
                for one in {id(own): own for own in (model, self.run.ridge)}.values():
                    stack.enter_context(one.to(device).lesion(lesion, self.subject))
                unit = unit_of(study.columns[self.subject])
                notes.append(f"{int(lesion.sum())} of {len(lesion)} {unit} are silenced in decoding")
            stretches = predict(
                model, self.recording, self.normalisers, self.trs, stimulus_trs=study.stimulus_trs[self.subject],
                bold=self.bold, device=device, ridge=self.run.ridge,
            )  # fmt: skip
        return Prediction(self, tuple(stretches), tuple(notes))


@dataclass(frozen=True, repr=False)
class Prediction:
    """Predictions of a run's model for a part of a scan."""

    part: Part
    stretches: tuple[Stretch, ...]
    """One for each stretch of successive TRs within a run."""
    notes: tuple[str, ...]
    """What a reader must know of it."""

    def __repr__(self) -> str:
        decoded = ", ".join(self.stretches[0].decoded)
        return f"<Prediction {self.part.label}: {sum(s.stop - s.start for s in self.stretches)} TRs; {decoded}>"

    def film_second(self, stretch: Stretch) -> float:
        """Second of the film at which a stretch begins.

        Parameters
        ----------
        stretch : Stretch
            One of the prediction's.

        Returns
        -------
        float
        """
        return float(self.part.run.study.film_seconds[self.part.subject][stretch.start])


open_run = TrainedRun.open
