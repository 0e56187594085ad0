"""Speech models of the transformers library by name: hidden states of windows of sound, by layer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from giblet.data.pretrained import DECIDE_NOTHING, NO_CODE, blocks_up_to, fingerprint_of, from_cache_or_hub
from giblet.docs import fill_doc
from giblet.errors import InputError, reading

log = logging.getLogger(__name__)

WHISPER = "whisper"
FAMILIES = (WHISPER, "wav2vec2", "hubert", "wavlm")
"""``model_type`` of what can be read."""
UNUSED = ("masked_spec_embed", "decoder.")
"""How weights begin that decide nothing here: what training puts in place of masked frames, and Whisper's decoder."""


@fill_doc
class SpeechModel:
    """The encoder of a speech model, computed in float32 and in evaluation mode.

    Each window of sound is heard by itself: mean and variance, where the model's own extractor takes them out, are of
    the window, and nothing is padded but what Whisper pads to its 30 s.

    Parameters
    ----------
    name : str
        A folder or a hub name, such as ``"openai/whisper-small"``, ``"facebook/wav2vec2-base"`` or
        ``"facebook/hubert-large-ll60k"``.
    device : str
        %(device)s

    Attributes
    ----------
    n_blocks : int
        There are layers from 0 to `n_blocks`: 0 is what goes into the first transformer block, the last is the output
        of the encoder, after its final norm where it has one.
    dim : int
        Length of the vectors.
    sample_rate : int
        Of the sound that it hears, in Hz.
    longest : float or None
        Seconds of sound that it can hear at once; None without a limit.
    shortest : float
        Seconds of which it makes one position.
    step : float
        Seconds from one position to the next.
    fingerprint : str
        SHA-256 of weights and configuration.
    saved_as : str
        The type of the weights in their file.

    Raises
    ------
    InputError
        If the model cannot be loaded, lacks weights, or is of another family.
    """

    def __init__(self, name: str, *, device: str = "auto") -> None:
        import torch

        from giblet.device import pick_device

        self.name, self.torch, self.device = name, torch, pick_device(device)
        self._what = f"speech model {name}"
        remedy = (
            "name a folder with the model (config.json, preprocessor_config.json, model.safetensors), or connect to "
            "the hub once"
        )
        with reading(self._what, remedy):
            self.extractor, model, saved, told = from_cache_or_hub(name, "config.json", self._load)
        absent = sorted(key for key in told["missing_keys"] if not key.startswith(UNUSED))
        if absent:  # they are drawn at random, other ones each time
            raise InputError(f"{self._what} lacks {len(absent)} weights (first {absent[0]}): {remedy}")
        self.saved_as = str(saved or torch.float32).removeprefix("torch.")
        if saved in (torch.float16, torch.bfloat16):
            log.warning("%s was saved as %s: computed in float32", self._what, self.saved_as)
        config = model.config
        self._whisper = config.model_type == WHISPER
        self.model = (model.get_encoder() if self._whisper else model).to(self.device).eval()
        about = {key: value for key, value in config.to_dict().items() if key not in DECIDE_NOTHING}
        self.fingerprint = fingerprint_of(self.model, [about, self.extractor.to_dict()])
        self.n_blocks = int(config.encoder_layers if self._whisper else config.num_hidden_layers)
        self.dim = int(config.d_model if self._whisper else config.hidden_size)
        self.sample_rate = int(self.extractor.sampling_rate)
        self.longest: float | None = None
        if self._whisper:
            # Its second convolution takes every other mel frame, each centred where it begins.
            jump, width, self._centre = 2 * self.extractor.hop_length, 2 * self.extractor.hop_length, 0.0
            self.longest = self.extractor.n_samples / self.sample_rate
        else:
            jump, width = 1, 1
            for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
                width += (kernel - 1) * jump
                jump *= stride
            self._centre = width / 2 / self.sample_rate
        self.step, self.shortest = jump / self.sample_rate, width / self.sample_rate

    def _load(self, local: bool) -> tuple[Any, ...]:
        """Extractor, model, the type of its weights as saved, and which of them were missing."""
        import transformers

        config = transformers.AutoConfig.from_pretrained(self.name, local_files_only=local, **NO_CODE)
        if config.model_type not in FAMILIES:
            raise InputError(
                f"{self._what} is of the family {config.model_type}: those of {', '.join(FAMILIES)} can be used; name "
                "one of them"
            )
        saved = config.dtype
        model, told = transformers.AutoModel.from_pretrained(
            self.name,
            config=config,
            dtype=self.torch.float32,
            local_files_only=local,
            output_loading_info=True,
            **NO_CODE,
        )
        extractor = transformers.AutoFeatureExtractor.from_pretrained(self.name, local_files_only=local, **NO_CODE)
        return extractor, model, saved, told

    def centres(self, n_samples: int) -> np.ndarray:
        """The seconds of a window at which the positions of the model are centred.

        Parameters
        ----------
        n_samples : int
            Of the window.

        Returns
        -------
        ndarray of float64, shape (n_positions,)
            Of Whisper those that lie within the sound, not in what it pads.
        """
        if self._whisper:
            n = -(-n_samples // round(self.step * self.sample_rate))
        else:
            n = int((n_samples / self.sample_rate - self.shortest) / self.step + 1e-9) + 1
        return self._centre + self.step * np.arange(n)

    def states(self, windows: Sequence[np.ndarray], layers: Sequence[int]) -> np.ndarray:
        """Hidden states of windows of sound, each heard by itself.

        Parameters
        ----------
        windows : sequence of ndarray of float32, shape (n_samples,)
            Mono, all of one length.
        layers : sequence of int

        Returns
        -------
        ndarray of float32, shape (n_windows, n_layers, n_positions, dim)
            Positions as :meth:`centres` says.
        """
        from giblet.device import exact_float32

        given = self.extractor(list(windows), sampling_rate=self.sample_rate, return_tensors="pt")
        sound = given["input_features" if self._whisper else "input_values"].to(self.device, self.torch.float32)
        with exact_float32(self.device), blocks_up_to(self.model, self.n_blocks, max(layers)):
            made = self.model(sound, output_hidden_states=True)
        n = len(self.centres(len(windows[0])))
        # The last of `hidden_states` lacks the final norm in some versions of transformers and has it in others.
        states = [made.last_hidden_state if layer == self.n_blocks else made.hidden_states[layer] for layer in layers]
        return self.torch.stack([one[:, :n] for one in states], dim=1).cpu().numpy()
