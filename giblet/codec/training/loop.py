"""Training of a codec, the one that giblet brings among them: what `giblet codec train` runs.

From a transform start (`start.py`) through a short phase without quantization to the full codec. Everything random is a
function of (seed, step), so a stopped run resumes bit for bit; only `max_minutes` ties a run to the clock.

References
----------
Wortsman et al. (2022). Robust fine-tuning of zero-shot models (`start_share`). https://arxiv.org/abs/2109.01903
Défossez, Copet, Synnaeve, Adi (2022). High Fidelity Neural Audio Compression. https://arxiv.org/abs/2210.13438
"""

from __future__ import annotations

import csv
import io
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from giblet.codec.architecture import codebooks_of
from giblet.codec.quantizer import rvq_quantize
from giblet.codec.training.checkpoints import export_model, load_checkpoint, save_checkpoint
from giblet.codec.training.data import AudioFile, CropSampler, find_audio, read_mono
from giblet.codec.training.settings import CodecTrainingSettings
from giblet.codec.training.step import Learner, annealing
from giblet.codec.training.validate import validate
from giblet.errors import CheckpointError
from giblet.files import claimed, write_atomic
from giblet.progress import TrainingProgress, TrainingStep
from giblet.signals import Stop, delayed_signals
from giblet.sound_files import new_sound_file

logger = logging.getLogger(__name__)
SHORTEST_CLIP = 0.5  # s, that scores can be had of


