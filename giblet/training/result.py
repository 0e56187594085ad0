"""What training tells: after each step, at the end, and when it is stopped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LAST = "last.json"
"""In the ``checkpoints`` of a run's folder: the state to go on from, see :mod:`giblet.training.checkpoint`."""
SUMMARY = "summary.json"
"""In a run's folder: what it came to; the last file that is written."""


@dataclass(frozen=True, repr=False)
class RunResult:
    """What a call of :meth:`giblet.training.trainer.Trainer.fit` came to."""

    folder: Path
    """Of the run."""
    status: str
    """``"finished"``, ``"stopped early"`` (validation grew no better), ``"paused"`` or ``"up to date"``."""
    step: int
    epoch: float
    best_steps: dict[str, int]
    """Steps of ``"encoding"`` and ``"decoding"`` with the best validation: each way has weights of its own."""
    best_val: float
    """Weighted sum of the validation losses at `best_steps`."""
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
    linear_val: dict[str, float]
    """Validation losses of the linear path alone, of what it predicts."""
    split: str
    """``"stimulus"`` or ``"subject"``: whether all subjects share one split of what was shown."""
    centre_runs: bool
    """Whether the level of each run was taken out."""

    @property
    def best_step(self) -> int:
        """The later of `best_steps`."""
        return max(self.best_steps.values())

    @property
    def told_steps(self) -> str:
        """`best_steps` in words."""
        steps = self.best_steps
        if len(set(steps.values())) == 1:
            return f"step {self.best_step}"
        return " and ".join(f"step {step} ({way})" for way, step in steps.items())

    def __repr__(self) -> str:
        """Folder, how far it came, and each loss of the best validation."""
        losses = ", ".join(f"{name} {loss:.3f}" for name, loss in self.val.items())
        return (
            f"<RunResult {self.folder}: {self.status} after {self.step} steps; best validation {self.best_val:.3f} at "
            f"{self.told_steps} ({losses})>"
        )

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, for JSON.

        Returns
        -------
        dict of str to object
            By name; the folder is text.
        """
        return {**asdict(self), "best_step": self.best_step, "folder": str(self.folder)}


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, after the state was saved."""

    def __init__(self, step: int, rank: int, signal: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step, self.rank, self.signal = step, rank, signal
