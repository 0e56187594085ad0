"""Codebooks that learn: k-means for a start, moving averages from there, dead entries restarted.

They live in the buffers of transformers' `EncodecEuclideanCodebook`, so that what is trained is what is saved.

References
----------
van den Oord, Vinyals, Kavukcuoglu (2017). Neural discrete representation learning (appendix A.1). https://arxiv.org/abs/1711.00937
Dhariwal et al. (2020). Jukebox (restarts of dead entries). https://arxiv.org/abs/2005.00341
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from giblet.codec.quantizer import Codebook, nearest, residual_steps, straight_through


@torch.no_grad()
def kmeans(vectors: Tensor, n_clusters: int, generator: torch.Generator, iterations: int = 12) -> Tensor:
    """Lloyd's k-means; empty clusters restart at random vectors.

    Parameters
    ----------
    vectors : Tensor of float32, shape (N, D)
        At least one.
    n_clusters : int
    generator : torch.Generator
        Chooses the vectors to start and to restart at.
    iterations : int

    Returns
    -------
    Tensor of float32, shape (n_clusters, D)
        The centres.
    """
    n = len(vectors)
    order = torch.randperm(n, generator=generator)
    centres = vectors[order.repeat(-(-n_clusters // n))[:n_clusters]].clone()
    for _ in range(iterations):
        chosen = nearest(vectors, centres)
        count = torch.bincount(chosen, minlength=n_clusters).to(vectors.dtype)
        total = torch.zeros_like(centres).index_add_(0, chosen, vectors)
        spare = vectors[torch.randint(n, (n_clusters,), generator=generator)]
        centres = torch.where(count[:, None] > 0, total / count.clamp(min=1)[:, None], spare)
    return centres


class CodebookTrainer:
    """Quantizes during training and moves the codebooks of a transformers quantizer, in place.

    Parameters
    ----------
    quantizer : transformers EncodecResidualVectorQuantizer
    decay : float
        Of the moving averages, per step.
    dead_below : float
        An entry used less than this fraction of the mean use restarts at a vector of the current batch.
    split_above : float
        While an entry takes more than this multiple of the mean use, the least used one moves in beside it, one per
        step: pauses, a third of speech and nearly alike, otherwise share a single entry.
    loudness : float
        Exponent by which a frame's energy discounts its say in where entries lie. At 0 squared error rules, and
        quiet frames, small beside the spacing of the entries, end up sharing a handful of them; at 1 the
        relative error of every frame counts the same.
    """

    def __init__(
        self,
        quantizer: Any,
        decay: float = 0.99,
        dead_below: float = 0.01,
        split_above: float = 8.0,
        loudness: float = 0.0,
    ) -> None:
        self.books = [layer.codebook for layer in quantizer.layers]
        self.decay, self.loudness = decay, loudness
        self.dead_below, self.split_above = dead_below, split_above

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Set all codebooks, in place, by k-means: book after book, each on what the ones before left over.

        Parameters
        ----------
        latents : Tensor of float32, shape (N, D)
        generator : torch.Generator
            Of the k-means.
        """
        residual = latents
        for book in self.books:
            size = len(book.embed)
            centres = kmeans(residual, size, generator)
            chosen = nearest(residual, centres)
            count = torch.bincount(chosen, minlength=size).to(centres.dtype)
            use = (count / count.mean()).clamp(min=0.2)
            book.embed.copy_(centres)
            book.cluster_size.copy_(use)
            book.embed_avg.copy_(centres * use[:, None])
            book.inited.fill_(True)
            residual = residual - centres[chosen]

    def quantize(
        self, latents: Tensor, n_books: int, generator: torch.Generator, learn: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Quantize, learn, and return what the decoder and the loss need.

        Parameters
        ----------
        latents : Tensor of float32, shape (B, D, T)
            In the encoder's own layout.
        n_books : int
            How many codebooks this step uses.
        generator : torch.Generator
            Chooses the vectors at which dead entries restart.
        learn : bool
            Whether the codebooks move.

        Returns
        -------
        quantized : Tensor of float32, shape (B, D, T)
            With gradients straight through to `latents`.
        commitment : Tensor of float32, shape ()
            Mean over the codebooks of the squared distance left after each.
        """
        flat = latents.transpose(1, 2).reshape(-1, latents.shape[1])  # (B, D, T) -> (B * T, D)
        quantized = torch.zeros_like(flat)
        energy = flat.detach().square().sum(1)
        say = (energy / energy.mean().clamp(min=1e-12) + 1e-2) ** -self.loudness
        say = say / say.mean()
        commitment = flat.new_zeros(())
        books = self.books[:n_books]
        # A step holds a copy of the entries chosen: the decoder sees them as they were before the codebook learns.
        for book, step in zip(books, residual_steps(flat.detach(), (Codebook(b.embed) for b in books)), strict=True):
            if learn:
                self._learn(book, step.residual, step.codes, say, generator)
            quantized = quantized + step.entries
            commitment = commitment + F.mse_loss(flat, quantized)
        back = quantized.reshape(latents.shape[0], -1, latents.shape[1]).transpose(1, 2)  # (B * T, D) -> (B, D, T)
        return straight_through(latents, back), commitment / n_books

    @torch.no_grad()
    def _learn(self, book: Any, vectors: Tensor, chosen: Tensor, say: Tensor, generator: torch.Generator) -> None:
        size = len(book.embed)
        count = torch.zeros_like(book.cluster_size).index_add_(0, chosen, say)
        # in units of the mean use, so that thresholds do not depend on the batch
        scale = size / len(vectors)
        total = torch.zeros_like(book.embed).index_add_(0, chosen, vectors * say[:, None])
        book.cluster_size.mul_(self.decay).add_(count, alpha=(1 - self.decay) * scale)
        book.embed_avg.mul_(self.decay).add_(total, alpha=(1 - self.decay) * scale)
        dead = book.cluster_size < self.dead_below
        n_dead = int(dead.sum())
        if n_dead:
            fresh = vectors[torch.multinomial(say, n_dead, replacement=True, generator=generator)]
            book.embed_avg[dead] = fresh * 0.2
            book.cluster_size[dead] = 0.2
        most, least = int(book.cluster_size.argmax()), int(book.cluster_size.argmin())
        members = (chosen == most).nonzero()[:, 0]
        if book.cluster_size[most] > self.split_above and len(members):
            use = book.cluster_size[most] / 2
            book.embed_avg[most] *= 0.5
            book.cluster_size[most] = use
            book.embed_avg[least] = use * vectors[members[torch.randint(len(members), (1,), generator=generator)[0]]]
            book.cluster_size[least] = use
        book.embed.copy_(book.embed_avg / book.cluster_size[:, None])
