"""One step of codec training: what is drawn, decoded, compared and learned. Files and the clock are `loop.py`'s."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from giblet.checkpoints import joined, optimizer_tensors, restore_optimizer, separated
from giblet.codec.architecture import codebooks_of
from giblet.codec.encodec import CODES_OF, codes_digest, codes_fingerprint
from giblet.codec.loading import find_codec, read_model
from giblet.codec.network import build_config, build_model
from giblet.codec.quantizer import rvq_quantize
from giblet.codec.training.adversary import Adversary
from giblet.codec.training.checkpoints import load_weights
from giblet.codec.training.codebooks import CodebookTrainer
from giblet.codec.training.data import CropSampler
from giblet.codec.training.losses import BandProbe, EnvelopeLoss, LevelLoss, MultiScaleLoss
from giblet.codec.training.settings import CodecTrainingSettings
from giblet.codec.training.start import match_level, transform_start, waken
from giblet.errors import CheckpointError

RAMPED = ("mel", "magnitude")
"""Terms that grow to their weight: magnitudes alone would lose the phase."""


def annealing(config: CodecTrainingSettings, step: int, minutes: float) -> float:
    """How much of the annealing is done: by the steps after the steady ones or by the clock, whichever is further.

    Parameters
    ----------
    config : CodecTrainingSettings
    step : int
        How many steps are done.
    minutes : float
        How long the run has taken so far; it counts where `max_minutes` is set.

    Returns
    -------
    float
        0 before it begins, 1 or more at the end of the run.
    """
    clock = minutes / config.max_minutes if config.max_minutes else 0.0
    return max(0.0, (step - config.steady_steps) / (config.steps - config.steady_steps), clock)


def learning_rate(config: CodecTrainingSettings, step: int, annealed: float) -> float:
    """Linear warm-up, then a cosine down to the final rate over the annealing.

    Parameters
    ----------
    config : CodecTrainingSettings
    step : int
        Number of the step, from 0.
    annealed : float
        See `annealing`.

    Returns
    -------
    float
    """
    high, low = config.learning_rate, config.final_learning_rate
    return min(1.0, (step + 1) / config.warmup_steps) * (
        low + (high - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, annealed)))
    )


def _keep_still(model: Any) -> None:
    """Encoder, and biases of the decoder's convolutions: one step of Adam on those is as large as a quiet sound."""
    model.encoder.requires_grad_(False)
    for layer in model.decoder.modules():
        if isinstance(layer, torch.nn.Conv1d | torch.nn.ConvTranspose1d) and layer.bias is not None:
            layer.bias.requires_grad_(False)


