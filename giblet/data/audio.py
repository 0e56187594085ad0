"""Sound tracks as features on the clock of a scan, and features back into sound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from giblet.codec import AudioCodec, known_codes_fingerprint, load_codec
from giblet.codec.mel import MelSpectrogram
from giblet.data.audio_features import AudioFeatures, CodeFeatures, MelFeatures
from giblet.data.gain import Gain, gain_looks_ahead
from giblet.data.media import AudioReader
from giblet.data.processor import ExtractionSettings, MadeOfSettings
from giblet.data.sound import SoundOnGrid, write_sound
from giblet.data.sources import FromSound
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.features import main_variable, metadata_of, new_features
from giblet.files import sha256_of
from giblet.progress import Progress
from giblet.timing import Number, TRGrid, check_tr, same_tr, shown

if TYPE_CHECKING:
    import xarray as xr

    from giblet.data.rows import Rows


class AudioSettings(ExtractionSettings):
    """Options of audio feature extraction. Same film, same settings, same codec: same file."""

    use_encodec: bool = Field(True, description="codec codes; False: the legacy mel spectrogram")
    codec: str = Field("bundled", description="'bundled', a transformers EnCodec folder, or a hub name")
    bandwidth: float = Field(6.0, description="kbps: 1.5, 3, 6, 12 or 24, as far as the codec has codebooks")
    track: int | None = Field(None, ge=0, description="which audio track of the film, from 0; default: the first")
    gain: Gain = Field(0.0, description="dB by which the sound is made louder; 'peak': to full scale")
    n_mels: int = Field(2048, ge=1, description="mel bands of the legacy mode")
    mel_average: bool = Field(False, description="legacy mode: keep the mean of each TR only")
    device: str = Field("auto", description="'auto', 'cpu', 'cuda' or 'mps'")

    def provenance(self) -> dict[str, Any]:
        """The settings that decide what the features are; the codec is known by its fingerprint instead.

        Returns
        -------
        dict of str to object
            Options by name, without the device, the codec's name, and those that only the other kind of feature uses;
            without the gain where it is 0 dB.
        """
        unused = {"n_mels", "mel_average"} if self.use_encodec else {"bandwidth"}
        if self.gain == 0:
            unused.add("gain")
        return self.model_dump(exclude={"device", "codec", *unused})


@fill_doc
class AudioProcessor(MadeOfSettings, FromSound):
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
        %(tr)s
    device : str
        %(device)s
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

    settings_type: ClassVar[type[ExtractionSettings]] = AudioSettings
    by_rows: ClassVar[bool] = True

    def __init__(
        self,
        use_encodec: bool = True,
        codec: str | AudioCodec = "bundled",
        bandwidth: float = 6.0,
        *,
        tr: float = 1.5,
        device: str = "auto",
        n_mels: int = 2048,
        mel_average: bool = False,
        track: int | None = None,
        gain: float | Literal["peak"] = 0.0,
    ) -> None:
        loaded = codec if isinstance(codec, AudioCodec) else None
        self.settings = AudioSettings.make(
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
        self.features: AudioFeatures
        if use_encodec:
            self.features = CodeFeatures(loaded or load_codec(self.settings.codec, bandwidth=bandwidth, device=device))
        else:
            self.features = MelFeatures(MelSpectrogram(n_mels=n_mels), mel_average)
        check_tr(tr, self.frame_rate)  # a TR shorter than a frame is an error now, not after the film

    @classmethod
    def known(cls, settings: Any) -> tuple[str, dict[str, Any]] | None:
        """See :class:`giblet.data.processor.KnownUnloaded`: it is known of a codec that was loaded from the same files.

        Parameters
        ----------
        settings : AudioSettings

        Returns
        -------
        desc : str
        provenance : dict of str to object
            In place of both None, where it is not known.

        Raises
        ------
        CodecError
            If there is no such codec, or it cannot be reached.
        """
        if not settings.use_encodec:
            return MelFeatures.desc, {"settings": settings.provenance()}
        fingerprint = known_codes_fingerprint(settings.codec)
        if fingerprint is None:
            return None
        return CodeFeatures.desc, {"settings": settings.provenance(), "codec_fingerprint": fingerprint}

    @property
    def use_encodec(self) -> bool:
        """Whether features are codes; otherwise they are mel spectrograms."""
        return self.codec is not None

    @property
    def codec(self) -> AudioCodec | None:
        """The codec of the codes; None for mel spectrograms."""
        return self.source if isinstance(self.source, AudioCodec) else None

    @property
    def source(self) -> AudioCodec | MelSpectrogram:
        """The codec, or the mel spectrogram, that turns a waveform into frames."""
        return self.features.source

    @property
    def frame_rate(self) -> float | Fraction:
        """Frames per second before grouping."""
        return self.source.frame_rate

    @property
    def desc(self) -> str:
        """The ``desc`` entity of the feature file's name."""
        return self.features.desc

    @property
    def looks_ahead(self) -> str:
        """Why features depend on sound after their TR; empty for codes of a codec that is causal."""
        return self.features.looks_ahead or gain_looks_ahead(self.settings.gain)

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
        return {"source_sha256": sha256_of(path), "settings": settings.provenance(), **self.features.fingerprint()}

    @fill_doc
    def audio_to_features(
        self, path: str | Path, n_trs: int | None = None, *, progress: Progress | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Extract features of a film's sound, by TR.

        Parameters
        ----------
        path : str or Path
            %(film)s
        n_trs : int, optional
            Volumes of the scan: a longer film is cut, a shorter one is padded with silence, and
            ``metadata["valid"]`` says which TRs the film covers. By default as many as the film fills.
        progress : callable, optional
            %(progress)s

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

    @fill_doc
    def extract(
        self,
        path: str | Path,
        n_trs: int | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        rows: Rows | None = None,
    ) -> xr.Dataset:
        """As :meth:`audio_to_features`, as the Dataset of a feature file (see :mod:`giblet.features`).

        Parameters
        ----------
        path : str or Path
            %(film)s
        n_trs : int, optional
            As for :meth:`audio_to_features`.
        provenance : mapping, optional
            %(provenance)s
        progress : callable, optional
            %(progress)s
        rows : Rows, optional
            %(rows)s

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
        from giblet.data.rows import Rows  # here, as xarray takes a second to import

        provenance = self.provenance(path, n_trs) if provenance is None else provenance
        sample_rate, hop_length = self.source.sample_rate, self.source.hop_length
        sound = SoundOnGrid(
            AudioReader(path, sample_rate=sample_rate, track=self.settings.track, gain=self.settings.gain),
            self.settings.tr, n_trs, self.frame_rate, hop_length, progress,
        )  # fmt: skip
        variables = self.features.of_sound(sound, rows or Rows())
        return new_features(
            variables,
            sound.grid,
            kind=self.features.kind,
            desc=self.desc,
            **self.features.about(),
            sample_rate=sample_rate,
            hop_length=hop_length,
            source=Path(path).name,
            **provenance,
            **sound.about(),
        )

    @fill_doc
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
            As :meth:`audio_to_features` returns them; predicted codes must have been rounded and clipped. A mel
            spectrogram that is no ndarray but has a shape, as a variable on disk, is read a few TRs at a time.
        path : str or Path
            ``.wav`` or ``.flac``, 16 bit, mono.
        metadata : mapping, optional
            As :meth:`audio_to_features` returns it: its spill makes the way back lossless, its ``duration`` (s) cuts
            the padding of the last TR, its fingerprint is checked against the codec. Without it, as for predicted
            codes, the sound lasts ``n_trs * tr`` and `fill` says what stands in the place of the odd frames.
        fill : {"repeat", "interpolate"}
            The frame before again, or the mean of its neighbours' latents, requantised.
        progress : callable, optional
            %(progress)s

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
        blocks, seconds = self.features_to_sound(features, metadata=metadata, fill=fill)
        return write_sound(path, blocks, self.source.sample_rate, seconds=seconds, progress=progress)

    def features_to_sound(
        self, features: np.ndarray, *, metadata: Mapping[str, Any] | None = None, fill: str = "repeat"
    ) -> tuple[Iterator[np.ndarray], Number]:
        """Sound of features, block by block, so that a film's need not fit in memory.

        Parameters
        ----------
        features, metadata, fill
            As for :meth:`features_to_audio`.

        Returns
        -------
        blocks : iterator of ndarray of float32, shape (n,)
            Mono, at the sample rate of the codec, or of the mel spectrogram. They are decoded as they are asked for,
            and may hold somewhat more or less than `seconds`: :func:`giblet.data.sound.of_length` fits them.
        seconds : float or Fraction
            Duration of the sound.

        Raises
        ------
        InputError
            If the features do not fit the clock, or are not whole numbers in range.
        CodecError
            If the features were made by another codec.

        See Also
        --------
        features_to_audio : the same as a sound file.
        """
        metadata = metadata or {}
        if not hasattr(features, "shape"):
            features = np.asarray(features)
        tr = self.settings.tr
        if "tr" in metadata and not same_tr(metadata["tr"], tr):
            raise InputError(
                f"the features have TR {shown(metadata['tr'])} s, this processor {shown(tr)} s: make one with "
                f"tr={shown(metadata['tr'])}"
            )
        grid = TRGrid(tr, features.shape[0] if features.shape else 0, self.frame_rate)
        blocks = self.features.to_sound(features, grid, metadata, fill)
        # Of features that were cut from a file of a whole film, `duration` is the film's.
        return blocks, min(metadata.get("duration", grid.duration), grid.duration)
