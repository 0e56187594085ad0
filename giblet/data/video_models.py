"""Pretrained models that turn clips of a film into vectors, by name and layer, without any silent stand-in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from giblet.data.embeddings import ImageModel
from giblet.data.pretrained import NO_CODE, blocks_up_to
from giblet.docs import fill_doc
from giblet.errors import InputError


@fill_doc
class VideoModel(ImageModel):
    """A video model of the transformers library, such as VideoMAE, ViViT or TimeSformer: AutoModel and its processor.

    The vector of a layer is the mean of its hidden states over positions in space and time. Everything is computed in
    float32, whatever the weights were saved in, and each clip by itself.

    Parameters
    ----------
    name : str
        A folder or a hub name, such as ``"MCG-NJU/videomae-base"``.
    device : str
        %(device)s
    fit : {"crop", "squash", "pad"}
        As for :class:`giblet.data.embeddings.ImageModel`.
    layers : sequence of int, optional
        Hidden states: 0 is what the first layer gets. By default the last.

    Raises
    ------
    InputError
        If the model cannot be loaded, lacks weights or a layer, or makes no vectors of clips.

    Attributes
    ----------
    n_frames : int
        Frames that it sees at once.
    layers : tuple of int
    """

    kind, wanted = "video model", "clips"

    def __init__(
        self, name: str, *, device: str = "auto", fit: str = "crop", layers: Sequence[int] | None = None
    ) -> None:
        self.layers, self.n_frames = None if layers is None else tuple(layers), 1
        super().__init__(name, device=device, fit=fit)

    def _load(self, local: bool) -> tuple[Any, ...]:
        import transformers

        config = transformers.AutoConfig.from_pretrained(self.name, local_files_only=local, **NO_CODE)
        n_frames = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None)
        if n_frames is None:
            raise InputError(f"video model {self.name} is a {config.model_type}, which sees no clips: name another")
        self.n_frames, n_layers = int(n_frames), int(config.num_hidden_layers)
        self._n_blocks = n_layers
        self.layers = (n_layers,) if self.layers is None else self.layers
        if not self.layers or min(self.layers) < 0 or max(self.layers) > n_layers:
            raise InputError(
                f"layers are {self.layers}; expected some of 0 to {n_layers}, those of video model {self.name}"
            )
        return super()._load(local)

    def _blank(self) -> np.ndarray:
        return np.zeros((self.n_frames, 64, 64, 3), np.uint8)

    def embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors of clips.

        Parameters
        ----------
        images : sequence of ndarray of uint8, shape (n_frames, height, width, 3)
            At least one clip; they may differ in height and width.

        Returns
        -------
        ndarray of float32, shape (n_clips, n_layers, dim)

        Raises
        ------
        InputError
            If a clip has another number of frames.
        """
        wrong = next((len(clip) for clip in images if len(clip) != self.n_frames), None)
        if wrong is not None:
            raise InputError(
                f"a clip has {wrong} frames; expected {self.n_frames}, which video model {self.name} sees at once"
            )
        return np.concatenate([self._vectors(self._fitted(np.asarray(clip))) for clip in images])

    def _shown(self, image: np.ndarray) -> np.ndarray:
        return self._prepared(np.broadcast_to(image, (self.n_frames, *image.shape)))[0, 0, 0].double().numpy()

    def _fitted(self, image: np.ndarray) -> Any:
        self._tell(image.shape[1:])
        return self._prepared(image)

    def _scaled(self, image: np.ndarray) -> np.ndarray:
        return np.stack([super(VideoModel, self)._scaled(frame) for frame in image])

    def _processed(self, image: np.ndarray, **options: bool) -> Any:
        given = self.processor(list(image), return_tensors="pt", input_data_format="channels_last", **options)
        return next(given[name] for name in ("pixel_values", "pixel_values_videos") if name in given)

    def _vectors(self, pixels: Any) -> np.ndarray:
        assert self.layers is not None
        with self.torch.inference_mode(), blocks_up_to(self.model, self._n_blocks, max(self.layers)):
            states = self.model(pixels.to(self.device), output_hidden_states=True).hidden_states
        chosen = self.torch.stack([states[layer].mean(dim=1) for layer in self.layers], dim=1)
        return chosen.float().cpu().numpy()