class Learner:
    """A codec in training, with everything that learns: its weights, codebooks, optimisers and, if any, the adversary.

    Parameters
    ----------
    config : CodecTrainingSettings
    sampler : CropSampler
        What to learn from.
    """

    def __init__(self, config: CodecTrainingSettings, sampler: CropSampler) -> None:
        self.config, self.sampler = config, sampler
        torch.manual_seed(config.seed)
        self.model: Any = build_model(
            build_config(
                config.num_codebooks,
                config.codebook_size,
                config.hidden_dim,
                config.sample_rate,
                config.num_filters,
                config.num_lstm_layers,
                config.num_residual_layers,
            )
        ).train()
        self.codebooks = CodebookTrainer(self.model.quantizer, config.codebook_decay, loudness=config.codebook_loudness)
        self.spectral, self.envelope = MultiScaleLoss(config.sample_rate), EnvelopeLoss(config.sample_rate)
        self.level = LevelLoss(config.sample_rate)
        if config.keep_codes:
            _keep_still(self.model)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.probe = None
        if config.loss_weights.probe:
            self.probe = BandProbe(config.hidden_dim, config.sample_rate, self.model.config.hop_length)
            self.parameters += self.probe.parameters()
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=(0.8, 0.99), weight_decay=config.weight_decay, foreach=True
        )
        self.adversary = (
            Adversary(config.adversarial, config.seed, config.bfloat16) if config.adversarial is not None else None
        )

    def begin(self) -> None:
        """Weights of a new run: another codec's, or a transform fitted to the sound.

        Raises
        ------
        CodecError
            If there is no codec to start from by that name, or it cannot be reached.
        CheckpointError
            If it is of another architecture or damaged, or the codes cannot be kept.
        InputError
            If a file of sound cannot be read, or holds samples that are not finite numbers.
        """
        if self.config.start_from is None:
            sound = np.concatenate([self.sampler.batch(2**40 + i, 16) for i in range(8)])
            transform_start(self.model, torch.from_numpy(sound))
        else:
            load_weights(self.model, find_codec(str(self.config.start_from))[0].parent)
        if self.config.waken:
            waken(self.model, torch.from_numpy(self.sampler.batch(2**43, 16)))
        if self.config.match_level:
            match_level(self.model, torch.from_numpy(self.sampler.batch(2**44, 64)))
        if self.probe is not None:
            self._start_probe(self.probe)
        if self.config.keep_codes:
            self._note_whose_codes()

    @property
    def codes_of(self) -> dict[str, str] | None:
        """With `keep_codes`: whose codes they are, as the codec's configuration will say; see `codes_fingerprint`."""
        return getattr(self.model.config, CODES_OF, None)

    @codes_of.setter
    def codes_of(self, value: dict[str, str] | None) -> None:
        if value is not None:
            setattr(self.model.config, CODES_OF, value)

    def result(self) -> Any:
        """The codec as it is to be used: the one that learned, or a mean of it and the one that it started from.

        Returns
        -------
        transformers.EncodecModel

        Raises
        ------
        CodecError
            If `start_share` asks for the codec to start from and it is gone.
        """
        share = self.config.start_share
        if not share:
            return self.model
        name = str(self.config.start_from)
        start = read_model(*find_codec(name), name).weights
        mean = copy.deepcopy(self.model)
        mean.decoder.load_state_dict(
            {key: torch.lerp(value, start[f"decoder.{key}"], share) for key, value in mean.decoder.state_dict().items()}
        )
        return mean

    def quantizes(self, step: int) -> bool:
        """Whether the codebooks are in use at a step.

        Parameters
        ----------
        step : int
            Number of the step, from 0.

        Returns
        -------
        bool
        """
        return self.config.start_from is not None or step >= self.config.unquantized_steps

    def step(self, step: int, annealed: float) -> dict[str, float]:
        """Learn from batch `step`.

        Parameters
        ----------
        step : int
            Number of the step; all that is random in it follows from this and the seed.
        annealed : float
            See `annealing`.

        Returns
        -------
        dict of str to float
            `loss` (of the reconstruction and commitment, weighted), `lr`, `gradient` (its norm before clipping), and
            each term, unweighted.

        Raises
        ------
        CheckpointError
            If the loss is no longer a number.
        """
        config = self.config
        rng = np.random.default_rng([config.seed, step, 1])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rate = learning_rate(config, step, annealed)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        x = torch.from_numpy(self.sampler.batch(step, config.batch_size))
        if step == config.unquantized_steps and config.start_from is None:
            self._start_codebooks(generator)
        # pauses are a tight cloud of latents that moves as a whole: its codes spread over it once it stands still
        learns = annealed < config.encoder_until and not config.keep_codes
        with torch.set_grad_enabled(learns), torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            z = self.model.encoder(x).float()
        asked = {"commitment": z.new_zeros(())}  # of the latents
        if self.quantizes(step):
            counts, odds = zip(*config.codebooks_per_step.items(), strict=True)
            n_books = int(rng.choice(counts, p=np.array(odds) / sum(odds)))
            z, asked["commitment"] = self.codebooks.quantize(z, n_books, generator, learn=not config.keep_codes)
        if self.probe is not None:
            asked["probe"] = self.probe(z, x)
        of_latents = torch.stack([self._weight(key, step) * value for key, value in asked.items()]).sum()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            y = self.model.decoder(z).float()[..., : x.shape[-1]]
        # a leaf: what the losses ask of the waveform is balanced before it goes on into the codec
        decoded = y.detach().requires_grad_()
        terms: dict[str, Tensor] = self.spectral(decoded, x)
        if config.loss_weights.envelope:
            terms["envelope"] = self.envelope(decoded, x)
        if config.loss_weights.level:
            terms["level"] = self.level(decoded, x)
        reconstruction = torch.stack([self._weight(key, step) * value for key, value in terms.items()]).sum()
        (gradient,) = torch.autograd.grad(reconstruction, decoded)
        loss = float(reconstruction.detach() + of_latents.detach())
        figures = {key: float(value.detach()) for key, value in (terms | asked).items()}
        if self.adversary is not None and step >= self.adversary.settings.from_step:
            gradient, judged = self.adversary.step(decoded, x, gradient, step)
            figures |= judged
        self.optimizer.zero_grad()
        # a scalar whose gradient at y is the one balanced above
        ((y * gradient).sum() + of_latents).backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, config.clip_gradient))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise CheckpointError(
                f"loss is {loss} and its gradient {norm} at step {step}:"
                f" resume from the last checkpoint with a lower learning_rate than {config.learning_rate}"
            )
        self.optimizer.step()
        return {"loss": loss, "lr": rate, "gradient": norm} | figures

    def _weight(self, term: str, step: int) -> float:
        ramp = min(1.0, 0.2 + 0.8 * step / max(1, self.config.spectral_ramp_steps)) if term in RAMPED else 1.0
        return ramp * float(getattr(self.config.loss_weights, term))

    def _note_whose_codes(self) -> None:
        name = str(self.config.start_from)
        start = read_model(*find_codec(name), name)
        digest = codes_digest(self.model)
        if digest != codes_digest(start):
            raise CheckpointError(
                f"keep_codes: {name} has other codes than this run begins with; set its num_residual_layers and leave"
                " out waken, or leave out keep_codes"
            )
        self.codes_of = {"fingerprint": codes_fingerprint(start), "digest": digest}

    @torch.no_grad()
    def _start_probe(self, probe: BandProbe) -> None:
        sounds = [torch.from_numpy(self.sampler.batch(2**42 + i, 16)) for i in range(8)]
        latents = torch.cat([self.model.encoder(sound) for sound in sounds])
        if self.config.start_from is not None:
            latents = rvq_quantize(latents.transpose(1, 2), codebooks_of(self.model))[0].transpose(1, 2)
        probe.fit(latents, torch.cat(sounds))

    @torch.no_grad()
    def _start_codebooks(self, generator: torch.Generator) -> None:
        frames = max(1, self.sampler.crop // 320) * 16
        n = math.ceil(16 * self.config.codebook_size / frames)  # k-means wants a dozen vectors an entry
        latents = torch.cat([self.model.encoder(torch.from_numpy(self.sampler.batch(2**41 + i, 16))) for i in range(n)])
        self.codebooks.start(latents.transpose(1, 2).reshape(-1, latents.shape[1]), generator)

    def tensors(self) -> dict[str, Tensor]:
        """All that a checkpoint needs to go on bit for bit, by name.

        Returns
        -------
        dict of str to Tensor
            Model, optimisers and, where there are any, probe and adversary.

        See Also
        --------
        restore : puts them back.
        """
        parts = {"model": self.model.state_dict(), "optimizer": optimizer_tensors(self.optimizer)}
        if self.probe is not None:
            parts["probe"] = self.probe.state_dict()
        if self.adversary is not None:
            parts["adversary"] = self.adversary.state_dict()
            parts["adversary_optimizer"] = optimizer_tensors(self.adversary.optimizer)
        return joined(parts)

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Put back what `tensors` returned at a step.

        Parameters
        ----------
        tensors : dict of str to Tensor
            As `tensors` returns them.
        step : int
            How many steps were done.

        Raises
        ------
        CheckpointError
            If it is of another architecture or has another adversary, or lacks that of a phase that has begun.

        See Also
        --------
        tensors : returns them.
        """
        names = ("model", "optimizer", "probe", "adversary", "adversary_optimizer")
        parts: dict[str, dict[str, Tensor]] = {name: {} for name in names} | separated(tensors)
        try:
            self.model.load_state_dict(parts["model"])
            if self.probe is not None:
                self.probe.load_state_dict(parts["probe"])
            restore_optimizer(self.optimizer, parts["optimizer"])
        except (RuntimeError, ValueError) as exc:
            raise CheckpointError(
                f"the checkpoint in {self.config.output} is of another architecture:"
                " use its settings or a fresh output folder"
            ) from exc
        # until its phase begins an adversary is as it was made: adding or changing one before then changes nothing else
        if self.adversary is None or step <= self.adversary.settings.from_step:
            return
        if not parts["adversary"]:
            raise CheckpointError(
                f"adversarial.from_step is {self.adversary.settings.from_step}, but the checkpoint in"
                f" {self.config.output} is at step {step} and has no adversary; set {step} or more"
            )
        try:
            self.adversary.load_state_dict(parts["adversary"])
            restore_optimizer(self.adversary.optimizer, parts["adversary_optimizer"])
        except (RuntimeError, ValueError) as exc:
            raise CheckpointError(
                f"the checkpoint in {self.config.output} has another adversary:"
                " use its adversarial.channels and adversarial.scales, or a fresh output folder"
            ) from exc