def train_codec(config: CodecTrainingSettings, progress: TrainingProgress | None = None) -> Path:
    """Train a codec, resuming where the output folder holds a checkpoint.

    Ctrl-C and SIGTERM save a checkpoint at the step they come in and then leave; a second one leaves at once.

    Parameters
    ----------
    config : CodecTrainingSettings
    progress : callable, optional
        Called after each step with a :class:`giblet.progress.TrainingStep`; without it every hundredth step is logged.

    Returns
    -------
    Path
        Folder `final`, which `transformers.EncodecModel.from_pretrained` loads. Beside it: `latest` (same format, as of
        the last checkpoint), `checkpoints`, `samples` (held-out clips before and after), `log.csv`, `training.yaml`.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; on SIGTERM it is SystemExit(143).
    InputError
        If there is nothing to train on, a file of sound cannot be read, the output folder cannot be written to, or
        another process trains in the same folder.
    CodecError
        If there is no codec to start from by that name, or it cannot be reached.
    CheckpointError
        If a checkpoint, or the codec to start from, is damaged or of another architecture, or a checkpoint has done
        more steps than there are; or if the loss is not a number.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    training, kept = find_audio(config.audio, config.held_out)
    logger.info("held out: %s", ", ".join(clip.path.name for clip in kept) or "nothing")
    with claimed(config.output):
        run = _Run(config, training, kept)
        with delayed_signals() as stop:
            run.train(stop, progress)
        stop.leave()
        return run.finish()


class _Run:
    def __init__(self, config: CodecTrainingSettings, training: list[AudioFile], kept: list[AudioFile]) -> None:
        self.config = config
        sampler = CropSampler(
            training,
            config.sample_rate,
            round(config.crop_seconds * config.sample_rate),
            max_share=config.max_share,
            weights=config.dataset_weights,
            mix=config.mix,
            silence=config.silence,
            as_recorded=config.as_recorded,
            gain_range_db=config.gain_range_db,
            cache_mb=config.cache_mb,
            seed=config.seed,
        )
        self.scored = self._load(_spread(_largest_group(kept), config.validation_clips))
        self.listened = self.scored | self._load(
            [c for c in kept if c.dataset not in {k.dataset for k in _largest_group(kept)}]
        )
        self.learner = Learner(config, sampler)
        self.model = self.learner.model
        self.step, self.minutes = 0, 0.0
        self.rows: list[dict[str, Any]] = []
        self.means: dict[str, float] = {}
        if not self._resume():
            self.learner.begin()
        write_atomic(config.output / "training.yaml", config.to_yaml())

    def _load(self, clips: list[AudioFile]) -> dict[str, np.ndarray]:
        """Beginnings of clips by name, without those on which scores would mean nothing."""
        sounds, seconds = {}, self.config.validation_seconds
        for clip in clips:
            sound = read_mono(clip.path, self.config.sample_rate, 0, seconds)
            if len(sound) < SHORTEST_CLIP * self.config.sample_rate:
                logger.warning("%s is held out and not scored: it is shorter than %g s", clip.path, SHORTEST_CLIP)
            elif not sound.any():
                logger.warning("%s is held out and not scored: its first %g s are silent", clip.path, seconds)
            else:
                sounds[clip.path.stem] = sound
        return sounds

    def train(self, stop: Stop, progress: TrainingProgress | None) -> None:
        config, began = self.config, time.monotonic() - self.minutes * 60
        while not stop and (annealed := annealing(config, self.step, self.minutes)) < 1:
            terms = self.learner.step(self.step, annealed)
            for key, value in terms.items():
                before = self.means.get(key, value)
                self.means[key] = before + 0.02 * (value - before)
            self.step += 1
            self.minutes = (time.monotonic() - began) / 60
            if progress is not None:
                clock = self.minutes / config.max_minutes if config.max_minutes else 0.0
                done = min(1.0, max(self.step / config.steps, clock))
                progress(TrainingStep(self.step, config.steps, terms, done, dict(self.means)))
            elif self.step % 100 == 0:
                losses = ", ".join(f"{k} {v:.4g}" for k, v in self.means.items())
                logger.info("%.1f min, step %d: %s", self.minutes, self.step, losses)
            if self.step % config.validate_every == 0:
                self._validate()
            if self.step % config.checkpoint_every == 0 and not stop:
                self._save()
        if not stop:
            self._validate()
        self._save(samples=not stop)

    def finish(self) -> Path:
        final = self.config.output / "final"
        export_model(self.learner.result(), final, self.config.half_precision_export)
        return final

    def _validate(self) -> None:
        done = self.rows and self.rows[-1]["step"] == self.step
        if done or not self.scored or not self.learner.quantizes(self.step):
            return
        scores = validate(self.model, self.scored.values())
        self.rows.append(
            {"step": self.step, "minutes": round(self.minutes, 2)}
            | {k: round(v, 6) for k, v in {**self.means, **scores}.items()}
        )
        logger.info("held out at step %d: %s", self.step, ", ".join(f"{k} {v:.4g}" for k, v in scores.items()))

    def _save(self, samples: bool = True) -> None:
        output, state = self.config.output, {"minutes": self.minutes, "rows": self.rows, "means": self.means}
        state["codes_of"] = self.learner.codes_of
        state["config"] = self.config.model_dump(mode="json")
        save_checkpoint(output / "checkpoints", self.step, self.learner.tensors(), state)
        export_model(self.model, output / "latest", self.config.half_precision_export)
        text = io.StringIO()
        writer = csv.DictWriter(
            text,
            sorted(
                {"step", "minutes", *(k for row in self.rows for k in row)},
                key=lambda k: (k != "step", k != "minutes", k),
            ),
            restval="",
        )
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(output / "log.csv", text.getvalue())
        if samples:
            self._write_samples()

    @torch.no_grad()
    def _write_samples(self) -> None:
        folder, rate = self.config.output / "samples", self.config.sample_rate
        self.model.eval()
        for name, clip in self.listened.items():
            quantized, _ = rvq_quantize(
                self.model.encoder(torch.from_numpy(clip)[None, None]).transpose(1, 2),
                codebooks_of(self.model),
            )
            decoded = self.model.decoder(quantized.transpose(1, 2))[0, 0, : len(clip)].numpy()
            for label, sound in (("original", clip), ("decoded", decoded)):
                with new_sound_file(folder / f"{name}_{label}.wav", rate) as file:
                    file.write(np.clip(sound, -1, 1))
        self.model.train()

    def _resume(self) -> bool:
        checkpoint = load_checkpoint(self.config.output / "checkpoints")
        if checkpoint is None:
            return False
        tensors, state = checkpoint
        if state["step"] > self.config.steps:
            raise CheckpointError(
                f"the checkpoint in {self.config.output} is at step {state['step']} and steps is {self.config.steps}:"
                " set at least as many, or a fresh output folder"
            )
        self.learner.restore(tensors, state["step"])
        self.learner.codes_of = state.get("codes_of")  # older checkpoints have none
        self.step, self.minutes, self.rows = state["step"], state["minutes"], state["rows"]
        self.means = state.get("means", {})  # older checkpoints have none
        now = self.config.model_dump(mode="json")
        changed = {k: f"{state['config'].get(k)!r} -> {v!r}" for k, v in now.items() if state["config"].get(k) != v}
        logger.info("resuming at step %d%s", self.step, f"; changed settings: {changed}" if changed else "")
        return True


def _largest_group(clips: list[AudioFile]) -> list[AudioFile]:
    """The held-out clips of one data set: scores over speech and music together would say little about either."""
    names = [clip.dataset for clip in clips]
    most = max(sorted(set(names)), key=names.count, default="")
    return [clip for clip in clips if clip.dataset == most]


def _spread(clips: list[AudioFile], count: int) -> list[AudioFile]:
    return [clips[i] for i in np.linspace(0, len(clips) - 1, min(count, len(clips))).round().astype(int)]
