"""What the user may choose about the model, what a modality looks like to it, and whether the two fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

from pydantic import Field

from giblet.config import Settings
from giblet.errors import InputError
from giblet.modalities import AUDIO, BOLD, VIDEO
from giblet.timing import exact

Head = Literal["regression", "classification", "latent"]
"""How codes are decoded; what each does is in :data:`giblet.models.heads.CODE_HEADS`."""
NEED_CODEBOOKS: tuple[Head, ...] = ("latent",)
"""Heads that cannot do without the codec's codebooks."""
ModalityKind = Literal["codes", "mel", "frames", "vector"]


class ModelSettings(Settings):
    """Shape of the multimodal autoencoder. Same settings, same shapes of data: same parameters."""

    use_encodec: bool = Field(True, description="sound as codec codes; False: the legacy mel spectrogram")
    head: Head = Field("latent", description="how codes are decoded: regression, classification or latent")
    regression_loss: Literal["mse", "smooth_l1"] = Field("mse", description="loss of the regression head")
    tr: float = Field(
        1.5, gt=0, allow_inf_nan=False, description="repetition time, s; in training that of the features if not given"
    )
    hrf: Literal["glover", "spm"] = Field("glover", description="haemodynamic response")
    learnable_hrf: bool = Field(False, description="let training move the five numbers of the HRF")
    linear_path: bool = Field(
        True, description="beside the network ridge regression, whose weights stay; the network learns what it leaves"
    )
    linear_hrf: Literal["glover", "spm", "fir"] | None = Field(
        None, description="haemodynamic response of the linear path; fir: copies at delays; default: as hrf"
    )
    n_codebooks: int = Field(8, ge=1, description="codebooks of the codec in use")
    codebook_size: int = Field(1024, ge=2, description="entries in each codebook")
    frames_per_tr: int = Field(112, ge=1, description="frames of codes in a TR")
    embedding_dim: int = Field(64, ge=1, description="dimensions of the embedding of a code")
    codebook_init: bool = Field(True, description="embeddings start from the codec's codebooks, not at random")
    features: int = Field(256, ge=1, description="features of a TR, of each modality and fused")
    bottleneck: int = Field(128, ge=1, description="dimensions of the bottleneck")
    rank: int = Field(128, ge=1, description="rank of the maps between bottleneck and voxels")
    decode_seconds: float = Field(
        12.0, gt=0, allow_inf_nan=False, description="seconds of BOLD, from a TR's onset on, that it is decoded from"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="share of features and BOLD components dropped in training")
    codebook_decay: float = Field(
        0.8, gt=0, le=1, description="weight in the loss of each codebook relative to the one before it"
    )
    modality_weights: dict[str, float] = Field(
        {}, description="weight of a modality's loss, by name ('bold' too); 1 where nothing is said"
    )

    @property
    def decode_trs(self) -> int:
        """Volumes that a TR is decoded from, its own and the ones after it: ``ceil(decode_seconds / tr)``."""
        return ceil(exact(self.decode_seconds) / exact(self.tr))

    @property
    def codebook_weights(self) -> tuple[float, ...]:
        """Weight of each codebook in the loss, coarse to fine; they sum to 1."""
        raw = [self.codebook_decay**k for k in range(self.n_codebooks)]
        return tuple(weight / sum(raw) for weight in raw)


