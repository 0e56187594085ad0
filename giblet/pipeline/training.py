"""Training of the multimodal autoencoder, from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from giblet.training.run_folder import absolute_paths
from giblet.training.settings import TrainSettings

if TYPE_CHECKING:
    from giblet.training.result import Progress, RunResult


def train(config: str | Path | TrainSettings, *, progress: Progress | None = None) -> RunResult:
    """Train, or go on where the same configuration was stopped.

    Parameters
    ----------
    config : str, Path or TrainSettings
        A YAML file; paths in it are relative to where this runs, and
        absolute in the ``config.yaml`` of the run.
    progress : callable, optional
        Called after each step with the step, the last step, and the losses by name.

    Returns
    -------
    RunResult

    Raises
    ------
    GibletError
        If configuration, data or output folder cannot be used, or a loss is not a number.
    TrainingInterrupted
        On Ctrl-C (a KeyboardInterrupt), after the state was saved.
    """
    settings = config if isinstance(config, TrainSettings) else TrainSettings.from_yaml(config)
    # Here, as Lightning takes seconds to import, and a mistake in the settings should be told before.
    from giblet.training.trainer import Trainer

    return Trainer(absolute_paths(settings), progress).fit()
