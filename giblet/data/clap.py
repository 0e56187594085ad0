"""CLAP models of the transformers library by name: one vector for a sound of up to ten seconds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from giblet.data.pretrained import DECIDE_NOTHING, NO_CODE, fingerprint_of, from_cache_or_hub
from giblet.docs import fill_doc
from giblet.errors import InputError, reading

log = logging.getLogger(__name__)

CLAP = "clap"
"""``model_type`` of what can be read."""
BATCH = 8


@fill_doc
class ClapModel:
    """The sound side of a CLAP model, computed in float32 and in evaluation mode.

    Parameters
    ----------
    name : str
        A folder or a hub name, such as ``"laion/clap-htsat-unfused"``. Nothing is downloaded unless a hub name is given
        whose files are not in the local cache.
    device : str
        %(device)s

    Attributes
    ----------
    dim : int
        Length of the vectors.
    sample_rate : int
        Of the sound that it hears, in Hz.
    longest : float
        Seconds of sound that it hears whole; of longer sounds it would hear a random part.
    fingerprint : str
        SHA-256 of weights and configuration.

    Raises
    ------
    InputError
        If the model cannot be loaded, lacks weights, or is of another family.

    References
    ----------
    Wu, Chen, Zhang, Hui, Berg-Kirkpatrick, Dubnov (2023). Large-scale contrastive language-audio pretraining with
    feature fusion and keyword-to-caption augmentation. ICASSP. arXiv:2211.06687.
    """

    def __init__(self, name: str, *, device: str = "auto") -> None:
        import torch

        from giblet.device import pick_device

        self.name, self.torch, self.device = name, torch, pick_device(device)
        self._what = f"CLAP model {name}"
        remedy = (
            "name a folder with the model (config.json, preprocessor_config.json, model.safetensors), or connect to "
            "the hub once"
        )
        with reading(self._what, remedy):
            self.extractor, model, told = from_cache_or_hub(name, "config.json", self._load)
        absent = sorted(key for key in told["missing_keys"] if key.startswith("audio"))
        if absent:  # they are drawn at random, other ones each time
            raise InputError(f"{self._what} lacks {len(absent)} weights (first {absent[0]}): {remedy}")
        self.model = model.to(self.device).eval()
        about = {key: value for key, value in model.config.to_dict().items() if key not in DECIDE_NOTHING}
        self.fingerprint = fingerprint_of(self.model, [about, self.extractor.to_dict()])
        self.dim = int(model.config.projection_dim)
        self.sample_rate = int(self.extractor.sampling_rate)
        self.longest = self.extractor.nb_max_samples / self.sample_rate

    def _load(self, local: bool) -> tuple[Any, ...]:
        """Extractor, model, and which of its weights were missing."""
        import transformers

        config = transformers.AutoConfig.from_pretrained(self.name, local_files_only=local, **NO_CODE)
        if config.model_type != CLAP:
            raise InputError(
                f"{self._what} is of the family {config.model_type}; only {CLAP} can be used; name a CLAP model"
            )
        loaded: Any = transformers.ClapModel.from_pretrained(
            self.name,
            config=config,
            dtype=self.torch.float32,
            local_files_only=local,
            output_loading_info=True,
            **NO_CODE,
        )
        extractor = transformers.AutoFeatureExtractor.from_pretrained(self.name, local_files_only=local, **NO_CODE)
        return extractor, *loaded

    def vectors(self, sounds: Sequence[np.ndarray]) -> np.ndarray:
        """One vector for each sound.

        Parameters
        ----------
        sounds : sequence of ndarray of float32, shape (n_samples,)
            Mono, at :attr:`sample_rate`, each no longer than :attr:`longest`. Shorter ones are repeated and padded, as
            the model's own extractor does.

        Returns
        -------
        ndarray of float32, shape (n_sounds, dim)
            Of length 1.

        Raises
        ------
        InputError
            If a sound is too long.
        """
        limit = round(self.longest * self.sample_rate)
        if long := [len(one) for one in sounds if len(one) > limit]:
            raise InputError(
                f"a sound lasts {long[0] / self.sample_rate:g} s; {self._what} hears {self.longest:g} s whole; cut it"
            )
        found = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(sounds), BATCH):
            given = self.extractor(
                [np.asarray(one, np.float32) for one in sounds[start : start + BATCH]],
                sampling_rate=self.sample_rate, return_tensors="pt",
            )  # fmt: skip
            # The extractor of a fusion model calls one of them longer at random, although none is.
            longer = self.torch.zeros_like(given["is_longer"], dtype=self.torch.bool)
            with self.torch.no_grad():
                heard = self.model.get_audio_features(given["input_features"].to(self.device), longer.to(self.device))
            vectors = getattr(heard, "pooler_output", heard)  # transformers 5.0 gives them alone
            found.append(vectors.float().cpu().numpy())
        return np.concatenate(found)