@dataclass(frozen=True)
class Modality:
    """What one TR of a modality is.

    Parameters
    ----------
    kind : {"codes", "mel", "frames", "vector"}
        Codec codes (K, F); mel spectrogram (n_mels,) or (n_mels, F); a picture (H, W, 3); a vector (n,).
    shape : tuple of int
        Of one TR.

    Raises
    ------
    InputError
        If there is no such kind, or it does not have such a shape.
    """

    kind: ModalityKind
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        wanted = {"codes": "(K, F)", "mel": "(n_mels,) or (n_mels, F)", "frames": "(H, W, 3)", "vector": "(n,)"}
        if self.kind not in wanted:
            raise InputError(f"a modality's kind is {self.kind!r}: {', '.join(wanted)} are known")
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        n_dims = {"codes": (2,), "mel": (1, 2), "frames": (3,), "vector": (1,)}[self.kind]
        wrong = len(self.shape) not in n_dims or min(self.shape) < 1
        if wrong or (self.kind == "frames" and self.shape[-1] != 3):
            raise InputError(f"{self.kind} of shape {self.shape} per TR; expected {wanted[self.kind]}")

    @classmethod
    def of(cls, name: str, shape: Sequence[int], codes: bool) -> Modality:
        """The modality that a series of this name and shape is.

        Parameters
        ----------
        name : str
            ``"audio"`` that is not codes is a mel spectrogram.
        shape : sequence of int
            Of one TR.
        codes : bool
            Whether the series says that it holds codes (its `kind`, never its dtype).

        Returns
        -------
        Modality

        Raises
        ------
        InputError
            If nothing has that shape.
        """
        kind: ModalityKind = "vector" if len(shape) == 1 else "frames"
        if codes:
            kind = "codes"
        elif name == AUDIO:
            kind = "mel"
        return cls(kind, tuple(shape))


@dataclass(frozen=True)
class ModelDesign:
    """All that a model is built from, apart from its numbers: what is written beside the weights.

    Parameters
    ----------
    settings : ModelSettings
    modalities : mapping of str to Modality
        By name.
    n_voxels : mapping of str to int
        By subject.
    codec_fingerprint : str, optional
        Of the codec that made the codes.
    slice_time_ref : mapping of str to float, optional
        By subject, when in its TR a volume is read, 0 (its onset, the default) to 1.
    """

    settings: ModelSettings
    modalities: Mapping[str, Modality]
    n_voxels: Mapping[str, int]
    codec_fingerprint: str | None = None
    slice_time_ref: Mapping[str, float] = field(default_factory=dict)

    def check(self, *, has_codebooks: bool) -> None:
        """Refuse settings, modalities and subjects that contradict each other.

        Parameters
        ----------
        has_codebooks : bool
            Whether the codec's codebooks are at hand.

        Raises
        ------
        InputError
            If they do, there is no modality, no subject or no voxel, or codebooks are needed and not there.
        """
        if not self.modalities or not self.n_voxels:
            raise InputError("there is no modality or no subject; expected at least one of each")
        for subject, n in self.n_voxels.items():
            if n < 1:
                raise InputError(f"subject {subject} has {n} voxels; expected at least 1")
        if unknown := set(self.slice_time_ref) - set(self.n_voxels):
            raise InputError(f"slice_time_ref names {sorted(unknown)}: the subjects are {', '.join(self.n_voxels)}")
        check_modalities(self.settings, self.modalities)
        names = [*self.modalities, BOLD]
        if unknown := set(self.settings.modality_weights) - set(names):
            raise InputError(f"modality_weights name {', '.join(sorted(unknown))}: there are {', '.join(names)}")
        needed = self.settings.codebook_init or self.settings.head in NEED_CODEBOOKS
        if AUDIO in self.modalities and self.settings.use_encodec and needed and not has_codebooks:
            heads = " or ".join(f"head={head!r}" for head in NEED_CODEBOOKS)
            raise InputError(f"codebook_init=True and {heads} require the codec's codebooks; pass codebooks (K, V, D)")


def check_modalities(settings: ModelSettings, modalities: Mapping[str, Modality]) -> None:
    """Refuse modalities of another kind or shape than the settings say.

    Parameters
    ----------
    settings : ModelSettings
    modalities : mapping of str to Modality
        By name.

    Raises
    ------
    InputError
        Naming the first of them.
    """
    use_encodec, codes = settings.use_encodec, (settings.n_codebooks, settings.frames_per_tr)
    for name, modality in modalities.items():
        kinds = {AUDIO: ("codes",) if use_encodec else ("mel",), VIDEO: ("frames", "vector")}.get(name, ("vector",))
        if modality.kind not in kinds or name == BOLD:
            raise InputError(
                f"modality {name} is {modality.kind} {modality.shape}; expected {' or '.join(kinds)} "
                f"with use_encodec={use_encodec}"
            )
        if modality.kind == "codes" and modality.shape != codes:
            raise InputError(
                f"audio has codes {modality.shape} per TR: the settings have n_codebooks {settings.n_codebooks}, "
                f"frames_per_tr {settings.frames_per_tr}"
            )
