"""EnCodec run as a codec, and told apart from other codecs.

References
----------
Défossez, Copet, Synnaeve, Adi (2022). High Fidelity Neural Audio Compression. https://arxiv.org/abs/2210.13438
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from giblet.codec.architecture import TRAINING_ONLY, Network, StoredCodec, codebooks_of, cores
from giblet.codec.base import AudioCodec, reblock
from giblet.codec.layers import Decoder, Encoder, build_decoder, build_encoder
from giblet.codec.openvino import decoder_with_openvino, encoder_with_openvino, pick_runtime
from giblet.codec.quantizer import ResidualQuantizer
from giblet.device import exact_float32
from giblet.errors import CodecError, InputError

# Frames per block, by measurement (benchmarks/codec_speed.py): the LSTM's stretches side by side should be long.
BLOCK_FRAMES = 4800
# Channels of the first convolution from which more than one thread pays; the published model has 32. And frames from
# which a narrower codec gains more from OpenVINO than its start takes: the encoder's 0.7 s are saved in 45 s of sound,
# the decoder's 0.2 s in 8.
WIDE, LONG_FRAMES, LONG_DECODED = 32, 3000, 750
# The layout that can be streamed exactly; the 48 kHz model differs in most of it.
SUPPORTED = {
    "audio_channels": 1,
    "normalize": False,
    "chunk_length_s": None,
    "use_causal_conv": True,
    "norm_type": "weight_norm",
    "pad_mode": "reflect",
    "trim_right_ratio": 1.0,
}
# What else determines the codes and the sound. target_bandwidths does not: it only tells how many codebooks there are.
ARCHITECTURE = (
    "sampling_rate", "hidden_size", "codebook_dim", "codebook_size", "num_filters", "num_residual_layers",
    "upsampling_ratios", "kernel_size", "last_kernel_size", "residual_kernel_size", "dilation_growth_rate", "compress",
    "num_lstm_layers", "use_conv_shortcut",
)  # fmt: skip
# Entry of config.json: the fingerprint of the codec whose codes these are, and the digest of encoder and codebooks.
CODES_OF = "codes_of"


def fingerprint(model: Network) -> str:
    """SHA-256, hexadecimal, of everything that changes the codes or the sound: architecture and weights as float32.

    The weights are taken as stored, weight norm not yet folded, so that every machine computes the same digest.

    Parameters
    ----------
    model : Network

    Returns
    -------
    str
        64 lower-case hexadecimal digits.
    """
    fields = SUPPORTED | {key: getattr(model.config, key) for key in ARCHITECTURE}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    _add_weights(digest, model.state_dict())
    return digest.hexdigest()


def codes_digest(model: Network) -> str:
    """SHA-256, hexadecimal, of what decides the codes: encoder and codebooks as float32.

    Parameters
    ----------
    model : Network

    Returns
    -------
    str
        64 lower-case hexadecimal digits.

    See Also
    --------
    fingerprint : of the decoder too.
    """
    digest = hashlib.sha256()
    _add_weights(digest, {k: v for k, v in model.state_dict().items() if not k.startswith("decoder.")})
    return digest.hexdigest()


def codes_fingerprint(model: Network) -> str:
    """Fingerprint by which codes name the codec that made them: that of the first codec with these codes.

    A codec of which the decoder alone was trained on (`keep_codes`) has the codes of the one it came from, and says so
    in its configuration, as ``codes_of``.

    Parameters
    ----------
    model : Network

    Returns
    -------
    str
        64 lower-case hexadecimal digits.

    Raises
    ------
    CodecError
        If the configuration names a codec and encoder or codebooks are no longer that one's.

    See Also
    --------
    fingerprint : of this codec itself.
    """
    told = getattr(model.config, CODES_OF, None)
    if told is None:
        return fingerprint(model)
    if not isinstance(told, dict) or told.get("digest") != codes_digest(model) or not told.get("fingerprint"):
        raise CodecError(
            f"config.json says that the codes are those of another codec ({CODES_OF}), and encoder or codebooks are not"
            f" those it means: take {CODES_OF} out of config.json, or copy the folder again"
        )
    return str(told["fingerprint"])


def _add_weights(digest: Any, weights: Mapping[str, Tensor]) -> None:
    """Names, shapes and values as little-endian float32, in the order of their names."""
    for key, value in sorted(weights.items()):
        if key.rpartition(".")[2] not in TRAINING_ONLY:
            array = np.ascontiguousarray(value.detach().cpu().float().numpy(), dtype="<f4")
            digest.update(f"{key}{array.shape}".encode() + array.tobytes())


def check_layout(config: Any, name: str) -> None:
    """Refuse layouts that cannot be streamed exactly, such as that of the stereo 48 kHz model.

    Parameters
    ----------
    config : CodecConfig or transformers.EncodecConfig
    name : str
        What the user asked for.

    Raises
    ------
    CodecError
        If the layout is not supported.
    """
    wrong = {key: getattr(config, key) for key, value in SUPPORTED.items() if getattr(config, key) != value}
    if config.codebook_dim != config.hidden_size:
        wrong["codebook_dim"] = config.codebook_dim
    if wrong:
        differences = ", ".join(f"{key}={value!r}" for key, value in wrong.items())
        raise CodecError(
            f"codec {name!r} has a layout that cannot be streamed exactly ({differences}): "
            "use a causal mono EnCodec such as facebook/encodec_24khz, or use 'bundled'"
        )


class EncodecCodec(AudioCodec):
    """A causal, mono EnCodec that streams exactly.

    This is where the layout of users, codes (K, T) and latents (D, T), meets that of the layers, rows (time, channels).

    Parameters
    ----------
    model : Network
        Copied, so that it can go on training.
    bandwidth : float
        In kbps.
    device : torch.device or str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    name : str
        What the user asked for.
    block_frames : int
        Frames that are encoded or decoded at a time.
    runtime : str
        What computes the convolutions, ``"torch"``, ``"openvino"`` or ``"auto"``, see `load_codec`.

    Raises
    ------
    CodecError
        If the model is of a layout that cannot be streamed exactly.
    InputError
        If the codec does not have that bandwidth, the block is shorter than the convolutions' context, or the runtime
        is not available.
    """

    def __init__(
        self,
        model: Network,
        bandwidth: float,
        device: torch.device | str = "cpu",
        name: str = "unnamed",
        block_frames: int = BLOCK_FRAMES,
        runtime: str = "auto",
    ) -> None:
        config = model.config
        check_layout(config, name)
        self.name = name
        self.bandwidth, self.n_codebooks = _checked_bandwidth(config, bandwidth, name)
        self.sample_rate, self.hop_length = config.sampling_rate, config.hop_length
        self.codebook_size, self.latent_dim = config.codebook_size, config.hidden_size
        self.fingerprint, self.codes_fingerprint = fingerprint(model), codes_fingerprint(model)
        self._device = torch.device(device)
        self.device = str(self._device)
        self.runtime = pick_runtime(runtime, self._device)
        # Products of narrow layers are over before a second thread has started; waiting for it costs many times more
        # where the processor is shared (measured: 18 s instead of 1 s for a minute of sound).
        is_wide = config.num_filters >= WIDE
        self._threads = None if is_wide else 1

        # 1. Weights of its own, apart from the model's.
        own = {
            key: value.detach().to(self._device, torch.float32, copy=True) for key, value in model.state_dict().items()
        }
        network = StoredCodec(config, own)
        # 2. Between latents and codes: the codebooks of this bandwidth.
        self._quantizer = ResidualQuantizer(list(codebooks_of(network)[: self.n_codebooks]))
        # 3. Samples to latents and back: chains of streaming layers.
        shape = (config.upsampling_ratios, config.num_residual_layers, block_frames)
        encoder_cores = cores(network, "encoder")
        self._encoder = self._encoder_of_short = build_encoder(encoder_cores, *shape)
        decoder_cores = cores(network, "decoder")
        self._decoder = self._decoder_of_short = build_decoder(decoder_cores, *shape)
        # 4. Blocks that are long enough for the layers.
        lead = max(self._encoder.lead, self._decoder.lead)
        if block_frames < lead:
            raise InputError(
                f"block_frames is {block_frames}; pass at least {lead}, what the convolutions look back on"
            )
        self.block_frames = block_frames
        # 5. OpenVINO for the encoder's front and the decoder's back, of all sounds or of long ones only.
        if self.runtime == "openvino":
            self._encoder = encoder_with_openvino(self._encoder, encoder_cores)
            self._decoder = decoder_with_openvino(self._decoder, decoder_cores)
            if is_wide or runtime != "auto":
                self._encoder_of_short, self._decoder_of_short = self._encoder, self._decoder

    def _encoder_for(self, n_samples: int) -> Encoder:
        """The encoder for a stream whose first block has so many samples, to be kept until the stream ends."""
        return self._encoder if n_samples >= LONG_FRAMES * self.hop_length else self._encoder_of_short

    def _decoder_for(self, n_frames: int) -> Decoder:
        """The decoder for a stream whose first block has so many frames, to be kept until the stream ends."""
        return self._decoder if n_frames >= LONG_DECODED else self._decoder_of_short

    def _new_encoder(self) -> Callable[[np.ndarray, bool], np.ndarray]:
        encoder, state = self._encoder, None

        def encode(samples: np.ndarray, last: bool) -> np.ndarray:
            nonlocal encoder, state
            if state is None:
                encoder = self._encoder_for(len(samples))
                state = encoder.new_state()
            with exact_float32(self._device, self._threads):
                rows = self._tensor(samples)[:, None]  # (n,) -> (n, 1)
                latents = encoder(rows, state, last)  # (n, 1) -> (t, D)
                codes = self._quantizer.quantize(latents)  # (t, D) -> (K, t)
                return codes.to("cpu", torch.int32).numpy()

        return encode

    def _encode_together(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        streams = [reblock([waveform], self.block_frames * self.hop_length) for waveform in waveforms]
        encoder = self._encoder_for(min(map(len, waveforms)))
        states = [encoder.new_state() for _ in waveforms]
        codes_of: list[list[np.ndarray]] = [[] for _ in waveforms]
        unfinished = list(range(len(waveforms)))
        while unfinished:
            blocks = [next(streams[i]) for i in unfinished]
            lasts = [last for _, last in blocks]
            with exact_float32(self._device, self._threads):
                rows = [self._tensor(samples)[:, None] for samples, _ in blocks]  # (n,) -> (n, 1), of each sound
                latents = encoder.together(rows, [states[i] for i in unfinished], lasts)  # (n, 1) -> (t, D)
                codes = self._quantizer.quantize(torch.cat(latents)).to("cpu", torch.int32)  # (K, sum of t)
            pieces = codes.split([len(piece) for piece in latents], dim=1)
            for i, piece in zip(unfinished, pieces, strict=True):
                codes_of[i].append(piece.numpy())
            unfinished = [i for i, last in zip(unfinished, lasts, strict=True) if not last]
        return [np.concatenate(pieces, axis=1) for pieces in codes_of]

    def _new_decoder(self) -> Callable[[np.ndarray, bool], np.ndarray]:
        decoder, state = self._decoder, None

        def decode(codes: np.ndarray, last: bool) -> np.ndarray:
            nonlocal decoder, state
            if state is None:
                decoder = self._decoder_for(codes.shape[1])
                state = decoder.new_state()
            with exact_float32(self._device, self._threads):
                latents = self._quantizer.dequantize(self._tensor(codes))  # (K, t) -> (t, D)
                rows = decoder(latents, state, last)  # (t, D) -> (n, 1), in all t * hop_length
                return rows[:, 0].cpu().numpy()

        return decode

    def _dequantize(self, codes: np.ndarray) -> np.ndarray:
        with exact_float32(self._device, self._threads):
            return self._quantizer.dequantize(self._tensor(codes)).t().cpu().numpy()  # (K, t) -> (t, D) -> (D, t)

    def _quantize(self, latents: np.ndarray) -> np.ndarray:
        with exact_float32(self._device, self._threads):
            codes = self._quantizer.quantize(self._tensor(latents).t())  # (D, t) -> (t, D) -> (K, t)
            return codes.to("cpu", torch.int32).numpy()

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device)


def bandwidths(config: Any) -> dict[float, int]:
    """The bandwidths that a codec can work at, and how many codebooks each uses.

    Parameters
    ----------
    config : CodecConfig or transformers.EncodecConfig

    Returns
    -------
    dict of float to int
        From kbps to codebooks, ascending.
    """
    counts = [n for n in (2, 4, 8, 16, 32) if n <= config.num_quantizers]
    counts_by_kbps = {kbps_of(n, config.codebook_size, config.frame_rate): n for n in counts}
    kbps_each = kbps_of(1, config.codebook_size, config.frame_rate)
    for kbps in config.target_bandwidths:
        count = min(config.num_quantizers, max(1, math.floor(kbps / kbps_each + 1e-9)))
        counts_by_kbps.setdefault(float(kbps), count)
    return dict(sorted(counts_by_kbps.items()))


def _checked_bandwidth(config: Any, bandwidth: float, name: str) -> tuple[float, int]:
    """The bandwidth in kbps and its number of codebooks. InputError if the codec does not have it."""
    allowed = bandwidths(config)
    if not isinstance(bandwidth, int | float) or bandwidth not in allowed:
        choices = ", ".join(f"{kbps:g}" for kbps in allowed)
        raise InputError(f"bandwidth {bandwidth!r} kbps is not one of codec {name!r}; pass one of {choices}")
    return float(bandwidth), allowed[bandwidth]


def kbps_of(n_codebooks: int, codebook_size: int, frame_rate: int) -> float:
    """Bandwidth of so many codebooks.

    Parameters
    ----------
    n_codebooks, codebook_size : int
    frame_rate : int
        Frames per second.

    Returns
    -------
    float
        In kbps; from it transformers computes the same number of codebooks.
    """
    bits_per_second = n_codebooks * int(math.log2(codebook_size)) * frame_rate
    kbps = bits_per_second / 1000
    # transformers multiplies by 1000 again and rounds down, to one codebook less if this was rounded down too.
    return kbps if 1000 * kbps >= bits_per_second else math.nextafter(kbps, math.inf)
