"""The adversarial phase of codec training: discriminators that tell decoded from recorded sound, and what they teach.

Distances to the target average over what the codes do not say, which sounds dull; a discriminator asks for any detail
that sounds recorded. Scores such as SI-SDR fall a little then, and the ear gains.

References
----------
Défossez, Copet, Synnaeve, Adi (2022). High Fidelity Neural Audio Compression, section 3.4. https://arxiv.org/abs/2210.13438
Lim, Ye (2017). Geometric GAN (the hinge loss). https://arxiv.org/abs/1705.02894
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from giblet.codec.training.settings import AdversarialSettings

DECAY = 0.999
"""Of the running gradient norms, per step, as in the paper's loss balancer."""


class STFTDiscriminator(nn.Module):
    """Judges each patch of a complex spectrogram at one resolution.

    Parameters
    ----------
    n_fft : int
        STFT window in samples, with a hop of a quarter.
    channels : int
        Of each hidden layer; 32 in the paper.
    """

    def __init__(self, n_fft: int, channels: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        # kernels over (time, frequency): 3 x 9 as in the published code, which the paper gives as 3 x 8
        layers = [nn.Conv2d(2, channels, (3, 9), padding=(1, 4))]
        layers += [
            nn.Conv2d(channels, channels, (3, 9), (1, 2), padding=(dilation, 4), dilation=(dilation, 1))
            for dilation in (1, 2, 4)
        ]
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, 1, 3, padding=1)]
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """Five feature maps of the waveforms' spectrograms, and the logits.

        Parameters
        ----------
        waveform : Tensor of float32, shape (B, 1, N)
            N of at least `n_fft`.

        Returns
        -------
        list of Tensor
            Feature maps of shape (B, channels, frames, bins), then the logits, (B, 1, frames, bins); the bins are
            halved three times.
        """
        window = self.get_buffer("window")
        spectrum = torch.stft(
            waveform[:, 0], self.n_fft, self.n_fft // 4, window=window, center=False, return_complex=True
        )
        # over the window's energy, as published: the parts of noise of variance 1 have 1/2 each
        x = torch.view_as_real(spectrum / window.norm()).permute(0, 3, 2, 1)  # (B, 2, frames, bins)
        maps = []
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.2)
            maps.append(x)
        return [*maps, self.layers[-1](x)]


