"""Neural audio codecs: waveform to residual codes and back."""

from __future__ import annotations

import os

from giblet.codec.base import AudioCodec
from giblet.remembered import known_fingerprint, remember_fingerprint, stamps_of

__all__ = ["AudioCodec", "known_codes_fingerprint", "load_codec"]


def load_codec(
    name: str | os.PathLike[str] = "bundled",
    bandwidth: float = 6.0,
    device: str = "auto",
    *,
    revision: str | None = None,
    block_frames: int | None = None,
    runtime: str = "auto",
) -> AudioCodec:
    """Load a codec.

    Parameters
    ----------
    name : str or path
        ``"bundled"``: the small codec that comes with giblet. A folder with ``config.json`` and ``model.safetensors``
        of a transformers EnCodec model. A hub name, ``"facebook/encodec_24khz"``: from the local hub cache, or else
        from the hub. A codec that cannot be found is an error, never replaced by another.
    bandwidth : float
        In kbps: 1.5, 3, 6, 12, 24 for 2, 4, 8, 16, 32 codebooks of 1024 entries at 75 Hz, up to the number it has.
    device : str
        ``"auto"`` (CUDA, else Apple's MPS, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    revision : str, optional
        Branch, tag or commit of a hub model.
    block_frames : int, optional
        Frames that are encoded or decoded at a time, 4800 by default. Fewer take less memory and more time; the
        results are the same up to rounding.
    runtime : str
        What computes the encoder's convolutions: ``"auto"`` (on the CPU OpenVINO, if ``giblet[fast]`` is installed,
        else torch), ``"torch"``, ``"openvino"``. The codes are the same. With ``"auto"``, codecs narrower than the
        published one, such as the bundled one, use OpenVINO only for sounds of at least 40 s: its start takes 0.7 s.

    Returns
    -------
    AudioCodec

    Raises
    ------
    CodecError
        If there is no such codec, it cannot be reached, its files are damaged, or its layout is not supported.
    InputError
        If the codec does not have that bandwidth, the device or runtime is not available, or `block_frames` is fewer
        than the convolutions look back on.

    See Also
    --------
    giblet.codec.base.AudioCodec : what it can do.

    Examples
    --------
    >>> import numpy as np
    >>> codec = load_codec("bundled", bandwidth=6.0, device="cpu")
    >>> codec.encode(np.zeros(48_000, np.float32)).shape
    (8, 150)
    """
    from giblet.codec.loading import find_codec, read_model

    name = os.fspath(name)
    files = find_codec(name, revision)
    stamps = stamps_of(files)
    # Imported here: torch takes seconds to import, and a codec that is not there is told before.
    from giblet.codec.encodec import BLOCK_FRAMES, EncodecCodec
    from giblet.device import pick_device

    picked = pick_device(device)
    model = read_model(*files, name)
    frames = BLOCK_FRAMES if block_frames is None else block_frames
    codec = EncodecCodec(model, bandwidth, picked, name, frames, runtime)
    remember_fingerprint(files, codec.codes_fingerprint, stamps)
    return codec


def known_codes_fingerprint(name: str | os.PathLike[str] = "bundled") -> str | None:
    """The `codes_fingerprint` of a codec that was loaded before from the same files, without loading it.

    Parameters
    ----------
    name : str or path
        As for :func:`load_codec`.

    Returns
    -------
    str or None
        None where it is not known.

    Raises
    ------
    CodecError
        If there is no such codec, or it cannot be reached.
    """
    from giblet.codec.loading import find_codec

    return known_fingerprint(find_codec(os.fspath(name)))
