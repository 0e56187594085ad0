"""What is said in a sound, by a Whisper model of the transformers library: a transcript where there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from giblet.data.pretrained import NO_CODE, from_cache_or_hub
from giblet.data.words.alignment.stretch import SAMPLE_RATE, Stretch
from giblet.docs import fill_doc
from giblet.errors import InputError, reading
from giblet.progress import Progress

log = logging.getLogger(__name__)

WINDOW = 30
"""Seconds that Whisper hears at once."""


@fill_doc
class Dictation:
    """A Whisper model that writes down English speech, computed in float32.

    Parameters
    ----------
    name : str
        A folder or a hub name, such as ``"openai/whisper-small"``.
    device : str
        %(device)s

    Raises
    ------
    InputError
        If the model cannot be loaded, lacks weights, or is none of Whisper's family.
    """

    def __init__(self, name: str, *, device: str = "auto") -> None:
        import torch

        from giblet.device import pick_device

        self.name, self.device, self._torch = name, str(pick_device(device)), torch
        what = f"speech model {name}"
        remedy = (
            "name a folder with a Whisper model (config.json, preprocessor_config.json, tokenizer.json, "
            "model.safetensors), or connect to the hub once"
        )
        with reading(what, remedy):
            self._processor, model, saved, told = from_cache_or_hub(name, "config.json", self._load)
        absent = sorted(told["missing_keys"])
        if absent:
            raise InputError(f"{what} lacks {len(absent)} weights (first {absent[0]}): {remedy}")
        if saved in (torch.float16, torch.bfloat16):
            log.warning("%s was saved as %s: computed in float32", what, str(saved).removeprefix("torch."))
        self._model = model.to(self.device).eval()

    def _load(self, local: bool) -> tuple[Any, ...]:
        """Processor, model, the type of its weights as saved, and which of them were missing."""
        import transformers

        config = transformers.AutoConfig.from_pretrained(self.name, local_files_only=local, **NO_CODE)
        if config.model_type != "whisper":
            raise InputError(
                f"speech model {self.name} is of the family {config.model_type!r}; words are written down by Whisper "
                "alone: name one of its models, such as openai/whisper-small"
            )
        load: Any = transformers.WhisperForConditionalGeneration.from_pretrained  # its types know of no loading info
        model, told = load(self.name, dtype=self._torch.float32, local_files_only=local, output_loading_info=True)
        processor = transformers.WhisperProcessor.from_pretrained(self.name, local_files_only=local, **NO_CODE)
        return processor, model, config.dtype, told

    @fill_doc
    def write(
        self, sound: Iterable[np.ndarray], *, progress: Progress | None = None, total: float | None = None
    ) -> str:
        """What is said in a sound.

        Parameters
        ----------
        sound : iterable of ndarray of float32, each of shape (n,)
            Chunks at 16 kHz; heard in windows of 30 s that end where it is quiet.
        progress : callable, optional
            %(progress)s
        total : float, optional
            Seconds of sound, for `progress`.

        Returns
        -------
        str
            A line for each window.
        """
        stretch, lines = Stretch(iter(sound)), []
        while stretch.fill(WINDOW):
            end = stretch.end(WINDOW)
            lines.append(self._written(stretch.samples[:end]))
            stretch.advance(end)
            if progress is not None:
                progress(stretch.begin, total)
        return "\n".join(line for line in lines if line)

    def _written(self, samples: np.ndarray) -> str:
        """What is said in one window."""
        given = self._processor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True)
        # Asked for in words, or a model of many languages would guess, and might translate.
        spoken = {"language": "en", "task": "transcribe"}
        asked = spoken if getattr(self._model.generation_config, "is_multilingual", False) else {}
        with self._torch.inference_mode():
            tokens = self._model.generate(
                given["input_features"].to(self.device), attention_mask=given["attention_mask"].to(self.device), **asked
            )
        return self._processor.batch_decode(tokens, skip_special_tokens=True)[0].strip()
