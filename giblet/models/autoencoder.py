"""The multimodal autoencoder: stimulus to BOLD, and BOLD back to the stimulus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from giblet.alignment.hrf_layer import HRFLayer
from giblet.checkpoints import SizeOf
from giblet.errors import CheckpointError, InputError
from giblet.modalities import BOLD
from giblet.models.brain import BrainLayer
from giblet.models.checkpoint import fill_model, read_model, write_model
from giblet.models.decoder import MultimodalDecoder
from giblet.models.encoder import build_encoder
from giblet.models.inputs import checked_series
from giblet.models.layers import LinearPlus
from giblet.models.linear_path import LinearPath
from giblet.models.settings import Modality, ModelDesign, ModelSettings

Data = Mapping[str, Tensor]
Subject = str | int


class MultimodalAutoencoder(nn.Module):
    """Encoders -> fusion -> HRF in seconds -> bottleneck -> voxels; and a window of BOLD -> bottleneck -> decoder.

    In the shapes below, B windows are computed at once, of W successive TRs each; what one TR is follows.

    Parameters
    ----------
    settings : ModelSettings
    modalities : mapping of str to Modality
        What is encoded and decoded, by name: ``"audio"``, ``"video"``, ``"text"``, or another name for a vector.
    n_voxels : mapping of str to int
        By subject, in the order of the recordings; each has its own brain layer, all else is shared.
    codebooks : Tensor, shape (K, V, D), optional
        Of the codec in use; needed for ``codebook_init=True`` and ``head="latent"``.
    priors : Tensor, shape (K, V), optional
        How many times each code occurs in the training TRs: where the audio head starts.
    codec_fingerprint : str, optional
        Of the codec that made the codes; saved, and compared by :meth:`from_pretrained`.
    statistics : Tensor, shape (2, 2 * D), optional
        Of the training TRs' latents (:attr:`giblet.models.scales.Scales.statistics`): what is standardised by.
    slice_time_ref : mapping of str to float, optional
        By subject, when in its TR a volume is read, 0 (its onset, the default) to 1: the HRF, which all share, is read
        at that moment.

    Raises
    ------
    InputError
        If settings, modalities and codebooks contradict each other.

    Examples
    --------
    >>> settings = ModelSettings.make(head="classification", codebook_init=False)
    >>> model = MultimodalAutoencoder(settings, {"audio": Modality("codes", (8, 112))}, {"sub-01": 100})
    >>> codes = torch.randint(0, 1024, (1, 40, 8, 112))
    >>> present = torch.ones(1, 40, dtype=torch.bool)
    >>> model.predict_bold({"audio": codes}, {"audio": present}, "sub-01").shape
    torch.Size([1, 40, 100])
    """

    def __init__(
        self,
        settings: ModelSettings,
        modalities: Mapping[str, Modality],
        n_voxels: Mapping[str, int],
        codebooks: Tensor | None = None,
        priors: Tensor | None = None,
        codec_fingerprint: str | None = None,
        statistics: Tensor | None = None,
        slice_time_ref: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        design = ModelDesign(settings, modalities, n_voxels, codec_fingerprint, slice_time_ref or {})
        design.check(has_codebooks=codebooks is not None)
        s = self.settings = settings
        self.tr = s.tr
        self.modalities, self.n_voxels = dict(modalities), dict(n_voxels)
        self.codec_fingerprint = codec_fingerprint
        self.slice_time_ref = {name: float(design.slice_time_ref.get(name, 0.0)) for name in self.n_voxels}
        # In the order in which random weights have always been drawn: the same seed gives the same model.
        self.encoders = nn.ModuleDict(
            {name: build_encoder(m, s, codebooks, statistics) for name, m in self.modalities.items()}
        )
        self.fusion = LinearPlus(s.features * len(self.modalities), s.features, s.features)
        self.dropout = nn.Dropout(s.dropout)
        refs = sorted(set(self.slice_time_ref.values())) or [0.0]
        self._which_ref = [refs.index(ref) for ref in self.slice_time_ref.values()]
        self.hrf = HRFLayer(tr=s.tr, hrf=s.hrf, learnable=s.learnable_hrf, slice_time_ref=refs)
        self.to_bottleneck = nn.Linear(s.features, s.bottleneck)
        self.brains = nn.ModuleList(BrainLayer(n, s.bottleneck, s.rank) for n in self.n_voxels.values())
        # Weights over the volumes from a TR's own on, shared by subjects: their components mean the same.
        self.absent_volume = nn.Parameter(torch.zeros(s.rank))
        self.over_volumes = nn.Conv1d(s.rank, s.bottleneck, s.decode_trs)
        self.decoder = MultimodalDecoder(settings=s, modalities=self.modalities, codebooks=codebooks, priors=priors)
        voxels = list(self.n_voxels.values())
        self.linear_path = (
            LinearPath(s, self.modalities, voxels, refs, codebooks, statistics) if s.linear_path else None
        )

    @property
    def design(self) -> ModelDesign:
        """What the model was built from, apart from its numbers."""
        return ModelDesign(self.settings, self.modalities, self.n_voxels, self.codec_fingerprint, self.slice_time_ref)

    @property
    def subjects(self) -> list[str]:
        """Names, in the order of the brain layers."""
        return list(self.n_voxels)

    @property
    def context_trs(self) -> int:
        """TRs before a volume that its prediction depends on: the length of the HRF, less one."""
        return int(self.hrf.current_kernel().shape[0]) - 1

    @property
    def lead_trs(self) -> int:
        """Volumes after a TR that it is decoded from."""
        return self.settings.decode_trs - 1

    def set_tr(self, tr: float) -> None:
        """Predict BOLD at another repetition time: the HRF keeps its seconds.

        Decoding stays at the TR of training, as it has one set of weights per volume: it is refused until the TR is set
        back.

        Parameters
        ----------
        tr : float
            Repetition time in seconds.

        Raises
        ------
        InputError
            If `tr` is not positive.
        """
        self.hrf.set_tr(tr)
        if self.linear_path is not None:
            self.linear_path.hrf.set_tr(tr)
        self.tr = tr

    def encode(self, data: Data, mask: Data) -> Tensor:
        """Fused features of each TR by itself, before the HRF.

        Parameters
        ----------
        data : mapping of str to Tensor, shape (B, W, ...)
            By modality, W successive TRs, as :class:`~giblet.data.dataset.windows.TRWindows` gives; others are ignored.
        mask : mapping of str to Tensor of bool, shape (B, W)
            Which TRs are data.

        Returns
        -------
        Tensor, shape (B, W, features)
            0 where no modality has data, as before the film began.

        Raises
        ------
        InputError
            If a modality or its mask is missing, or of another shape or kind, or codes are out of range.
        """
        vectors, present = [], []
        for name, encoder in self.encoders.items():
            x, has_data = checked_series(name, self.modalities[name], data, mask)
            vectors.append(encoder(x.flatten(0, 1), has_data.flatten()))
            present.append(has_data)
        fused = self.dropout(self.fusion(torch.cat(vectors, dim=1))).unflatten(0, present[0].shape)
        anything = torch.stack(present).any(0)
        return torch.where(anything[..., None], fused, torch.zeros_like(fused))

    def predict_bold(self, data: Data, mask: Data, subject: Subject) -> Tensor:
        """BOLD of each volume, from the stimulus up to it: ``brain(bottleneck(hrf * features))``.

        With a linear path, what that answers plus ``gain`` times this.

        Parameters
        ----------
        data : mapping of str to Tensor, shape (B, W, ...)
            As for `encode`.
        mask : mapping of str to Tensor of bool, shape (B, W)
            Which TRs are data.
        subject : str or int
            Name or place.

        Returns
        -------
        Tensor, shape (B, W, n_voxels)
            In the units of the BOLD that the model was trained on: standard deviations of each voxel over the training
            TRs, about its mean there, or, with ``centre_runs``, about its level in the run
            (:class:`giblet.data.dataset.normalise.Normaliser`). The first `context_trs` rows know only what of the
            stimulus lies within the window.

        Raises
        ------
        InputError
            As `encode`, or if there is no such subject.

        See Also
        --------
        decode : The other way, from BOLD to the stimulus.
        """
        network, linear = self.network_bold(data, mask, subject), self.linear_bold(data, mask, subject)
        return network if linear is None or self.linear_path is None else linear + self.linear_path.gain(BOLD) * network

    def network_bold(self, data: Data, mask: Data, subject: Subject) -> Tensor:
        """The network's own part in `predict_bold`, whole.

        Parameters
        ----------
        data : mapping of str to Tensor, shape (B, W, ...)
        mask : mapping of str to Tensor of bool, shape (B, W)
        subject : str or int

        Returns
        -------
        Tensor, shape (B, W, n_voxels)

        Raises
        ------
        InputError
            As `predict_bold`.
        """
        brain, which = self._brain(subject), self.which_ref(self.place(subject))
        return brain.predict(self.to_bottleneck(self.hrf(self.encode(data, mask), which)))

    @torch.no_grad()
    def linear_bold(self, data: Data, mask: Data, subject: Subject) -> Tensor | None:
        """The linear path's part in `predict_bold`, which nothing learns.

        Parameters
        ----------
        data : mapping of str to Tensor, shape (B, W, ...)
        mask : mapping of str to Tensor of bool, shape (B, W)
        subject : str or int

        Returns
        -------
        Tensor, shape (B, W, n_voxels), or None
            None without a linear path.

        Raises
        ------
        InputError
            As `predict_bold`.
        """
        place = self.place(subject)
        return None if self.linear_path is None else self.linear_path(data, mask, place, self.which_ref(place))

    def bottleneck_from_bold(self, bold: Tensor, subject: Subject, mask: Tensor | None = None) -> Tensor:
        """What the brain says of each TR.

        Parameters
        ----------
        bold : Tensor, shape (B, W, n_voxels)
            Successive volumes, normalised.
        subject : str or int
            Name or place.
        mask : Tensor of bool, shape (B, W), optional
            Which volumes are data; the others, and those behind the window's end, count as absent.

        Returns
        -------
        Tensor, shape (B, W, bottleneck)
            Row t depends on volumes t to t + `lead_trs` alone.

        Raises
        ------
        InputError
            If the shapes do not fit, there is no such subject, or the TR is not that of training.
        """
        if self.tr != self.settings.tr:
            raise InputError(
                f"the TR is set to {self.tr:g} s: this model decodes at {self.settings.tr:g} s; resample the BOLD"
            )
        brain = self._brain(subject)
        mask = brain.checked_mask(bold, mask)
        parts = torch.where(mask[..., None], self.dropout(brain.project(bold, mask)), self.absent_volume)
        behind = self.absent_volume.expand(len(bold), self.lead_trs, -1)
        return self.over_volumes(torch.cat([parts, behind], dim=1).transpose(1, 2)).transpose(1, 2)

    def decode(self, bold: Tensor, subject: Subject, mask: Tensor | None = None) -> dict[str, Any]:
        """The stimulus of each TR from BOLD.

        Parameters
        ----------
        bold : Tensor, shape (B, W, n_voxels)
            Successive volumes, normalised.
        subject : str or int
            Name or place.
        mask : Tensor of bool, shape (B, W), optional
            Which volumes are data; the others, and those behind the window's end, count as absent.

        Returns
        -------
        dict of str to Tensor or CodeLogits
            As :meth:`MultimodalDecoder.forward`, over (B, W); the classification head's scores in factors
            (:class:`giblet.models.logits.CodeLogits`), which `to_codes` takes as they are.

        Raises
        ------
        InputError
            As `bottleneck_from_bold`.

        See Also
        --------
        predict_bold : The other way, from the stimulus to BOLD.
        giblet.models.decoder.MultimodalDecoder.to_codes : Codes that a codec can decode, from what this answers.
        """
        answers = self.decoder.decode(self.bottleneck_from_bold(bold, subject, mask))
        for name, linear in self.linear_decoded(bold, subject, mask).items():
            assert self.linear_path is not None  # or there would be nothing linear
            answers[name] = linear + self.linear_path.gain(name) * (answers[name] - linear)
        return answers

    @torch.no_grad()
    def linear_decoded(self, bold: Tensor, subject: Subject, mask: Tensor | None = None) -> dict[str, Tensor]:
        """The linear path's part in `decode`, which nothing learns.

        Parameters
        ----------
        bold : Tensor, shape (B, W, n_voxels)
        subject : str or int
        mask : Tensor of bool, shape (B, W), optional

        Returns
        -------
        dict of str to Tensor
            By modality, in the form of `decode`; of those that it decodes.

        Raises
        ------
        InputError
            As `decode`.
        """
        if self.linear_path is None or not self.linear_path.answers:
            return {}
        brain, place = self._brain(subject), self.place(subject)
        return self.linear_path.decode(brain.kept(bold, brain.checked_mask(bold, mask)), place)

    def forward(
        self,
        data: Data,
        mask: Data,
        subject: Subject,
        trs: Tensor | None = None,
        linear: Data | None = None,
        *,
        waiting: bool = False,
    ) -> dict[str, Any]:
        """Both ways at once, for training: `predict_bold` from the stimulus, and `decode` from the BOLD.

        The network's part in it is whole, whatever the gain.

        Parameters
        ----------
        data : mapping of str to Tensor, shape (B, W, ...)
            As for `encode`, and ``"bold"``, shape (B, W, n_voxels), normalised.
        mask : mapping of str to Tensor of bool, shape (B, W)
            As for `encode`, and ``"bold"``: which volumes are data.
        subject : str or int
            Name or place.
        trs : Tensor of int64, shape (B, W), optional
            TR of the stimulus in each row, -1 where a window is filled up; only for ``"scored"``.
        linear : mapping of str to Tensor, optional
            In place of what the linear path answers, where it is known already: ``"bold"``, shape (B, W, n_voxels).
        waiting : bool
            Decode no row before it is taken of the answers (:class:`giblet.models.decoder.WaitingAnswer`).

        Returns
        -------
        dict
            ``"bold"``: prediction of BOLD, Tensor, shape (B, W, n_voxels). ``"decoded"``: by modality what the network
            answers. ``"scored"``: what `scored_rows` answers, a dict of Tensor of bool (B, W). ``"linear"``: the
            part of the linear path in them, by modality; empty without one.

        Raises
        ------
        InputError
            If there is no BOLD series, or as `encode` and `decode`.
        """
        if BOLD not in data or BOLD not in mask:
            raise InputError("the batch has no BOLD series: training needs it; predict_bold does without")
        path = self.linear_path
        whole: dict[str, Any] = {BOLD: self.network_bold(data, mask, subject)}
        decode = self.decoder.waiting if waiting else self.decoder.decode
        whole |= decode(self.bottleneck_from_bold(data[BOLD], subject, mask[BOLD]))
        parts: dict[str, Tensor] = {}
        if path is not None and linear is not None:
            parts = dict(linear)
        elif path is not None:
            parts = {BOLD: path(data, mask, self.place(subject), self.which_ref(self.place(subject)))}
            parts |= self.linear_decoded(data[BOLD], subject, mask[BOLD])
        if BOLD in parts:
            whole[BOLD] = parts[BOLD] + whole[BOLD]
        decoded = {name: answer for name, answer in whole.items() if name != BOLD}
        return {"bold": whole[BOLD], "decoded": decoded, "scored": self.scored_rows(mask, trs), "linear": parts}

    def scored_rows(self, mask: Data, trs: Tensor | None = None) -> dict[str, Tensor]:
        """Rows of a window that may be scored, as all that they depend on lies within it and within the scan.

        Parameters
        ----------
        mask : mapping of str to Tensor of bool, shape (B, W)
            Used for its shape alone, and only without `trs`.
        trs : Tensor of int64, shape (B, W), optional
            TR of each row, -1 where the window is filled up. A window that begins at TR 0 lacks no context: nothing
            was shown before.

        Returns
        -------
        dict of str to Tensor of bool, shape (B, W)
            ``"bold"``: prediction of BOLD; ``"decode"``: decoding.
        """
        some = next(iter(mask.values()))
        real = torch.ones_like(some, dtype=torch.bool) if trs is None else trs >= 0
        w = real.shape[1]
        row = torch.arange(w, device=real.device)
        first = torch.zeros_like(real[:, :1]) if trs is None else trs[:, :1] == 0
        return {
            BOLD: real & ((row >= self.context_trs) | first),
            "decode": _all_ahead(real, self.lead_trs) & (row < w - self.lead_trs),
        }

    def rows_before(self, scored: Tensor) -> Tensor:
        """TRs of the stimulus that some prediction of BOLD depends on.

        Parameters
        ----------
        scored : Tensor of bool, shape (B, W)
            Volumes whose prediction counts.

        Returns
        -------
        Tensor of bool, shape (B, W)
            Those volumes, and the `context_trs` rows before each.
        """
        padded = nn.functional.pad(scored.float()[:, None], (0, self.context_trs))
        return nn.functional.max_pool1d(padded, self.context_trs + 1, stride=1)[:, 0] > 0.5

    @contextmanager
    def lesion(self, mask: Tensor, subject: Subject) -> Iterator[None]:
        """Silence voxels on their way into `decode`, within the block.

        Parameters
        ----------
        mask : Tensor of bool, shape (n_voxels,)
            True where silenced.
        subject : str or int
            Name or place.

        Yields
        ------
        None

        Raises
        ------
        InputError
            If the mask is not bool, or of another space, or there is no such subject.
        """
        with self._brain(subject).lesion(mask):
            yield

    def leave_out(self, columns: Any, subject: Subject) -> None:
        """Neither learn nor use voxels whose normalised BOLD is 0 throughout.

        Call it before training; the weights of these voxels stay 0.

        Parameters
        ----------
        columns : array_like of bool, shape (n_voxels,)
            True where left out.
        subject : str or int
            Name or place.

        Raises
        ------
        InputError
            If there is no such subject.
        """
        self._brain(subject).leave_out(torch.as_tensor(columns))

    def describe(self) -> list[dict[str, Any]]:
        """The parts of the model, one row for each.

        Returns
        -------
        list of dict
            ``part``, its name; ``input`` and ``output``, shapes of one TR; ``parameters``, how many there are, and
            ``trainable``, how many of them learn.
        """
        s = self.settings
        rows: list[dict[str, Any]] = []

        def row(part: str, module: nn.Module | nn.Parameter, shape_in: Any, shape_out: Any) -> None:
            parameters = [module] if isinstance(module, nn.Parameter) else list(module.parameters())
            rows.append({
                "part": part, "input": shape_in, "output": shape_out,
                "parameters": sum(p.numel() for p in parameters),
                "trainable": sum(p.numel() for p in parameters if p.requires_grad),
            })  # fmt: skip

        for name, encoder in self.encoders.items():
            row(f"encoder: {name}", encoder, self.modalities[name].shape, (s.features,))
        row("fusion", self.fusion, (len(self.modalities) * s.features,), (s.features,))
        row(f"HRF ({s.hrf})", self.hrf, (s.features,), (s.features,))
        row("bottleneck", self.to_bottleneck, (s.features,), (s.bottleneck,))
        if self.linear_path is not None:
            columns = len(self.linear_path.weights(0)[0])
            row("linear path (not learned by steps)", self.linear_path, (columns,), tuple(self.n_voxels.values()))
        for name, brain in zip(self.subjects, self.brains, strict=True):
            row(f"brain layer: {name}", brain, (s.bottleneck,), (self.n_voxels[name],))
        row("absent volume", self.absent_volume, (), (s.rank,))
        row("window of BOLD to bottleneck", self.over_volumes, (s.decode_trs, s.rank), (s.bottleneck,))
        row("decoder: trunk", self.decoder.trunk, (s.bottleneck,), (s.features,))
        for name, head in self.decoder.heads.items():
            row(f"decoder: {name}", head, (s.features,), self.modalities[name].shape)
        return rows

    def way_of(self, tensor: str) -> str:
        """Which way a weight serves: encoding and decoding share none.

        Parameters
        ----------
        tensor : str
            Name of a parameter or buffer.

        Returns
        -------
        str
            ``"encoding"`` or ``"decoding"``.
        """
        of_path = tensor.startswith("linear_path.gain_") and tensor != f"linear_path.gain_{BOLD}"
        decodes = tensor.startswith(("absent_volume", "over_volumes.", "decoder.")) or ".from_voxels." in tensor
        return "decoding" if decodes or of_path else "encoding"

    def chosen(self, way: str) -> dict[str, Tensor]:
        """What training changes of one way: its parameters, and the gain of what stands beside a linear path.

        Parameters
        ----------
        way : {"encoding", "decoding"}

        Returns
        -------
        dict of str to Tensor
            By name; the tensors themselves, not copies.
        """
        tensors = {name: parameter.detach() for name, parameter in self.named_parameters()}
        if self.linear_path is not None:
            tensors |= {f"linear_path.gain_{n}": self.linear_path.gain(n) for n in (BOLD, *self.linear_path.answers)}
        return {name: value for name, value in tensors.items() if self.way_of(name) == way}

    def save(self, folder: str | Path, instead: Data | None = None) -> Path:
        """Write ``model.safetensors`` and ``model.json``; see :func:`giblet.models.checkpoint.write_model`.

        Parameters
        ----------
        folder : str or Path
            Made if it is missing.
        instead : mapping of str to Tensor, optional
            Written in place of weights of these names.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        InputError
            If it cannot be written to.

        See Also
        --------
        from_pretrained : Read what this wrote.
        """
        return write_model(Path(folder), self.design, {**self.state_dict(), **(instead or {})})

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, codec_fingerprint: str | None = None, n_voxels: Mapping[str, int] | None = None
    ) -> Self:
        """A model that `save` wrote, in evaluation mode; nothing in the folder is ever executed.

        Parameters
        ----------
        folder : str or Path
        codec_fingerprint : str, optional
            Refuse a model that was trained on the codes of another codec.
        n_voxels : mapping of str to int, optional
            Refuse a model that lacks one of these subjects, or knows it with another number of voxels.

        Returns
        -------
        MultimodalAutoencoder

        Raises
        ------
        CheckpointError
            If files are missing, damaged, foreign, of another version, or the model is another than asked for.

        See Also
        --------
        save : Write a model.
        """
        design, tensors = read_model(Path(folder), codec_fingerprint, n_voxels)
        with torch.random.fork_rng(devices=[]):  # the random start is overwritten, and must not cost a draw
            try:
                with SizeOf(tensors, f"the settings in {folder}"):
                    model = cls(**vars(design), codebooks=tensors.get("decoder.codebooks"))
            except InputError as exc:
                raise CheckpointError(f"{folder} describes no model that can be built: {exc}") from exc
        fill_model(model, tensors, Path(folder))
        return model.eval()

    def place(self, subject: Subject) -> int:
        """Place of a subject among the brain layers.

        Parameters
        ----------
        subject : str or int
            Name or place.

        Returns
        -------
        int

        Raises
        ------
        InputError
            If there is no such subject.
        """
        if isinstance(subject, str):
            if subject not in self.n_voxels:
                raise InputError(f"there is no subject {subject}: the model knows {', '.join(self.subjects)}")
            return self.subjects.index(subject)
        if not 0 <= subject < len(self.brains):
            raise InputError(f"there is no subject {subject}: the model has {len(self.brains)}, counted from 0")
        return subject

    def which_ref(self, place: int) -> int:
        """Place of a subject's `slice_time_ref` among those of the HRF.

        Parameters
        ----------
        place : int
            Of the subject.

        Returns
        -------
        int
        """
        return self._which_ref[place]

    @torch.no_grad()
    def start_at_linear_path(self, subject: Subject) -> None:
        """Let the network predict 0 at first, so that the model is its linear path.

        Parameters
        ----------
        subject : str or int
            Name or place.

        Raises
        ------
        InputError
            If there is no such subject.
        """
        to_voxels = self._brain(subject).to_voxels
        to_voxels.weight.zero_()
        to_voxels.bias.zero_()

    def _brain(self, subject: Subject) -> BrainLayer:
        return self.brains[self.place(subject)]  # type: ignore[return-value]


def _all_ahead(real: Tensor, n: int) -> Tensor:
    """Whether a row of (B, W) and the `n` after it are all real; nothing behind the window's end is."""
    padded = nn.functional.pad(real.float()[:, None], (0, n))
    return -nn.functional.max_pool1d(-padded, n + 1, stride=1)[:, 0] > 0.5
