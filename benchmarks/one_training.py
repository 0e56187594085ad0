"""One training in a process of its own, measured: what benchmarks/training_speed.py starts.

It runs on the package that PYTHONPATH names, which may be that of an older commit: names that moved since are looked
for where they were.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ratios import Measured, peak_mib

if TYPE_CHECKING:
    from giblet.models import MultimodalAutoencoder
    from giblet.training.study import Study

TR = 1.5


def study_of(audio: np.ndarray, codec: str, n_voxels: int, codes: bool) -> Study:
    """One subject who heard `audio` and whose BOLD is noise."""
    from giblet.codec.loading import find_codec, read_model
    from giblet.data.splits import make_splits
    from giblet.training.study import Study

    try:
        from giblet.codec.encodec import codes_fingerprint as fingerprint
    except ImportError:  # up to 189995b no codec had the codes of another
        from giblet.codec.encodec import fingerprint
    try:
        from giblet.data.dataset.series import Series
        from giblet.data.dataset.windows import Recording, fit_normalisers
    except ImportError:  # up to 189995b
        older = importlib.import_module("giblet.data.dataset")
        Recording, fit_normalisers = older.Recording, older.fit_normalisers  # type: ignore[misc]
        Series = importlib.import_module("giblet.data.series").Series  # type: ignore[misc]

    n_trs = len(audio)
    bold = np.random.default_rng(0).standard_normal((n_trs, n_voxels), dtype=np.float32)
    series = {"audio": Series(audio, "codes" if codes else "continuous"), "bold": Series(bold)}
    recording = Recording.of("01", series, tr=TR)
    splits = {"01": make_splits(n_trs, TR)}
    made_by = fingerprint(read_model(*find_codec(codec, None), codec)) if codes else None
    return Study(
        [recording], splits, fit_normalisers([recording], splits["01"].train), {"01": np.arange(n_trs)},
        {"01": np.arange(n_trs)}, made_by, 6.0 if codes else None, (),
    )  # fmt: skip


def train(audio: str, codec: str, n_voxels: int, steps: int, batch: int, gradients: str | None) -> Measured:
    """Train and measure: the time is the median of the steps.

    `audio` is a file of numpy, codes (n_trs, K, F) or a spectrogram (n_trs, ...); `codec` the folder of the codec that
    made the codes; `gradients` a file to write the first step's to.
    """
    from giblet.models.settings import ModelSettings
    from giblet.training import trainer
    from giblet.training.settings import TrainSettings

    sound = np.load(audio)
    codes = bool(np.issubdtype(sound.dtype, np.integer))
    # The network alone: what is fitted beside it in closed form is no part of a step, and 189995b has none.
    model = {"use_encodec": codes, **({"linear_path": False} if "linear_path" in ModelSettings.model_fields else {})}
    times: list[tuple[float, float]] = []
    losses: list[float] = []

    def after_step(*told: Any) -> None:
        times.append((time.process_time(), time.perf_counter()))
        losses.append((told[-1] if len(told) > 1 else told[0].losses)["train"])  # three arguments up to 189995b

    found: dict[str, np.ndarray] = {}
    models: list[MultimodalAutoencoder] = []
    clip, make_losses = torch.nn.utils.clip_grad_norm_, trainer.Losses

    def losses_of(network: MultimodalAutoencoder, scales: Any) -> Any:
        models.append(network)
        return make_losses(network, scales)

    def clip_and_keep(*args: Any, **kwargs: Any) -> Any:
        if not found:  # all of them, before the first is clipped
            named = models[0].named_parameters()
            found.update({name: p.grad.numpy().copy() for name, p in named if p.grad is not None})
        return clip(*args, **kwargs)

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainSettings.make(
            data={"subjects": [{"name": "01", "runs": [{"bold": "synthetic"}]}]}, output=Path(folder) / "run",
            model=model, steps=steps, batch_size=batch, device="cpu", validate_every=10_000, codec=codec,
        )  # fmt: skip
        if gradients is not None:
            trainer.Losses, torch.nn.utils.clip_grad_norm_ = losses_of, clip_and_keep  # type: ignore[assignment, misc]
        result = trainer.Trainer(settings, after_step, study=study_of(sound, codec, n_voxels, codes)).fit()
    if gradients is not None:
        np.savez(gradients, allow_pickle=False, **found)
    processor, clock = (float(median(np.diff(column))) for column in zip(*times, strict=True))
    return Measured(clock, processor, {
        "losses": losses, "features": float(np.prod(sound.shape[1:])), "parameters": result.parameters,
        "peak_gb": peak_mib() * 2**20 / 1e9,
    })  # fmt: skip
