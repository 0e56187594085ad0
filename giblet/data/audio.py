"""Sound tracks as features on the clock of a scan, and features back into sound."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from giblet.codec import AudioCodec, load_codec
from giblet.codec.mel import MelSpectrogram
from giblet.config import ExtractSettings
from giblet.data.media import AudioReader
from giblet.data.sound import SoundOnGrid, write_sound
from giblet.errors import CodecError, InputError
from giblet.features import CODES, CONTINUOUS, ENCODEC, MEL, main_variable, metadata_of, new_features
from giblet.files import sha256_of
from giblet.progress import Progress
from giblet.timing import TRGrid, blocks_by_tr, group_with_spill, same_tr, shown, ungroup_codes, ungroup_frames


class AudioProcessor:
    """Turns the sound of a film into TR-grouped features, and such features into sound.

    Parameters
    ----------
    use_encodec : bool
        True: codes of a neural codec. False: the legacy mel spectrogram.
    codec : str or AudioCodec
        ``"bundled"``, a folder with a transformers EnCodec model, a hub name such as ``"facebook/encodec_24khz"``,
        or a loaded codec.
    bandwidth : float
        In kbps: 1.5, 3, 6, 12, 24 for 2, 4, 8, 16, 32 codebooks, as many as the codec has.
    tr : float
        Repetition time in seconds.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    n_mels : int
        Mel bands of the legacy mode, at 22,050 Hz with windows of 2,048 and hops of 512 samples.
    mel_average : bool
        Legacy mode: keep only the mean of each TR.
    track : int, optional
        Audio track of the film, counted from 0. By default the one that the film marks as its default, or else the
        first.
    gain : float or "peak"
        By how many dB the sound is made louder before anything else; "peak" brings its loudest sample to full scale.

    Raises
    ------
    InputError
        If an option is out of range.
    CodecError
        If the codec cannot be loaded.

    Examples
    --------
    >>> audio = AudioProcessor(tr=1.5)  # doctest: +SKIP
    >>> codes, metadata = audio.audio_to_features("film.mp4", n_trs=920)  # doctest: +SKIP
    >>> audio.features_to_audio(codes, "back.wav", metadata=metadata)  # doctest: +SKIP
    """

    def __init__(
        self,
        use_encodec: bool = True,
        codec: str | AudioCodec = "bundled",
        bandwidth: float = 6.0,
        tr: float = 1.5,
        *,
        device: str = "auto",
        n_mels: int = 2048,
        mel_average: bool = False,
        track: int | None = None,
        gain: float | Literal["peak"] = 0.0,
    ) -> None:
        loaded = codec if isinstance(codec, AudioCodec) else None
        self.settings = ExtractSettings.make(
            tr=tr,
            use_encodec=use_encodec,
            codec=loaded.name if loaded else codec,
            bandwidth=loaded.bandwidth if loaded else bandwidth,
            track=track,
            gain=gain,
            n_mels=n_mels,
            mel_average=mel_average,
            device=device,
        )
        self.codec: AudioCodec | None = None
        self.mel: MelSpectrogram | None = None
        if use_encodec:
            self.codec = loaded or load_codec(self.settings.codec, bandwidth=bandwidth, device=device)
        else:
            self.mel = MelSpectrogram(n_mels=n_mels)
        TRGrid(tr, 1, self.frame_rate)  # a TR shorter than a frame is an error now, not after the film

    @classmethod
    def from_settings(cls, settings: ExtractSettings) -> AudioProcessor:
        """The processor that `settings` ask for.

        Parameters
        ----------
        settings : ExtractSettings
            Its ``n_trs`` is left out, as that is an argument of the call.

        Returns
        -------
        AudioProcessor

        Raises
        ------
        InputError
            If an option is out of range.
        CodecError
            If the codec cannot be loaded.
        """
        return cls(**settings.model_dump(exclude={"n_trs"}))

    @property
    def use_encodec(self) -> bool:
        """Whether features are codes; otherwise they are mel spectrograms."""
        return self.codec is not None

    @property
    def source(self) -> AudioCodec | MelSpectrogram:
        """What turns a waveform into frames."""
        return self.codec if self.codec is not None else self.mel  # type: ignore[return-value]

    @property
    def frame_rate(self) -> float | Fraction:
        """Frames per second before grouping."""
        return self.source.frame_rate

    @property
    def desc(self) -> str:
        """The ``desc`` entity of the feature file's name."""
        return ENCODEC if self.use_encodec else MEL

    def provenance(self, path: str | Path, n_trs: int | None = None) -> dict[str, Any]:
        """The attributes that decide what the features of a film are; equal ones mean an equal file.

        Parameters
        ----------
        path : str or Path
            The film.
        n_trs : int, optional
            As for :meth:`audio_to_features`.

        Returns
        -------
        dict
            ``source_sha256``, ``settings`` and, of codes, ``codec_fingerprint``.
        """
        settings = self.settings.model_copy(update={"n_trs": n_trs})
        fingerprint = {} if self.codec is None else {"codec_fingerprint": self.codec.fingerprint}
        return {"source_sha256": sha256_of(path), "settings": settings.provenance(), **fingerprint}

    def audio_to_features(
        self, path: str | Path, n_trs: int | None = None, *, progress: Progress | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Features of a film's sound, by TR.

        Parameters
        ----------
        path : str or Path
            Any film or sound file that FFmpeg reads.
        n_trs : int, optional
            Volumes of the scan: a longer film is cut, a shorter one is padded with silence, and
            ``metadata["valid"]`` says which TRs the film covers. By default as many as the film fills.
        progress : callable, optional
            Called with seconds done and seconds in all (None while unknown).

        Returns
        -------
        features : ndarray of int32 or float32
            ``use_encodec=True``: codes, int32, shape (n_trs, n_codebooks, floor(tr * frame_rate)), with the 75 frames/s
            of the bundled codec. ``use_encodec=False``: power mel spectrogram, float32, shape
            (n_trs, n_mels, ceil(tr * 22050 / 512)), or (n_trs, n_mels) with `mel_average`.
        metadata : dict
            What the feature file holds beside them: ``spill``, ``spill_mask`` (or ``frame_mask``), ``onset`` (s),
            ``valid``, and its attributes.

        Raises
        ------
        InputError
            If the film cannot be read, has no sound, or an option is out of range.

        See Also
        --------
        AudioProcessor.extract : The same as the Dataset of a feature file.
        AudioProcessor.features_to_audio : The way back.
        """
        dataset = self.extract(path, n_trs, progress=progress)
        return dataset[main_variable(dataset)].values, metadata_of(dataset)

    def extract(
        self,
        path: str | Path,
        n_trs: int | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> xr.Dataset:
        """As :meth:`audio_to_features`, as the Dataset of a feature file (see :mod:`giblet.features`).

        Parameters
        ----------
        path : str or Path
            Any film or sound file that FFmpeg reads.
        n_trs : int, optional
            As for :meth:`audio_to_features`.
        provenance : mapping, optional
            What :meth:`provenance` returned, if it was called already: a long film is not hashed again then.
        progress : callable, optional
            Called with seconds done and seconds in all (None while unknown).

        Returns
        -------
        xarray.Dataset
            ``codes`` int32 (tr, codebook, frame) with ``spill`` and ``spill_mask``; or ``mel`` float32 (tr, mel, frame)
            with ``frame_mask``, or (tr, mel) with `mel_average`.

        Raises
        ------
        InputError
            If the film cannot be read, has no sound, or an option is out of range.
        """
        provenance = self.provenance(path, n_trs) if provenance is None else provenance
        sample_rate, hop_length = self.source.sample_rate, self.source.hop_length
        sound = SoundOnGrid(
            AudioReader(path, sample_rate=sample_rate, track=self.settings.track, gain=self.settings.gain),
            self.settings.tr, n_trs, self.frame_rate, hop_length, progress,
        )  # fmt: skip
        variables = self._codes(sound) if self.codec is not None else self._mels(sound)
        about_codec: dict[str, Any] = {}
        if self.codec is not None:
            about_codec = {
                "codec": self.codec.name,
                "bandwidth": self.codec.bandwidth,
                "codebook_size": self.codec.codebook_size,
            }
        return new_features(
            variables,
            sound.grid,
            film_duration=sound.film_duration,
            kind=CODES if self.use_encodec else CONTINUOUS,
            desc=self.desc,
            **about_codec,
            sample_rate=sample_rate,
            hop_length=hop_length,
            source=Path(path).name,
            **provenance,
            start_offset=sound.reader.start_offset,
            duration=float(sound.grid.duration if n_trs else min(sound.film_duration, sound.grid.duration)),
            gaps=sound.reader.gaps,
            gap_seconds=sound.reader.gap_seconds,
            overlaps=sound.reader.overlaps,
            overlap_seconds=sound.reader.overlap_seconds,
            damaged_packets=sound.reader.damaged_packets,
            peak=sound.reader.peak,
            gain_db=sound.reader.gain_db,
        )

    def _codes(self, sound: SoundOnGrid) -> dict[str, Any]:
        assert self.codec is not None
        codes = np.concatenate(list(self.codec.encode_stream(sound)), axis=1)[:, : sound.grid.n_frames]
        grouped = group_with_spill(codes, sound.grid)
        return {
            "codes": (("tr", "codebook", "frame"), grouped.codes),
            "spill": (("tr", "codebook", "extra"), grouped.spill),
            "spill_mask": (("tr", "extra"), grouped.spill_mask),
        }

    def _mels(self, sound: SoundOnGrid) -> dict[str, Any]:
        assert self.mel is not None
        by_tr: list[np.ndarray] = []
        width = sound.frames_in_longest_tr
        for block in blocks_by_tr(self.mel.stream(sound), sound.tr, self.frame_rate):
            if self.settings.mel_average:
                by_tr.append(block.mean(axis=1))
            else:
                by_tr.append(np.pad(block, ((0, 0), (0, width - block.shape[1]))))
        table = np.stack(by_tr[: sound.grid.n_trs])
        if self.settings.mel_average:
            return {"mel": (("tr", "mel"), table)}
        _, own = sound.grid.columns(width)
        return {"mel": (("tr", "mel", "frame"), table), "frame_mask": (("tr", "frame"), own)}

    def features_to_audio(
        self,
        features: np.ndarray,
        path: str | Path,
        *,
        metadata: Mapping[str, Any] | None = None,
        fill: str = "repeat",
        progress: Progress | None = None,
    ) -> Path:
        """Write features as a sound file.

        Parameters
        ----------
        features : ndarray
            As :meth:`audio_to_features` returns them; predicted codes must have been rounded and clipped.
        path : str or Path
            ``.wav`` or ``.flac``, 16 bit, mono.
        metadata : mapping, optional
            As :meth:`audio_to_features` returns it: its spill makes the way back lossless, its ``duration`` (s) cuts
            the padding of the last TR, its fingerprint is checked against the codec. Without it, as for predicted
            codes, the sound lasts ``n_trs * tr`` and `fill` says what stands in the place of the odd frames.
        fill : {"repeat", "interpolate"}
            The frame before again, or the mean of its neighbours' latents, requantised.
        progress : callable, optional
            Called with seconds done and seconds in all.

        Returns
        -------
        Path
            The file written.

        Raises
        ------
        InputError
            If the features do not fit the clock, are not whole numbers in range, or the file cannot be written.
        CodecError
            If the features were made by another codec.
        """
        metadata = metadata or {}
        features = np.asarray(features)
        tr = self.settings.tr
        if "tr" in metadata and not same_tr(metadata["tr"], tr):
            raise InputError(
                f"the features have TR {shown(metadata['tr'])} s, this processor {shown(tr)} s: make one with "
                f"tr={shown(metadata['tr'])}"
            )
        grid = TRGrid(tr, features.shape[0] if features.ndim else 0, self.frame_rate)
        if self.codec is not None:
            chunks = self.codec.decode_stream([self._frames(features, metadata, fill)])
        else:
            assert self.mel is not None
            chunks = iter([self.mel.invert(ungroup_frames(features, grid))])
        # Of features that were cut from a file of a whole film, `duration` is the film's.
        seconds = min(metadata.get("duration", grid.duration), grid.duration)
        return write_sound(path, chunks, self.source.sample_rate, seconds=seconds, progress=progress)

    def _frames(self, codes: np.ndarray, metadata: Mapping[str, Any], fill: str) -> np.ndarray:
        """Codes on the clock, (n_codebooks, n_frames) int32, checked."""
        assert self.codec is not None
        made_by = metadata.get("codec_fingerprint", self.codec.fingerprint)
        if made_by != self.codec.fingerprint:
            raise CodecError(
                f"the codes were made by codec {metadata.get('codec', 'unknown')} ({made_by[:12]}), not by "
                f"{self.codec.name} ({self.codec.fingerprint[:12]}): decode with the codec that made them (--codec)"
            )
        if codes.dtype.kind not in "iu":
            if codes.dtype.kind != "f" or not np.array_equal(codes, np.round(codes)):
                raise InputError(f"codes are {codes.dtype} and not whole numbers: round and clip predictions first")
            codes = codes.astype(np.int64)
        top = self.codec.codebook_size - 1
        outside = (codes < 0) | (codes > top)
        if outside.any():
            at = np.argwhere(outside)[0]
            raise InputError(
                f"code {codes[tuple(at)]} at (tr, codebook, frame) = {tuple(at.tolist())} is outside [0, {top}]: "
                f"{int(outside.sum())} such codes; clip predictions before decoding"
            )
        spill = metadata.get("spill")
        if spill is not None and "spill_mask" in metadata and np.shape(spill) == (*codes.shape[:2], 1):
            # Where a file was cut, TRs that have an odd frame need not be those that the clock gives one from 0 on.
            spill = np.where(np.asarray(metadata["spill_mask"])[:, None, :], spill, codes[:, :, -1:])
        if spill is None and fill == "interpolate":
            spill = self._interpolated_spill(codes)
        elif fill not in ("repeat", "interpolate"):
            raise InputError(f"fill is {fill!r}: 'repeat' or 'interpolate' is needed")
        return ungroup_codes(codes.astype(np.int32), self.settings.tr, self.frame_rate, spill=spill)

    def _interpolated_spill(self, codes: np.ndarray) -> np.ndarray:
        """Codes half way, in latent space, between the last frame of each TR and the first of the next."""
        assert self.codec is not None
        before = codes[:, :, -1].T
        after = np.concatenate([codes[1:, :, 0], codes[-1:, :, -1]]).T
        between = (self.codec.latents(before) + self.codec.latents(after)) / 2
        return self.codec.requantize(between).T[:, :, None]
