"""Training of the package's own codec: `train_codec(CodecTrainingConfig.from_yaml("bundled.yaml"))`.

From a transform start (`start.py`) through a short phase without quantisation to the full codec. Everything random is a
function of (seed, step), so a stopped run resumes bit for bit; only `max_minutes` ties a run to the clock.

References
----------
Défossez, Copet, Synnaeve, Adi (2022). High Fidelity Neural Audio Compression. https://arxiv.org/abs/2210.13438
"""

from __future__ import annotations

import csv
import io
import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from torch import Tensor

from giblet.codec.checkpoints import (
    export_model,
    load_checkpoint,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    write_atomic,
)
from giblet.codec.codebooks import CodebookTrainer
from giblet.codec.encodec import build_config, build_model
from giblet.codec.losses import MultiScaleLoss
from giblet.codec.rvq import codebooks_of, rvq_quantize
from giblet.codec.start import transform_start
from giblet.codec.training_config import CodecTrainingConfig
from giblet.codec.training_data import Clip, CropSampler, find_clips, read_mono
from giblet.codec.validate import validate
from giblet.errors import CheckpointError

logger = logging.getLogger(__name__)


def train_codec(config: CodecTrainingConfig) -> Path:
    """Train a codec, resuming where the output folder holds a checkpoint.

    Returns
    -------
    Path
        Folder `final`, which `transformers.EncodecModel.from_pretrained` loads. Beside it: `latest` (same format, as of
        the last checkpoint), `checkpoints`, `samples` (held-out clips before and after), `log.csv`, `training.yaml`.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    training, kept = find_clips(config.audio, config.held_out)
    logger.info("held out: %s", ", ".join(clip.path.name for clip in kept) or "nothing")
    run = _Run(config, training, kept)
    run.train()
    return run.finish()


class _Run:
    def __init__(self, config: CodecTrainingConfig, training: list[Clip], kept: list[Clip]) -> None:
        self.config = config
        self.crop = round(config.crop_seconds * config.sample_rate)
        self.sampler = CropSampler(
            training,
            config.sample_rate,
            self.crop,
            max_share=config.max_share,
            weights=config.dataset_weights,
            mix=config.mix,
            silence=config.silence,
            as_recorded=config.as_recorded,
            cache_mb=config.cache_mb,
            seed=config.seed,
        )
        self.scored = self._load(_spread(_largest_group(kept), config.validation_clips))
        self.listened = self.scored | self._load(
            [c for c in kept if c.dataset not in {k.dataset for k in _largest_group(kept)}]
        )
        torch.manual_seed(config.seed)
        self.model: Any = build_model(
            build_config(
                config.num_codebooks,
                config.codebook_size,
                config.hidden_dim,
                config.sample_rate,
                config.num_filters,
                config.num_lstm_layers,
            )
        ).train()
        self.codebooks = CodebookTrainer(self.model.quantizer, config.codebook_decay, loudness=config.codebook_loudness)
        self.spectral = MultiScaleLoss(config.sample_rate)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=(0.8, 0.99), weight_decay=config.weight_decay, foreach=True
        )
        self.step, self.minutes, self.rows = 0, 0.0, list[dict[str, Any]]()
        write_atomic(config.output / "training.yaml", config.to_yaml().encode())
        if not self._resume():
            self._begin()

    def _load(self, clips: list[Clip]) -> dict[str, np.ndarray]:
        return {
            c.path.stem: read_mono(c.path, self.config.sample_rate, 0, self.config.validation_seconds) for c in clips
        }

    def _begin(self) -> None:
        if self.config.start_from is None:
            sound = np.concatenate([self.sampler.batch(2**40 + i, 16) for i in range(8)])
            transform_start(self.model, torch.from_numpy(sound))
        else:
            load_weights(self.model, self.config.start_from)

    def train(self) -> None:
        config, began = self.config, time.monotonic() - self.minutes * 60
        running: dict[str, float] = {}
        while (progress := self._progress()) < 1:
            terms = self._one_step(progress)
            for key, value in terms.items():
                running[key] = 0.98 * running.get(key, value) + 0.02 * value
            self.step += 1
            self.minutes = (time.monotonic() - began) / 60
            if self.step % 100 == 0:
                logger.info(
                    "%.1f min, step %d: %s",
                    self.minutes,
                    self.step,
                    ", ".join(f"{k} {v:.4g}" for k, v in running.items()),
                )
            if self.step % config.validate_every == 0:
                self._validate(running)
            if self.step % config.checkpoint_every == 0:
                self._save()
        self._validate(running)
        self._save()

    def finish(self) -> Path:
        final = self.config.output / "final"
        export_model(self.model, final, self.config.half_precision_export)
        return final

    def _one_step(self, progress: float) -> dict[str, float]:
        config, w = self.config, self.config.loss_weights
        rng = np.random.default_rng([config.seed, self.step, 1])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rate = self._rate(progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        x = torch.from_numpy(self.sampler.batch(self.step, config.batch_size))
        if self.step == config.unquantised_steps and config.start_from is None:
            self._start_codebooks(generator)
        # pauses are a tight cloud of latents that moves as a whole: its codes spread over it once it stands still
        learns = progress < config.encoder_until
        with torch.set_grad_enabled(learns), torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            z = self.model.encoder(x).float()
        commitment = z.new_zeros(())
        if self._quantises():
            counts = {min(n, config.num_codebooks): odds for n, odds in config.codebooks_per_step.items()}
            odds = np.array(list(counts.values()), float)
            z, commitment = self.codebooks.quantise(z, int(rng.choice(list(counts), p=odds / odds.sum())), generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            y = self.model.decoder(z).float()[..., : x.shape[-1]]
        terms: dict[str, Tensor] = self.spectral(y, x) | {"commitment": commitment}
        ramp = min(
            1.0, 0.2 + 0.8 * self.step / max(1, config.spectral_ramp_steps)
        )  # magnitudes alone would lose the phase
        weights = {
            "mel": ramp * w.mel,
            "magnitude": ramp * w.magnitude,
            "complex": w.complex,
            "waveform": w.waveform,
            "commitment": w.commitment,
        }
        loss = torch.stack([weights[key] * value for key, value in terms.items()]).sum()
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, config.clip_gradient)
        self.optimizer.step()
        if not math.isfinite(float(loss.detach())):
            raise CheckpointError(
                f"loss is {float(loss)} at step {self.step}:"
                f" resume from the last checkpoint with a lower learning_rate than {config.learning_rate}"
            )
        return {"loss": float(loss.detach()), "lr": rate, "gradient": float(norm)} | {
            k: float(v.detach()) for k, v in terms.items()
        }

    def _quantises(self) -> bool:
        return self.config.start_from is not None or self.step >= self.config.unquantised_steps

    def _progress(self) -> float:
        """Of the annealing: 0 while the rate is steady, 1 at the end of the run."""
        config = self.config
        clock = self.minutes / config.max_minutes if config.max_minutes else 0.0
        return max(0.0, (self.step - config.steady_steps) / (config.steps - config.steady_steps), clock)

    def _rate(self, progress: float) -> float:
        """Linear warm-up, then a cosine down to the final rate."""
        high, low = self.config.learning_rate, self.config.final_learning_rate
        return min(1.0, (self.step + 1) / self.config.warmup_steps) * (
            low + (high - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        )

    @torch.no_grad()
    def _start_codebooks(self, generator: torch.Generator) -> None:
        frames = max(1, self.crop // 320) * 16
        n = math.ceil(16 * self.config.codebook_size / frames)  # k-means wants a dozen vectors an entry
        latents = torch.cat([self.model.encoder(torch.from_numpy(self.sampler.batch(2**41 + i, 16))) for i in range(n)])
        self.codebooks.start(latents.transpose(1, 2).reshape(-1, latents.shape[1]), generator)

    def _validate(self, running: dict[str, float]) -> None:
        if (
            not self.scored
            or not self._quantises()
            or (self.rows and self.rows[-1]["step"] == self.step)
        ):
            return
        scores = validate(self.model, self.scored.values())
        self.rows.append(
            {"step": self.step, "minutes": round(self.minutes, 2)}
            | {k: round(v, 6) for k, v in {**running, **scores}.items()}
        )
        logger.info("held out at step %d: %s", self.step, ", ".join(f"{k} {v:.4g}" for k, v in scores.items()))

    def _save(self) -> None:
        output, tensors = self.config.output, {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"optimizer.{k}": v for k, v in optimizer_tensors(self.optimizer).items()}
        state = {"minutes": self.minutes, "rows": self.rows, "config": self.config.model_dump(mode="json")}
        save_checkpoint(output / "checkpoints", self.step, tensors, state)
        export_model(self.model, output / "latest", self.config.half_precision_export)
        text = io.StringIO()
        writer = csv.DictWriter(
            text,
            sorted({k for row in self.rows for k in row}, key=lambda k: (k != "step", k != "minutes", k)),
            restval="",
        )
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(output / "log.csv", text.getvalue().encode())
        self._write_samples()

    @torch.no_grad()
    def _write_samples(self) -> None:
        folder, rate = self.config.output / "samples", self.config.sample_rate
        self.model.eval()
        for name, clip in self.listened.items():
            quantised, _ = rvq_quantize(
                self.model.encoder(torch.from_numpy(clip)[None, None]).transpose(1, 2),
                codebooks_of(self.model.quantizer),
            )
            decoded = self.model.decoder(quantised.transpose(1, 2))[0, 0, : len(clip)].numpy()
            for label, sound in (("original", clip), ("decoded", decoded)):
                content = io.BytesIO()
                sf.write(content, np.clip(sound, -1, 1), rate, format="WAV", subtype="PCM_16")
                write_atomic(folder / f"{name}_{label}.wav", content.getvalue())
        self.model.train()

    def _resume(self) -> bool:
        found = load_checkpoint(self.config.output / "checkpoints")
        if found is None:
            return False
        tensors, state = found
        try:
            self.model.load_state_dict(
                {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
            )
            restore_optimizer(
                self.optimizer,
                {k.removeprefix("optimizer."): v for k, v in tensors.items() if k.startswith("optimizer.")},
            )
        except (RuntimeError, ValueError) as exc:
            raise CheckpointError(
                f"the checkpoint in {self.config.output} is of another architecture:"
                " use its settings or a fresh output folder"
            ) from exc
        self.step, self.minutes, self.rows = state["step"], state["minutes"], state["rows"]
        now = self.config.model_dump(mode="json")
        changed = {k: f"{state['config'].get(k)!r} -> {v!r}" for k, v in now.items() if state["config"].get(k) != v}
        logger.info("resuming at step %d%s", self.step, f"; changed settings: {changed}" if changed else "")
        return True


def _largest_group(clips: list[Clip]) -> list[Clip]:
    """The held-out clips of one data set: scores over speech and music together would say little about either."""
    names = [clip.dataset for clip in clips]
    most = max(sorted(set(names)), key=names.count, default="")
    return [clip for clip in clips if clip.dataset == most]


def _spread(clips: list[Clip], count: int) -> list[Clip]:
    return [clips[i] for i in np.linspace(0, len(clips) - 1, min(count, len(clips))).round().astype(int)]
