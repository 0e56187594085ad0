"""What training tells: after each step, at the end, and when it is stopped."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunResult:
    """What a call of :meth:`Trainer.fit` came to."""

    folder: str
    status: str
    """``"finished"``, ``"stopped early"`` (validation grew no better), ``"paused"`` or ``"up to date"``."""
    step: int
    epoch: float
    best_step: int
    best_val: float
    """Weighted sum of the validation losses at `best_step`."""
    val: dict[str, float]
    """Each of them, in units of what predicting the training mean costs on the same validation TRs: 1 is no better."""
    parameters: int
    seconds: float
    """Of training, all calls together."""
    rank: int
    """Which process this is; 0 writes."""
    tr: float
    """Repetition time, seconds."""
    slice_time_ref: dict[str, float]
    """By subject, when in its TR a volume was taken to be read, 0 (its onset) to 1."""
    no_better_than_mean: tuple[str, ...]
    """Which of `val` are 1 or above: of these nothing that carries over was learned."""
    split: str
    """``"stimulus"`` or ``"subject"``: whether all subjects share one split of what was shown."""
    centre_runs: bool
    """Whether the level of each run was taken out."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, after the state was saved."""

    def __init__(self, step: int, rank: int, signal: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step, self.rank, self.signal = step, rank, signal
