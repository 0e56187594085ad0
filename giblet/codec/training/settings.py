"""Settings of a codec training run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from giblet.config import Settings
from giblet.errors import InputError, reading
from giblet.lazy import lazily

SCALES: tuple[tuple[int, int], ...] = ((2048, 80), (1024, 64), (512, 40), (256, 24), (128, 12))
"""Of the spectral losses: STFT window in samples, and mel bands over it."""
ENVELOPE_FRAME_S, ENVELOPE_HOP_S = 0.0256, 0.0128  # as in STOI, and so is the next line
ENVELOPE_FRAMES = 30  # 384 ms
LEVEL_FRAME_S = 0.25  # about a syllable

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class LossWeights(Settings):
    """Weights of the terms of `MultiScaleLoss`, of the other losses of that file, and of the commitment."""

    mel: Weight = 1.0
    magnitude: Weight = 0.3
    complex: Weight = 1.0
    compressed: Weight = 0.0
    waveform: Weight = 1.0
    envelope: Weight = 0.0
    level: Weight = 0.0
    probe: Weight = 0.0
    commitment: Weight = 0.25


class AdversarialSettings(Settings):
    """The adversarial phase (`adversary.py`); weights are relative to all reconstruction losses together."""

    from_step: int = Field(ge=0, description="step with which it begins")
    lead_steps: int = Field(
        1000, ge=0, description="steps for which the discriminators learn alone; the weights then grow over as many"
    )
    weight: Weight = Field(0.02, description="of the adversarial loss; see Adversary")
    feature_weight: Weight = Field(0.02, description="of the distance between the discriminators' features")
    channels: Count = Field(8, description="of the discriminators' layers; 32 in the paper")
    scales: tuple[Annotated[int, Field(ge=32, multiple_of=4)], ...] = Field(
        (2048, 1024, 512, 256, 128), min_length=1, description="STFT windows of the discriminators, samples"
    )
    learning_rate: float = Field(3e-4, gt=0, description="of the discriminators")
    every: Count = Field(1, description="steps from one turn of the discriminators to the next; 1.5 in the paper")


def _patterns_in(path: Path) -> list[str]:
    """Patterns of a text file, one per line, without empty lines and comments."""
    with reading(f"held_out from {path}", "expected a list of patterns, or a text file beside the YAML file"):
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    patterns = [line for line in lines if line and not line.startswith("#")]
    if not patterns:
        raise InputError(f"held_out: {path} lists no patterns; write one per line, or leave out held_out")
    return patterns


def envelope_frames(sample_rate: int) -> tuple[int, int, int]:
    """What the envelope loss reads a sound by.

    Parameters
    ----------
    sample_rate : int
        In Hz.

    Returns
    -------
    frame, hop, shortest : int
        Samples of a frame, from one frame to the next, and of the shortest sound that it can be computed for.
    """
    frame, hop = round(ENVELOPE_FRAME_S * sample_rate), round(ENVELOPE_HOP_S * sample_rate)
    return frame, hop, frame + (ENVELOPE_FRAMES - 1) * hop


def level_frame(sample_rate: int) -> int:
    """Samples of a stretch whose level the level loss compares, the shortest sound that it can be computed for.

    Parameters
    ----------
    sample_rate : int
        In Hz.

    Returns
    -------
    int
    """
    return round(LEVEL_FRAME_S * sample_rate)


def _bandwidths(data: dict[str, Any]) -> dict[int, float]:
    """All codebooks in four steps for one of each lower power of two: {2: 1, 4: 1, 8: 4} of eight."""
    n = data.get("num_codebooks", 1)
    return {2**i: 1.0 for i in range(1, math.ceil(math.log2(n)))} | {n: 4.0}


class CodecTrainingSettings(Settings):
    """All that decides the training of a codec; `held_out` are patterns over names of files that are never trained on.

    In a YAML file `held_out` may also be the name of a text file beside it, with one pattern per line, so that several
    configurations share one list. Other paths are relative to the folder in which the command runs.
    """

    renamed: ClassVar[dict[str, str]] = {"unquantised_steps": "unquantized_steps"}

    audio: Path
    output: Path
    held_out: list[str] = Field([], description="patterns over file names; in YAML also a text file that lists them")
    dataset_weights: dict[str, Weight] = Field({}, description="factors on the shares of data sets")
    max_share: Share = 1 / 3
    mix: Share = 0.05
    silence: Share = 0.01
    as_recorded: Share = Field(0.5, description="share of crops that keep their recorded level")
    gain_range_db: tuple[float, float] | None = Field(
        None,
        description="random gain of crops that keep their recorded level, and peak of the others in dB full scale; else"
        " -10 to -0.15 and -20 to -0.3",
    )
    cache_mb: Weight = 2048

    sample_rate: Count = 24_000
    num_codebooks: Count = 8
    codebook_size: Count = 1024
    hidden_dim: Count = 128
    num_filters: int = Field(16, ge=2)
    num_lstm_layers: Count = 2
    num_residual_layers: Count = 1

    start_from: Path | None = Field(
        None,
        description="codec of the same architecture, or with fewer residual layers, to go on from, a folder or bundled;"
        " else a transform start",
    )
    waken: bool = Field(
        False, description="before the first step, scale the hidden units of residual blocks to unit variance"
    )
    match_level: bool = Field(
        False, description="before the first step, scale the decoder's output so that the median crop keeps its level"
    )
    keep_codes: bool = Field(
        False,
        description="encoder and codebooks stand still, so that all codes stay as they were: only the decoder learns",
    )
    start_share: float = Field(
        0.0, ge=0, lt=1, description="with keep_codes: share of the starting decoder's weights in those of the result"
    )
    seed: int = 0
    steps: Count = 8000
    steady_steps: int = Field(0, ge=0, description="steps at the full learning rate before it is annealed")
    max_minutes: float | None = Field(
        None, gt=0, description="anneal by the clock as well: exact resume needs it absent"
    )
    batch_size: Count = 16
    crop_seconds: float = Field(0.5, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    final_learning_rate: float = Field(2e-5, gt=0)
    warmup_steps: Count = 100
    weight_decay: Weight = 0.01
    encoder_until: Share = Field(
        1.0, description="part of the annealing after which the encoder stands still and codebooks settle"
    )
    clip_gradient: float = Field(1.0, gt=0)
    unquantized_steps: int = Field(100, ge=0)
    spectral_ramp_steps: int = Field(
        500, ge=0, description="steps over which mel and magnitude grow from a fifth to their weight"
    )
    codebooks_per_step: dict[Count, Weight] = Field(
        default_factory=_bandwidths, description="how often a step uses so many codebooks; all of them at times"
    )
    codebook_decay: Share = 0.99
    codebook_loudness: Share = Field(
        0.5, description="see CodebookTrainer: how much quiet frames count in the codebooks"
    )
    loss_weights: LossWeights = LossWeights()
    adversarial: AdversarialSettings | None = None
    bfloat16: bool = False
    threads: Count | None = None

    checkpoint_every: Count = 500
    validate_every: Count = 500
    validation_clips: int = Field(8, ge=0)
    validation_seconds: float = Field(4.0, ge=0.5)
    half_precision_export: bool = True

    @classmethod
    def read_beside(cls, path: str | Path, values: dict[str, Any]) -> dict[str, Any]:
        """Options of a YAML file, with the patterns of the text file that `held_out` names.

        Parameters
        ----------
        path : str or Path
            The YAML file.
        values : dict
            Its options.

        Returns
        -------
        dict

        Raises
        ------
        InputError
            If the text file cannot be read or lists nothing.
        """
        if isinstance(held_out := values.get("held_out"), str):
            return {**values, "held_out": _patterns_in(Path(path).parent / held_out)}
        return values

    @field_validator("steady_steps")
    @classmethod
    def _steps_left_to_anneal(cls, value: int, info: ValidationInfo) -> int:
        if "steps" in info.data and value >= info.data["steps"]:
            raise ValueError(f"must be fewer than steps ({info.data['steps']})")
        return value

    @field_validator("codebooks_per_step")
    @classmethod
    def _every_codebook_learns(cls, value: dict[int, float], info: ValidationInfo) -> dict[int, float]:
        n = info.data.get("num_codebooks")
        if n is not None and max((k for k, weight in value.items() if weight > 0), default=0) != n:
            raise ValueError(f"must use all {n} codebooks (num_codebooks) in some steps and never more: add {n}: 4")
        return value

    @field_validator("loss_weights")
    @classmethod
    def _crops_are_long_enough(cls, value: LossWeights, info: ValidationInfo) -> LossWeights:
        if not {"crop_seconds", "sample_rate"} <= info.data.keys():
            return value
        rate = info.data["sample_rate"]
        least = max(n_fft for n_fft, _ in SCALES) // 2 + 1
        if value.envelope:
            least = max(least, envelope_frames(rate)[2])
        if value.level:
            least = max(least, level_frame(rate))
        if round(info.data["crop_seconds"] * rate) < least:
            raise ValueError(
                f"crop_seconds is {info.data['crop_seconds']:g}: these losses need at least {least / rate:.3g} s"
            )
        return value

    @field_validator("gain_range_db")
    @classmethod
    def _quietest_first(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not -60 <= value[0] <= value[1] <= 12:
            raise ValueError(f"is {list(value)}: write the lower gain first, both from -60 to 12 dB, such as [-30, 2]")
        return value

    @field_validator("keep_codes")
    @classmethod
    def _there_are_codes_to_keep(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("start_from") is None:
            raise ValueError("needs start_from: name the codec whose codes are to stay, such as bundled")
        return value

    @field_validator("start_share")
    @classmethod
    def _there_is_one_architecture(cls, value: float, info: ValidationInfo) -> float:
        if value and not info.data.get("keep_codes"):
            raise ValueError("needs keep_codes: true; leave out start_share where the encoder learns")
        return value

    @field_validator("adversarial")
    @classmethod
    def _crops_fill_the_discriminators(
        cls, value: AdversarialSettings | None, info: ValidationInfo
    ) -> AdversarialSettings | None:
        if value is None or not {"crop_seconds", "sample_rate"} <= info.data.keys():
            return value
        crop = round(info.data["crop_seconds"] * info.data["sample_rate"])
        if (longest := max(value.scales)) > crop:
            raise ValueError(
                f"scales go up to {longest} samples and crops have {crop}; set a longer crop_seconds or shorter scales"
            )
        return value


__getattr__ = lazily(__name__, {}, renamed={"CodecTrainingConfig": "CodecTrainingSettings"})[0]
