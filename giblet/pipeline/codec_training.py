"""Training of a codec, from a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from giblet.codec.training.settings import CodecTrainingSettings
from giblet.files import check_writable
from giblet.progress import TrainingProgress
from giblet.storage import check_local


@dataclass(frozen=True)
class TrainedCodec:
    """A codec that training made.

    Attributes
    ----------
    codec : Path
        Its folder, for ``load_codec``, ``--codec`` and transformers.
    output : Path
        The folder of the training: checkpoints, log, samples.
    steps : int
        How many it was trained for.
    """

    codec: Path
    output: Path
    steps: int


def train_codec(
    config: str | Path | CodecTrainingSettings, *, progress: TrainingProgress | None = None
) -> TrainedCodec:
    """Train a codec, or go on from the last checkpoint in its output folder.

    Ctrl-C and SIGTERM save a checkpoint first; see :func:`giblet.codec.training.loop.train_codec`.

    Parameters
    ----------
    config : str, Path or CodecTrainingSettings
        A YAML file, or what it says.
    progress : callable, optional
        Called after each step with a :class:`giblet.progress.TrainingStep`; without it every hundredth step is logged.

    Returns
    -------
    TrainedCodec

    Raises
    ------
    GibletError
        If settings, sound, output folder or checkpoint cannot be used, or the loss is not a number.
    KeyboardInterrupt
        After Ctrl-C; on SIGTERM it is SystemExit(143).

    See Also
    --------
    codec_training_settings : reads the file.
    step_to_go_on_from : where a training that was stopped goes on.
    """
    settings = config if isinstance(config, CodecTrainingSettings) else codec_training_settings(config)
    check_local(settings.output, "a codec's training")
    check_writable(settings.output)
    # Here, as torch takes seconds to import, and a mistake in the settings should be told before.
    from giblet.codec.training import loop

    return TrainedCodec(loop.train_codec(settings, progress), settings.output, settings.steps)


def codec_training_settings(path: str | Path) -> CodecTrainingSettings:
    """Settings of codec training from a YAML file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    CodecTrainingSettings

    Raises
    ------
    InputError
        If the file cannot be read, or holds an option that does not exist or a value that is not allowed.
    """
    return CodecTrainingSettings.from_yaml(path)


def step_to_go_on_from(settings: CodecTrainingSettings) -> int | None:
    """The step of the last checkpoint, from which a training of these settings goes on.

    Parameters
    ----------
    settings : CodecTrainingSettings

    Returns
    -------
    int or None
        None where there is no checkpoint yet.
    """
    from giblet.codec.training.checkpoints import last_step

    return last_step(settings.output / "checkpoints")
