"""What reconstructed sound is scored on: codes, latents, mel spectrogram and samples; and predictions of nothing."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from giblet.codec.base import AudioCodec
from giblet.codec.mel import MelSpectrogram
from giblet.errors import InputError
from giblet.sound_metrics import level_error as level_error
from giblet.sound_metrics import si_sdr as si_sdr
from giblet.timing import TRGrid, ungroup_codes

MEL_BANDS, MEL_WINDOW = 64, 1024
"""Bands and samples of the mel spectrogram that sound is compared by, one frame to each frame of codes."""
DYNAMIC_RANGE = 1e-8
"""Power below the loudest (80 dB) that counts as silence."""
SILENCE = 1e-3
"""Root mean square of a TR (-60 dB of full scale) below which it counts as silent."""
TRS_AT_A_TIME = 64


def code_pairs(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How much of each TR's codes is that of each other TR, in one codebook.

    Parameters
    ----------
    truth, predicted : ndarray of int, shape (n_trs, frames_per_tr)

    Returns
    -------
    ndarray of float64, shape (n_trs, n_trs)
        ``[i, j]``: share of the codes predicted for TR *i* that are right for TR *j*.

    Examples
    --------
    >>> code_pairs(np.array([[1, 2], [3, 2]]), np.array([[1, 2], [0, 0]])).tolist()
    [[1.0, 0.5], [0.0, 0.0]]
    """
    n, frames = truth.shape
    size = int(max(truth.max(), predicted.max())) + 1
    one_hot = [
        csr_array((np.ones(n * frames), (codes + size * np.arange(frames)).ravel(), np.arange(n + 1) * frames),
                  shape=(n, size * frames))
        for codes in (np.asarray(predicted, np.int64), np.asarray(truth, np.int64))
    ]  # fmt: skip
    return (one_hot[0] @ one_hot[1].T).toarray() / frames


