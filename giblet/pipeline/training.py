"""Training of the multimodal autoencoder, from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from giblet.data.study_settings import bring_files
from giblet.storage import check_local, taking_urls
from giblet.training.settings import TrainSettings

if TYPE_CHECKING:
    from giblet.progress import TrainingProgress
    from giblet.training.result import RunResult


def train(config: str | Path | TrainSettings, *, progress: TrainingProgress | None = None) -> RunResult:
    """Train, or continue where the same configuration was stopped.

    Parameters
    ----------
    config : str, Path or TrainSettings
        A YAML file, see :func:`read_config`, or what it says.
    progress : callable, optional
        Called after each step with a :class:`giblet.progress.TrainingStep`.

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
    from giblet.training.run_folder import absolute_paths

    settings = config if isinstance(config, TrainSettings) else read_config(config)
    check_local(settings.output, "a run")
    bring_files(settings.data)
    # Here, as Lightning takes seconds to import, and a mistake in the settings should be told before.
    from giblet.training.trainer import Trainer

    return Trainer(absolute_paths(settings), progress).fit()


@taking_urls("path")
def read_config(path: str | Path) -> TrainSettings:
    """Settings of training from a YAML file.

    Paths in it are relative to the working directory. In the ``config.yaml`` that a run holds they are absolute: given
    that file, the run is gone on with in the folder where it lies now, and its data are looked for as
    :func:`giblet.pipeline.run_checks.located` does.

    Parameters
    ----------
    path : str or Path
        Of the YAML file.

    Returns
    -------
    TrainSettings

    Raises
    ------
    GibletError
        If the file cannot be read, or the data of a run that has moved are not found.

    See Also
    --------
    train : reads the file itself.
    """
    path = Path(path)
    run = path.absolute().parent
    of_a_run = path.name == "config.yaml" and (run / "checkpoints").is_dir()
    settings = TrainSettings.from_yaml(path, stored=of_a_run)
    if not of_a_run:
        return settings
    from giblet.pipeline.run_checks import located
    from giblet.training.checkpoint import load_state

    state = load_state(run / "checkpoints") or {}
    if settings.output == run or str(settings.output) != state.get("settings", {}).get("output"):
        return settings  # it has not moved, or another folder was written into the file since
    return located(settings, state.get("sources"), run).model_copy(update={"output": run})
