"""Settings of a training run: what is learned from, what is learned, and how.

Paths in a configuration file are relative to the folder in which the command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from giblet.config import Settings
from giblet.data.study_settings import Count, DataSettings, Positive
from giblet.data.study_settings import RunSettings as RunSettings
from giblet.data.study_settings import SubjectSettings as SubjectSettings
from giblet.modalities import BOLD, STIMULI
from giblet.models.settings import ModelSettings

FREE_TO_CHANGE = frozenset(
    ["epochs", "steps", "patience", "device", "devices", "num_nodes", "strategy", "num_workers", "log",
     "checkpoint_every", "output", "accumulate", "codec"]
)  # fmt: skip
"""Options that a run may go on with after they changed: they say how long and where, not what is learned.

Which codec it is says its fingerprint, whatever its folder is called."""


class TrainSettings(Settings):
    """All that decides a training run. Same settings, same files, same machine: same weights."""

    data: DataSettings
    output: Path = Field(description="folder of the run")
    model: ModelSettings = Field(ModelSettings.make(), description="see ModelSettings")
    codec: str = Field("bundled", description="the codec that made the codes: 'bundled', a folder or a hub name")
    seed: int = Field(0, ge=0, description="chooses the first weights, the order of windows and the dropout")

    window: Count = Field(42, description="TRs scored in a window; the HRF's context is added to them")
    batch_size: Count = Field(8, description="windows per step, over all processes")
    accumulate: Count = Field(1, description="pieces in which each process computes its share of a step: less memory")
    epochs: Count = Field(100, description="times that each window is seen, at most")
    steps: Count | None = Field(None, description="steps at most, instead of epochs")
    learning_rate: Positive = Field(1e-3, description="of AdamW, after the warm-up")
    final_learning_rate: Positive | None = Field(
        None, description="where a cosine over all steps ends; default: none, the rate stays"
    )
    warmup_steps: int = Field(20, ge=0, description="steps in which the rate grows from 0")
    weight_decay: float = Field(0.01, ge=0, allow_inf_nan=False, description="of AdamW")
    clip_gradient: Positive = Field(1.0, description="largest norm of a step's gradient, each way")
    validate_every: Count = Field(1, description="epochs between validations")
    patience: Count | None = Field(20, description="validations without a better one before training stops; null: none")

    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto: a GPU where there is one")
    devices: Count = Field(1, description="processes on each node: one per GPU")
    num_nodes: Count = Field(1, description="nodes of a cluster")
    strategy: Literal["auto", "ddp"] = Field("auto", description="auto: ddp where there is more than one process")
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="bf16-mixed: faster on recent GPUs")
    num_workers: int = Field(0, ge=0, description="processes that read ahead; 0: read in the training process")
    log: Literal["csv", "tensorboard"] = Field("csv", description="tensorboard: beside log.csv, for its viewer")
    checkpoint_every: Count = Field(200, description="steps between saved states; also saved at the end and on Ctrl-C")

    @model_validator(mode="after")
    def _validation_has_a_share(self) -> TrainSettings:
        if self.data.fractions[1] == 0:
            raise ValueError("data.fractions: validation must have a share above 0: it chooses the best model")
        return self

    @model_validator(mode="after")
    def _processes_have_work(self) -> TrainSettings:
        world = self.devices * self.num_nodes
        if self.batch_size < world:
            raise ValueError(
                f"batch_size is {self.batch_size}: {world} processes need at least one window each, so {world} or more"
            )
        for name in self.model.modality_weights:
            if name not in (BOLD, *STIMULI):
                raise ValueError(f"modality_weights names {name!r}: known are bold, {', '.join(STIMULI)}")
        return self
