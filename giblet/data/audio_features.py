"""The two kinds of features that AudioProcessor makes of sound: codes of a neural codec, or mel spectrograms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from giblet.codec import AudioCodec
from giblet.codec.mel import BLOCK_FRAMES, MelSpectrogram
from giblet.data.sound import SoundOnGrid
from giblet.errors import CodecError, InputError
from giblet.features import CODES, CONTINUOUS, ENCODEC, MEL
from giblet.timing import TRGrid, blocks_by_tr, group_with_spill, ungroup_codes, ungroup_in_blocks

if TYPE_CHECKING:
    from giblet.data.rows import Rows

Variables = dict[str, tuple[tuple[str, ...], Any]]
"""Of a feature file: by name, dimensions and values; the first is what the file is about."""


class AudioFeatures(Protocol):
    """Sound to features by TR, and back."""

    desc: ClassVar[str]
    """The ``desc`` entity of the feature file's name."""
    kind: ClassVar[str]
    """``"codes"`` or ``"continuous"``."""
    looks_ahead: ClassVar[str]
    """Why features depend on sound after their TR; empty where they do not."""

    @property
    def source(self) -> AudioCodec | MelSpectrogram:
        """What turns a waveform into frames."""
        ...

    def fingerprint(self) -> dict[str, str]:
        """What decides the numbers beside the settings, as attributes.

        Returns
        -------
        dict of str to str
        """
        ...

    def about(self) -> dict[str, Any]:
        """Attributes of the feature file that say what made it.

        Returns
        -------
        dict of str to object
        """
        ...

    def of_sound(self, sound: SoundOnGrid, rows: Rows) -> Variables:
        """Features of a film's sound.

        Parameters
        ----------
        sound : SoundOnGrid
            At the sample rate of `source`.
        rows : Rows
            Empty; where the main variable goes, TR by TR, if it is large.

        Returns
        -------
        dict
            By name, dimensions and values.
        """
        ...

    def to_sound(
        self, features: np.ndarray, grid: TRGrid, metadata: Mapping[str, Any], fill: str
    ) -> Iterator[np.ndarray]:
        """The way back.

        Parameters
        ----------
        features : ndarray
            The main variable, by TR; where it is large it is read by slices of TRs, and may be no ndarray.
        grid : TRGrid
        metadata : mapping
            What the feature file holds beside it.
        fill : {"repeat", "interpolate"}
            What stands in the place of frames that `metadata` does not hold.

        Yields
        ------
        ndarray of float32, shape (n,)
            Mono sound, in blocks.
        """
        ...


@dataclass(frozen=True)
class CodeFeatures:
    """Codes of a neural codec, int32 (n_trs, n_codebooks, frames), and the odd frames beside them."""

    source: AudioCodec
    desc: ClassVar[str] = ENCODEC
    kind: ClassVar[str] = CODES
    looks_ahead: ClassVar[str] = ""

    def fingerprint(self) -> dict[str, str]:
        """See :class:`AudioFeatures`.

        Returns
        -------
        dict of str to str
            ``codec_fingerprint``.
        """
        return {"codec_fingerprint": self.source.codes_fingerprint}

    def about(self) -> dict[str, Any]:
        """See :class:`AudioFeatures`.

        Returns
        -------
        dict of str to object
            ``codec``, ``bandwidth`` (kbps) and ``codebook_size``.
        """
        codec = self.source
        return {"codec": codec.name, "bandwidth": codec.bandwidth, "codebook_size": codec.codebook_size}

    def of_sound(self, sound: SoundOnGrid, rows: Rows) -> Variables:
        """See :class:`AudioFeatures`.

        Parameters
        ----------
        sound : SoundOnGrid
        rows : Rows
            Not used: codes are small.

        Returns
        -------
        dict
            ``codes``, ``spill`` and ``spill_mask``.
        """
        codes = np.concatenate(list(self.source.encode_stream(sound)), axis=1)[:, : sound.grid.n_frames]
        grouped = group_with_spill(codes, sound.grid)
        return {
            "codes": (("tr", "codebook", "frame"), grouped.codes),
            "spill": (("tr", "codebook", "extra"), grouped.spill),
            "spill_mask": (("tr", "extra"), grouped.spill_mask),
        }

    def to_sound(
        self, features: np.ndarray, grid: TRGrid, metadata: Mapping[str, Any], fill: str
    ) -> Iterator[np.ndarray]:
        """See :class:`AudioFeatures`.

        Parameters
        ----------
        features : ndarray of int, shape (n_trs, n_codebooks, frames)
        grid : TRGrid
        metadata : mapping
            ``spill`` and ``spill_mask`` make the way back lossless; ``codec_fingerprint`` is checked.
        fill : {"repeat", "interpolate"}
            The frame before again, or the mean of its neighbours' latents, requantised.

        Returns
        -------
        iterator of ndarray of float32, shape (n,)

        Raises
        ------
        InputError
            If the codes are not whole numbers in range, or `fill` is neither.
        CodecError
            If they were made by another codec.
        """
        return self.source.decode_stream([self._frames(features, grid, metadata, fill)])

    def _frames(self, codes: np.ndarray, grid: TRGrid, metadata: Mapping[str, Any], fill: str) -> np.ndarray:
        """Codes on the clock, (n_codebooks, n_frames) int32, checked."""
        codec = self.source
        made_by = metadata.get("codec_fingerprint", codec.codes_fingerprint)
        if made_by != codec.codes_fingerprint:
            raise CodecError(
                f"the codes were made by codec {metadata.get('codec', 'unknown')} ({made_by[:12]}), not by "
                f"{codec.name} ({codec.codes_fingerprint[:12]}): decode with the codec that made them (`codec`)"
            )
        codes = _whole_codes(np.asarray(codes), codec.codebook_size)
        spill = metadata.get("spill")
        if spill is not None and "spill_mask" in metadata and np.shape(spill) == (*codes.shape[:2], 1):
            # Where a file was cut, TRs that have an odd frame need not be those that the clock gives one from 0 on.
            spill = np.where(np.asarray(metadata["spill_mask"])[:, None, :], spill, codes[:, :, -1:])
        if spill is None and fill == "interpolate":
            spill = self._interpolated_spill(codes)
        elif fill not in ("repeat", "interpolate"):
            raise InputError(f"fill is {fill!r}; expected 'repeat' or 'interpolate'")
        return ungroup_codes(codes.astype(np.int32), grid.tr, codec.frame_rate, spill=spill)

    def _interpolated_spill(self, codes: np.ndarray) -> np.ndarray:
        """Codes half way, in latent space, between the last frame of each TR and the first of the next."""
        before = codes[:, :, -1].T
        after = np.concatenate([codes[1:, :, 0], codes[-1:, :, -1]]).T
        between = (self.source.latents(before) + self.source.latents(after)) / 2
        return self.source.requantize(between).T[:, :, None]