def code_matches(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Share of right codes in each TR and codebook.

    Parameters
    ----------
    truth, predicted : ndarray of int, shape (n_trs, n_codebooks, frames_per_tr)

    Returns
    -------
    ndarray of float64, shape (n_trs, n_codebooks)

    Raises
    ------
    InputError
        If these are not codes, or not of one shape.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.ndim != 3 or truth.shape != predicted.shape or {truth.dtype.kind, predicted.dtype.kind} - set("iu"):
        raise InputError(
            f"codes are {truth.dtype} {truth.shape}, predicted {predicted.dtype} {predicted.shape}; expected whole "
            "numbers of one shape (n_trs, n_codebooks, frames_per_tr)"
        )
    return (truth == predicted).mean(axis=2)


def most_frequent_codes(train: np.ndarray, codebook_size: int) -> np.ndarray:
    """The code that is most frequent in each codebook over training TRs.

    Parameters
    ----------
    train : ndarray of int, shape (n_trs, n_codebooks, frames_per_tr)
        Of training TRs alone.
    codebook_size : int
        Entries per codebook.

    Returns
    -------
    ndarray of int32, shape (n_codebooks,)

    See Also
    --------
    mean_latent_codes : the other prediction that knows nothing of the brain.
    """
    books = train.transpose(1, 0, 2).reshape(train.shape[1], -1)
    return np.array([np.bincount(book, minlength=codebook_size).argmax() for book in books], np.int32)


def mean_latent_codes(train: np.ndarray, codec: AudioCodec) -> np.ndarray:
    """The codes nearest to the mean latent of training TRs.

    Parameters
    ----------
    train : ndarray of int, shape (n_trs, n_codebooks, frames_per_tr)
        Of training TRs alone.
    codec : AudioCodec
        The one that made the codes.

    Returns
    -------
    ndarray of int32, shape (n_codebooks,)

    Raises
    ------
    InputError
        If they are not codes of this codec.

    See Also
    --------
    most_frequent_codes : the other prediction that knows nothing of the brain.
    """
    total = np.zeros(codec.latent_dim)
    for start in range(0, len(train), TRS_AT_A_TIME):
        total += codec.latents(_flat(train[start : start + TRS_AT_A_TIME])).sum(axis=1, dtype=np.float64)
    mean = total / (train.shape[0] * train.shape[2])
    return codec.requantize(mean[:, None].astype(np.float32))[:, 0]


def latents_by_tr(codes: np.ndarray, codec: AudioCodec) -> np.ndarray:
    """The latent vectors that codes stand for.

    Parameters
    ----------
    codes : ndarray of int, shape (n_trs, n_codebooks, frames_per_tr)
    codec : AudioCodec
        The one that made the codes.

    Returns
    -------
    ndarray of float32, shape (n_trs, latent_dim, frames_per_tr)

    Raises
    ------
    InputError
        If they are not codes of this codec.
    """
    n_trs, _, width = codes.shape
    return codec.latents(_flat(codes)).reshape(-1, n_trs, width).transpose(1, 0, 2)


def _flat(codes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(codes.transpose(1, 0, 2)).reshape(codes.shape[1], -1)


def sound_of(codes: np.ndarray, codec: AudioCodec, tr: float) -> np.ndarray:
    """Sound of codes by TR, on the clock: odd frames repeat the one before them.

    Parameters
    ----------
    codes : ndarray of int, shape (n_trs, n_codebooks, frames_per_tr)
        Successive TRs.
    codec : AudioCodec
        The one that made the codes.
    tr : float
        Repetition time in seconds.

    Returns
    -------
    ndarray of float32, shape (n_frames * hop_length,)
        At the codec's sample rate; ``n_frames`` as :class:`giblet.timing.TRGrid` has them.

    Raises
    ------
    InputError
        If they are not codes of this codec, or do not fit the clock.
    """
    return codec.decode(ungroup_codes(np.asarray(codes, np.int32), tr, codec.frame_rate))


def mel_by_tr(sound: np.ndarray, codec: AudioCodec, n_trs: int, tr: float) -> np.ndarray:
    """Power mel spectrogram, one frame to each frame of codes.

    Parameters
    ----------
    sound : ndarray of float, shape (n_samples,)
        At the codec's sample rate, from the onset of the first TR; what is missing at the end is silence.
    codec : AudioCodec
        Its sample rate, hop length and frame rate are used.
    n_trs : int
    tr : float
        Repetition time in seconds.

    Returns
    -------
    ndarray of float32, shape (n_trs, 64, frames_per_tr)

    Raises
    ------
    InputError
        If the sound is not finite, or the TR cannot be used.
    """
    grid = TRGrid(tr, n_trs, codec.frame_rate)
    mel = MelSpectrogram(codec.sample_rate, MEL_WINDOW, codec.hop_length, MEL_BANDS)
    needed = grid.n_frames * codec.hop_length
    sound = np.pad(np.asarray(sound, np.float32)[:needed], (0, max(0, needed - len(sound))))
    frames = np.concatenate(list(mel.stream([sound])), axis=1)
    columns, _ = grid.columns(grid.frames_per_tr)
    return np.ascontiguousarray(frames[:, columns].transpose(1, 0, 2))


def log_mel(mel: np.ndarray, loudest: float) -> np.ndarray:
    """log10 of power, cut off 80 dB below the loudest, so that digital silence does not outweigh all sound.

    Parameters
    ----------
    mel : ndarray of float, of any shape
        Power.
    loudest : float
        Greatest power of what is compared, the same for both sides.

    Returns
    -------
    ndarray of float, the shape of `mel`
    """
    return np.log10(np.maximum(mel, max(loudest, 1e-30) * DYNAMIC_RANGE))


def silent_trs(sound: np.ndarray, sample_rate: int, n_trs: int, tr: float) -> np.ndarray:
    """Which TRs are silent, below -60 dB of full scale.

    Parameters
    ----------
    sound : ndarray of float, shape (n_samples,)
        From the onset of the first TR.
    sample_rate : int
        In Hz.
    n_trs : int
    tr : float
        Repetition time in seconds.

    Returns
    -------
    ndarray of bool, shape (n_trs,)
        True too where the sound is over.

    Raises
    ------
    InputError
        If the TR cannot be used.
    """
    sound, edges = np.asarray(sound, np.float64), TRGrid(tr, n_trs, sample_rate).edges
    pieces = np.split(sound, np.minimum(edges[1:-1], len(sound)))
    return np.array([np.sqrt(np.mean(piece**2)) < SILENCE if len(piece) else True for piece in pieces])
