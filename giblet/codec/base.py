"""What a codec is: sound to codes, codes to sound and codes to latents, whole or chunk by chunk.

Arrays in the codec have four layouts. K codebooks, T frames, D dimensions of a latent, N samples, B sounds of a batch:

==============================================  =============  ===========  ===========
where                                           sound          latents      codes
==============================================  =============  ===========  ===========
`AudioCodec`: NumPy, for users                  (N,)           (D, T)       (K, T)
`streaming.Layer`, `ResidualQuantizer`: rows    (N, 1)         (T, D)       (K, T)
`rvq_quantize`, `reference`: batches            (B, 1, N)      (B, T, D)    (B, K, T)
transformers' modules, `codec.training`          (B, 1, N)      (B, D, T)    (K, B, T)
==============================================  =============  ===========  ===========

The first two meet in `EncodecCodec`, the last two in `reference`, in `codec.training` and in `giblet.models`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from giblet.errors import InputError

# Samples or frames that are checked at a time.
PIECE = 1 << 16
# Sounds that are encoded side by side: an LSTM's step takes about as long for this many as for one.
TOGETHER = 16


class AudioCodec(ABC):
    """A causal neural codec with residual codebooks.

    Sound and codes may be streamed in chunks of any sizes. Chunks are cut anew into blocks of one size, so how a signal
    is cut never changes its codes or its sound, not even in the last bit, and memory does not grow with the signal.

    Attributes
    ----------
    name : str
        What the user asked for: ``"bundled"``, a hub name or a folder.
    sample_rate : int
        In Hz.
    hop_length : int
        Samples per frame of codes.
    n_codebooks : int
        Codebooks in use at this bandwidth, K.
    codebook_size : int
        Entries in each; codes lie in [0, codebook_size).
    latent_dim : int
        Dimensions of a latent frame, D.
    bandwidth : float
        In kbps.
    fingerprint : str
        SHA-256, hexadecimal, of everything that changes the codes or the sound, configuration and weights, except the
        bandwidth.
    codes_fingerprint : str
        By which codes name the codec that made them. It is the `fingerprint` unless the decoder alone was trained on
        from another codec; then it is that one's, as its codes and this one's are the same.
    device : str
        Where it computes, e.g. ``"cpu"`` or ``"cuda:0"``.
    runtime : str
        What computes the encoder's convolutions, of long sounds at least: ``"torch"`` or ``"openvino"``.
    block_frames : int
        Frames that are encoded or decoded at a time.

    Examples
    --------
    >>> from giblet.codec import load_codec
    >>> codec = load_codec("bundled", bandwidth=6.0, device="cpu")
    >>> chunks = (np.zeros(10_000, np.float32) for _ in range(5))  # a film's sound, as a reader gives it
    >>> codes = np.concatenate(list(codec.encode_stream(chunks)), axis=1)
    >>> codes.shape
    (8, 157)
    >>> sum(len(sound) for sound in codec.decode_stream([codes[:, :100], codes[:, 100:]]))
    50240
    """

    name: str
    sample_rate: int
    hop_length: int
    n_codebooks: int
    codebook_size: int
    latent_dim: int
    bandwidth: float
    fingerprint: str
    codes_fingerprint: str
    device: str
    runtime: str
    block_frames: int

    @property
    def frame_rate(self) -> float:
        """Frames of codes per second, in Hz."""
        return self.sample_rate / self.hop_length

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name!r}, bandwidth={self.bandwidth:g}, device={self.device!r}): "
            f"{self.n_codebooks} x {self.codebook_size} codes at {self.frame_rate:g} Hz, sound at {self.sample_rate} Hz"
        )

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Sound to codes.

        Parameters
        ----------
        waveform : ndarray of float, shape (N,)
            Mono, at `sample_rate`, full scale at 1.

        Returns
        -------
        codes : ndarray of int32, shape (K, T)
            T = ceil(N / hop_length).

        Raises
        ------
        InputError
            If the waveform is empty, not one-dimensional, not of floats, or not finite.

        See Also
        --------
        decode : codes to sound.
        encode_stream : the same, chunk by chunk.
        encode_many : the same for several sounds.
        requantize : latents to codes.
        """
        return np.concatenate(list(self.encode_stream([waveform])), axis=1)

    def encode_many(self, waveforms: Iterable[np.ndarray]) -> list[np.ndarray]:
        """Several sounds to codes, faster than one after another if they are short.

        Parameters
        ----------
        waveforms : iterable of ndarray of float, shape (N,)
            As for `encode`, of any lengths. All of them are held in memory.

        Returns
        -------
        list of ndarray of int32, shape (K, T)
            For each waveform what `encode` gives, up to rounding: computed side by side, products are summed in another
            order, so about one code in a hundred thousand may be the second nearest. If codes must not depend on what
            was encoded beside them, call `encode`.

        Raises
        ------
        InputError
            As `encode`, naming which waveform.

        See Also
        --------
        encode : the same for one sound.
        """
        checked = []
        for number, waveform in enumerate(waveforms):
            try:
                checked.append(_joined(list(_checked_samples([waveform]))))
            except InputError as exc:
                raise InputError(f"waveform {number}: {exc}") from exc
        codes: list[np.ndarray] = [np.empty(0)] * len(checked)
        by_length = sorted(range(len(checked)), key=lambda i: len(checked[i]))
        for start in range(0, len(by_length), TOGETHER):
            group = by_length[start : start + TOGETHER]
            encoded = self._encode_together([checked[i] for i in group])
            for i, codes_of_one in zip(group, encoded, strict=True):
                codes[i] = codes_of_one
        return codes

    def encode_stream(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Sound to codes, chunk by chunk.

        Parameters
        ----------
        chunks : iterable of ndarray of float, shape (n,)
            Consecutive stretches of one waveform, of any lengths.

        Yields
        ------
        codes : ndarray of int32, shape (K, t)
            Consecutive stretches of what `encode` gives for the whole.

        Raises
        ------
        InputError
            As `encode`, when the chunk at fault is reached.

        See Also
        --------
        encode : the same for a whole sound.
        decode_stream : codes to sound.
        """
        encode = self._new_encoder()
        for block, last in reblock(_checked_samples(chunks), self.block_frames * self.hop_length):
            yield encode(block, last)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes to sound.

        Parameters
        ----------
        codes : ndarray of int, shape (K, T)

        Returns
        -------
        waveform : ndarray of float32, shape (T * hop_length,)

        Raises
        ------
        InputError
            If the codes are empty, not of integers, not of K codebooks, or not in [0, codebook_size).

        See Also
        --------
        encode : sound to codes.
        decode_stream : the same, chunk by chunk.
        latents : codes to latents.
        encode : sound to codes.
        """
        codes = np.asarray(codes)
        self._check_shape(codes)
        waveform = np.empty(codes.shape[1] * self.hop_length, np.float32)
        done = 0
        for piece in self.decode_stream([codes]):
            waveform[done : done + len(piece)] = piece
            done += len(piece)
        return waveform

    def decode_stream(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Codes to sound, chunk by chunk.

        Parameters
        ----------
        chunks : iterable of ndarray of int, shape (K, t)
            Consecutive stretches of codes, of any lengths.

        Yields
        ------
        waveform : ndarray of float32, shape (n,)
            Consecutive stretches of what `decode` gives for the whole.

        Raises
        ------
        InputError
            As `decode`, when the chunk at fault is reached.

        See Also
        --------
        decode : the same for all codes at once.
        encode_stream : sound to codes.
        """
        decode = self._new_decoder()
        for block, last in reblock(self._checked_codes(chunks), self.block_frames):
            if len(piece := decode(block, last)):
                yield piece

    def latents(self, codes: np.ndarray) -> np.ndarray:
        """The latent vectors that codes stand for: the sum of their codebook entries.

        Parameters
        ----------
        codes : ndarray of int, shape (K, T)

        Returns
        -------
        latents : ndarray of float32, shape (D, T)

        Raises
        ------
        InputError
            As `decode`.

        See Also
        --------
        requantize : latents to codes.
        decode : codes to sound.
        """
        return np.concatenate([self._dequantize(piece) for piece in self._checked_codes([codes])], axis=1)

    def requantize(self, latents: np.ndarray) -> np.ndarray:
        """The codes of latent vectors: of each codebook the entry nearest to what the ones before left over.

        Parameters
        ----------
        latents : ndarray of float, shape (D, T)

        Returns
        -------
        codes : ndarray of int32, shape (K, T)

        Raises
        ------
        InputError
            If the latents are empty, not of floats, not D x T, or not finite.

        See Also
        --------
        latents : codes to latents.
        encode : sound to codes.
        """
        latents = np.asarray(latents)
        if latents.ndim != 2 or latents.shape[0] != self.latent_dim or not latents.shape[1]:
            raise InputError(
                f"latents are of shape {latents.shape}; pass (D, T) = ({self.latent_dim}, number of frames, at least 1)"
            )
        _check_kind(latents, "f", "latents")
        starts = range(0, latents.shape[1], self.block_frames)
        pieces = (_finite(latents[:, start : start + self.block_frames], start, "latents") for start in starts)
        return np.concatenate([self._quantize(piece) for piece in pieces], axis=1)

    @abstractmethod
    def _new_encoder(self) -> Callable[[np.ndarray, bool], np.ndarray]:
        """A new stream: a function of a block of samples (n,) and whether it is the last, to codes (K, t) int32."""

    @abstractmethod
    def _encode_together(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        """Codes (K, t) int32 of each of several waveforms (n,) float32, at most `TOGETHER`."""

    @abstractmethod
    def _new_decoder(self) -> Callable[[np.ndarray, bool], np.ndarray]:
        """A new stream: a function of codes (K, t) and whether they are the last, to (n,) float32.

        Samples may come with later codes than their own.
        """

    @abstractmethod
    def _dequantize(self, codes: np.ndarray) -> np.ndarray:
        """(K, t) int64 to (D, t) float32."""

    @abstractmethod
    def _quantize(self, latents: np.ndarray) -> np.ndarray:
        """(D, t) float32 to (K, t) int32."""

    def _check_shape(self, codes: np.ndarray) -> None:
        if codes.ndim != 2 or codes.shape[0] != self.n_codebooks:
            raise InputError(
                f"codes are of shape {codes.shape}; pass (K, T) = ({self.n_codebooks}, number of frames), "
                f"or load the codec at the bandwidth that made them (now {self.bandwidth:g} kbps)"
            )

    def _checked_codes(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Codes as int64, in pieces that have been checked to be in range."""
        seen = 0
        for chunk in chunks:
            chunk = np.asarray(chunk)
            self._check_shape(chunk)
            _check_kind(chunk, "iu", "codes")
            for start in range(0, chunk.shape[1], PIECE):
                piece = chunk[:, start : start + PIECE]
                wrong = (piece < 0) | (piece >= self.codebook_size)
                if wrong.any():
                    book, frame = np.argwhere(wrong)[0]
                    raise InputError(
                        f"code {piece[book, frame]} in codebook {book}, frame {seen + start + frame} is outside "
                        f"[0, {self.codebook_size}): clip predicted codes first, or check which codec made these"
                    )
                yield piece.astype(np.int64)
            seen += chunk.shape[1]
        if not seen:
            raise InputError(f"there are no codes; pass at least one frame, (K, T) = ({self.n_codebooks}, 1 or more)")


def reblock(chunks: Iterable[np.ndarray], size: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Cut chunks of any lengths anew, along the last axis, into blocks of `size`; the last one is flagged.

    Parameters
    ----------
    chunks : iterable of ndarray, shape (..., any)
    size : int
        Samples or frames per block; only the last block may be shorter.

    Yields
    ------
    block : ndarray, shape (..., size)
        May share its memory with a chunk. Chunks that hold nothing give no block.
    last : bool
    """
    held: list[np.ndarray] = []
    n_held = 0
    for chunk in chunks:
        # A block that is exactly full is held back until more comes: it may be the last.
        while n_held + chunk.shape[-1] > size:
            cut = size - n_held
            yield _joined([*held, chunk[..., :cut]]), False
            chunk, held, n_held = chunk[..., cut:], [], 0
        if chunk.shape[-1]:
            held.append(chunk)
            n_held += chunk.shape[-1]
    if n_held:
        yield _joined(held), True


def _joined(pieces: list[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=-1)


def _checked_samples(chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Samples as float32, in checked pieces with memory of their own: a reader may reuse its buffer."""
    seen = 0
    for chunk in chunks:
        chunk = np.asarray(chunk)
        if chunk.ndim != 1:
            raise InputError(f"samples are of shape {chunk.shape}; pass mono sound, (N,); average channels first")
        _check_kind(chunk, "f", "samples")
        for start in range(0, len(chunk), PIECE):
            yield _finite(chunk[start : start + PIECE], seen + start, "samples")
        seen += len(chunk)
    if not seen:
        raise InputError("there are no samples; pass at least one")


def _finite(values: np.ndarray, offset: int, name: str) -> np.ndarray:
    """A float32 copy, refused if it holds NaN or infinities."""
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    good = np.isfinite(values)
    if not good.all():
        place = int(np.argwhere(~good)[0, -1])
        bad = values[~good].flat[0]
        raise InputError(f"{name} hold {bad} at position {offset + place}; pass finite numbers, fill the gap first")
    return values


def _check_kind(values: np.ndarray, kinds: str, name: str) -> None:
    if values.dtype.kind not in kinds:
        allowed = {"f": "floats (16-bit samples divided by 32768)", "iu": "integers (predictions rounded)"}[kinds]
        raise InputError(f"{name} are of dtype {values.dtype}; pass {allowed}")