def discriminator_hinge(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Mean over the discriminators of max(0, 1 - D(recorded)) + max(0, 1 + D(decoded)): 2 for one that knows nothing.

    Parameters
    ----------
    real, fake : list of list of Tensor
        What each discriminator returns for recorded and for decoded sound; its last tensor holds the logits.

    Returns
    -------
    Tensor of float32, shape ()
    """
    losses = [F.relu(1 - r[-1]).mean() + F.relu(1 + f[-1]).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def generator_hinge(fake: list[list[Tensor]]) -> Tensor:
    """Mean over the discriminators of max(0, 1 - D(decoded)): 0 once decoded sound passes for recorded.

    Parameters
    ----------
    fake : list of list of Tensor
        What each discriminator returns for decoded sound; its last tensor holds the logits.

    Returns
    -------
    Tensor of float32, shape ()
    """
    return torch.stack([F.relu(1 - f[-1]).mean() for f in fake]).mean()


def feature_distance(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Mean over discriminators and hidden layers of the absolute difference, over the mean size for recorded sound.

    Parameters
    ----------
    real, fake : list of list of Tensor
        What each discriminator returns for recorded and for decoded sound; the logits do not count.

    Returns
    -------
    Tensor of float32, shape ()
    """
    pairs = [
        (r, f) for reals, fakes in zip(real, fake, strict=True) for r, f in zip(reals[:-1], fakes[:-1], strict=True)
    ]
    return torch.stack([F.l1_loss(f, r) / (r.abs().mean() + 1e-6) for r, f in pairs]).mean()


class Adversary(nn.Module):
    """Discriminators at several resolutions with their optimiser, and their say in what the codec learns.

    Weights are relative, as with the paper's loss balancer: gradients at the decoded waveform are divided by their
    running norm, so that weight 1 pushes as hard as all reconstruction losses together, whatever the losses' units.
    The paper divides the reconstruction's gradients too; here they keep their size, and with it the learning rate its
    meaning. Its weights (adversarial 3, features 3, reconstruction 1.1) are 2.7 and 2.7 here.

    Equal at the waveform is not equal in the codec: measured on the bundled one, a push of the same size there has 20
    to 77 times the reconstruction's gradient in the codec's weights (discriminators fresh, and after up to 300 steps).
    Hence default weights of 0.02, with which the two are about equal where they are learned from.

    Parameters
    ----------
    settings : AdversarialSettings
    seed : int
        Of the first weights; the global generator is left as it was.
    bfloat16 : bool
        Run the convolutions in bfloat16.
    """

    def __init__(self, settings: AdversarialSettings, seed: int, bfloat16: bool = False) -> None:
        super().__init__()
        self.settings, self.low_precision = settings, bfloat16
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.discriminators = nn.ModuleList(STFTDiscriminator(n, settings.channels) for n in settings.scales)
        # sums, not means: only their ratios count. Of the reconstruction, adversarial and feature gradients.
        self.register_buffer("norms", torch.zeros(3))
        self.optimizer = torch.optim.Adam(self.parameters(), lr=settings.learning_rate, betas=(0.5, 0.9), foreach=True)

    def forward(self, waveform: Tensor) -> list[list[Tensor]]:
        """What each discriminator returns.

        Parameters
        ----------
        waveform : Tensor of float32, shape (B, 1, N)
            N of at least the longest of the settings' `scales`.

        Returns
        -------
        list of list of Tensor of float32
            As `STFTDiscriminator.forward`, for each discriminator.
        """
        with torch.autocast(waveform.device.type, torch.bfloat16, enabled=self.low_precision):
            return [[x.float() for x in discriminator(waveform)] for discriminator in self.discriminators]

    def step(self, decoded: Tensor, original: Tensor, gradient: Tensor, step: int) -> tuple[Tensor, dict[str, float]]:
        """One step of both sides: the discriminators learn if it is their turn, then judge once they lead far enough.

        Parameters
        ----------
        decoded : Tensor of float32, shape (B, 1, N)
            A leaf that requires gradients, apart from the codec's graph.
        original : Tensor of float32, shape (B, 1, N)
            What it should sound like.
        gradient : Tensor of float32, shape (B, 1, N)
            Of the reconstruction losses at `decoded`.
        step : int
            Of the training run.

        Returns
        -------
        gradient : Tensor of float32, shape (B, 1, N)
            With what the discriminators ask for added.
        losses : dict of str to float
            `discriminator` when they learned, `adversarial` and `features` when they judged.
        """
        lead, since = self.settings.lead_steps, step - self.settings.from_step
        losses = {} if since % self.settings.every else {"discriminator": self.learn(decoded.detach(), original)}
        # divided by its norm, the gradient of a discriminator that knows nothing would be loud noise
        if since < lead:
            return gradient, losses
        ramp = min(1.0, (since - lead + 1) / max(1, lead))
        gradient, judged = self.judge(decoded, original, gradient, ramp)
        return gradient, losses | judged

    def learn(self, decoded: Tensor, original: Tensor) -> float:
        """One step of the discriminators.

        Parameters
        ----------
        decoded : Tensor of float32, shape (B, 1, N)
            Gets no gradient.
        original : Tensor of float32, shape (B, 1, N)
            What it should sound like.

        Returns
        -------
        float
            Their hinge loss before the step.
        """
        loss = discriminator_hinge(self(original), self(decoded.detach()))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def judge(
        self, decoded: Tensor, original: Tensor, gradient: Tensor, ramp: float = 1.0
    ) -> tuple[Tensor, dict[str, float]]:
        """As `step`, without learning.

        Parameters
        ----------
        decoded : Tensor of float32, shape (B, 1, N)
            A leaf that requires gradients, apart from the codec's graph.
        original : Tensor of float32, shape (B, 1, N)
            What it should sound like.
        gradient : Tensor of float32, shape (B, 1, N)
            Of the reconstruction losses at `decoded`.
        ramp : float
            Factor on both weights, 0 to 1.

        Returns
        -------
        gradient : Tensor of float32, shape (B, 1, N)
            With what the discriminators ask for added.
        losses : dict of str to float
            `adversarial` and `features`.
        """
        with torch.no_grad():
            real = self(original)
        fake = self(decoded)
        losses = {"adversarial": generator_hinge(fake), "features": feature_distance(real, fake)}
        # grad and not backward: it leaves the discriminators' own gradients alone
        gradients = [gradient, *(torch.autograd.grad(x, decoded, retain_graph=True)[0] for x in losses.values())]
        norms = self.get_buffer("norms")
        norms.mul_(DECAY).add_(torch.stack([g.flatten(1).norm(dim=1).mean() for g in gradients]))
        for weight, size, push in zip(
            (self.settings.weight, self.settings.feature_weight), norms[1:], gradients[1:], strict=True
        ):
            gradient = gradient + ramp * weight * norms[0] / size.clamp(min=1e-12) * push
        return gradient, {name: float(loss.detach()) for name, loss in losses.items()}