def _whole_codes(codes: np.ndarray, codebook_size: int) -> np.ndarray:
    """Codes as integers, none out of range."""
    if codes.dtype.kind not in "iu":
        if codes.dtype.kind != "f" or not np.array_equal(codes, np.round(codes)):
            raise InputError(f"codes are {codes.dtype} and not whole numbers: round and clip predictions first")
        codes = codes.astype(np.int64)
    outside = (codes < 0) | (codes > codebook_size - 1)
    if outside.any():
        at = np.argwhere(outside)[0]
        raise InputError(
            f"code {codes[tuple(at)]} at (tr, codebook, frame) = {tuple(at.tolist())} is outside "
            f"[0, {codebook_size - 1}]: {int(outside.sum())} such codes; clip predictions before decoding"
        )
    return codes


@dataclass(frozen=True)
class MelFeatures:
    """Power mel spectrogram, float32 (n_trs, n_mels, frames), or its mean by TR."""

    source: MelSpectrogram
    average: bool = False
    """Keep the mean of each TR only."""
    desc: ClassVar[str] = MEL
    kind: ClassVar[str] = CONTINUOUS
    looks_ahead: ClassVar[str] = (
        "windows of mel spectrograms are centred on their frames, and reach 46 ms beyond the TR"
    )

    def fingerprint(self) -> dict[str, str]:
        """See :class:`AudioFeatures`.

        Returns
        -------
        dict of str to str
            Empty: the settings say all.
        """
        return {}

    def about(self) -> dict[str, Any]:
        """See :class:`AudioFeatures`.

        Returns
        -------
        dict of str to object
            Empty: the settings say all.
        """
        return {}

    def of_sound(self, sound: SoundOnGrid, rows: Rows) -> Variables:
        """See :class:`AudioFeatures`.

        Parameters
        ----------
        sound : SoundOnGrid
        rows : Rows

        Returns
        -------
        dict
            ``mel``, and ``frame_mask`` where it is not averaged.
        """
        width, n_mels = sound.frames_in_longest_tr, self.source.n_mels
        for k, block in enumerate(blocks_by_tr(self.source.stream(sound), sound.tr, self.source.frame_rate)):
            rows[k] = block.mean(axis=1) if self.average else np.pad(block, ((0, 0), (0, width - block.shape[1])))
        if self.average:
            return {"mel": (("tr", "mel"), rows.table(sound.grid.n_trs, (n_mels,), np.float32))}
        table = rows.table(sound.grid.n_trs, (n_mels, width), np.float32)
        _, own = sound.grid.columns(width)
        return {"mel": (("tr", "mel", "frame"), table), "frame_mask": (("tr", "frame"), own)}

    def to_sound(
        self, features: np.ndarray, grid: TRGrid, metadata: Mapping[str, Any], fill: str
    ) -> Iterator[np.ndarray]:
        """See :class:`AudioFeatures`.

        Parameters
        ----------
        features : ndarray of float, shape (n_trs, n_mels, frames) or (n_trs, n_mels)
        grid : TRGrid
        metadata, fill
            Not used: no frame is left out of a mel spectrogram.

        Returns
        -------
        iterator of ndarray of float32, shape (n,)

        Raises
        ------
        InputError
            If the features do not fit the clock.
        """
        return self.source.invert_stream(ungroup_in_blocks(features, grid, BLOCK_FRAMES))
