"""What training tells: after each step, at the end, and when it is stopped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, repr=False)
class RunResult:
    """What a call of :meth:`giblet.training.trainer.Trainer.fit` came to."""

    folder: Path
    """Of the run."""
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

    def __repr__(self) -> str:
        """Folder, how far it came, and each loss of the best validation."""
        losses = ", ".join(f"{name} {loss:.3f}" for name, loss in self.val.items())
        return (
            f"<RunResult {self.folder}: {self.status} after {self.step} steps; best validation {self.best_val:.3f} at "
            f"step {self.best_step} ({losses})>"
        )

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, for JSON.

        Returns
        -------
        dict of str to object
            By name; the folder is text.
        """
        return {**asdict(self), "folder": str(self.folder)}


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, after the state was saved."""

    def __init__(self, step: int, rank: int, signal: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step, self.rank, self.signal = step, rank, signal
