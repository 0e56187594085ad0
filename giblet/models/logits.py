"""Class scores of codes in factors: the full table of a film, 8 x 112 x 1024 per TR, would not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Rows times frames times entries that are held at a time. On a CPU what stays in its cache is several times faster; a
# GPU wants few large steps (128 MB of float32).
AT_A_TIME = {"cpu": 1 << 19}
ELSEWHERE = 1 << 25
# exp(-60) adds nothing to a sum of 1, and smaller numbers are denormal: CPUs take ten times as long for those.
FAINT = -60.0


@dataclass
class CodeLogits:
    """Scores of each entry of each codebook at each frame, as queries and keys: ``query . key + bias``."""

    queries: Tensor
    """float32 (..., K, F, r)."""
    keys: Tensor
    """float32 (K, V, r)."""
    bias: Tensor
    """float32 (K, V)."""

    def __getitem__(self, rows: Tensor | slice | int) -> CodeLogits:
        """Some rows of the leading axes, by index or mask."""
        return CodeLogits(self.queries[rows], self.keys, self.bias)

    def dense(self) -> Tensor:
        """All scores: 3.7 MB per TR at the default shapes.

        Returns
        -------
        Tensor, shape (..., K, F, V)
        """
        return torch.einsum("...kfr,kvr->...kfv", self.queries, self.keys) + self.bias[:, None]

    @torch.no_grad()
    def argmax(self) -> Tensor:
        """The best entry.

        Returns
        -------
        Tensor, shape (..., K, F), int32
        """
        return self._by_block(lambda scores, k: scores.argmax(-1).int())

    @torch.no_grad()
    def expected(self, codebooks: Tensor) -> Tensor:
        """Mean latent under the scores' own probabilities, codebooks taken as independent.

        Parameters
        ----------
        codebooks : Tensor, shape (K, V, D)
            Of the codec.

        Returns
        -------
        Tensor, shape (..., D, F), float32
        """
        each = self._by_block(lambda scores, k: scores.softmax(-1) @ codebooks[k])  # (..., K, F, D)
        return each.sum(-3).transpose(-1, -2)

    def cross_entropy(self, codes: Tensor) -> Tensor:
        """Cross-entropy of codes under scores with one leading axis, mean over frames.

        Nothing of size V is kept for the way back: the scores of a block are computed anew there.

        Parameters
        ----------
        codes : Tensor of int, shape (N, K, F)
            In [0, V - 1].

        Returns
        -------
        Tensor, shape (N, K), float32
            Nats per frame.
        """
        with torch.autocast(codes.device.type, enabled=False):
            return _CrossEntropy.apply(
                self.queries.float(), self.keys.float(), self.bias.float(), codes.long(), self._rows()
            )

    def _rows(self) -> int:
        size = AT_A_TIME.get(self.queries.device.type, ELSEWHERE)
        return max(1, size // (self.queries.shape[-2] * self.keys.shape[1]))

    def _by_block(self, answer: Callable[[Tensor, int], Tensor]) -> Tensor:
        *lead, n_books, n_frames, width = self.queries.shape
        flat = self.queries.reshape(-1, n_books, n_frames, width)
        books = []
        for k in range(n_books):
            rows = [answer(_scores(q[:, k], self.keys[k], self.bias[k]), k) for q in flat.split(self._rows())]
            books.append(torch.cat(rows))
        out = torch.stack(books, dim=1)
        return out.reshape(*lead, *out.shape[1:])


def log_frequency(counts: Tensor) -> Tensor:
    """Log share of each code in its codebook; never minus infinity.

    Half a count for every entry: what was never seen in training is rare, not impossible.

    Parameters
    ----------
    counts : Tensor, shape (K, V)
        How many times each code occurs.

    Returns
    -------
    Tensor, shape (K, V), float32
        Natural logarithms.
    """
    return ((counts + 0.5) / (counts + 0.5).sum(1, keepdim=True)).log().float()


def _scores(queries: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
    """(..., r), (V, r), (V,) to (..., V), float32 whatever the precision around it."""
    with torch.autocast(queries.device.type, enabled=False):
        return nn.functional.linear(queries.float(), keys.float(), bias.float())


class _CrossEntropy(torch.autograd.Function):
    """Cross-entropy of factored scores, block by block both ways; once differentiable."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, bias: Tensor, codes: Tensor, rows: int) -> Tensor:
        n, n_books, n_frames, width = queries.shape
        log_sums = queries.new_empty(n, n_books, n_frames)
        nats = queries.new_empty(n, n_books)
        for k, at in _blocks(n, n_books, rows):
            scores = _scores(queries[at, k].reshape(-1, width), keys[k], bias[k])
            chosen = scores.gather(1, codes[at, k].reshape(-1, 1))[:, 0]
            highest = scores.amax(1)
            log_sum = scores.sub_(highest[:, None]).clamp_min_(FAINT).exp_().sum(1).log() + highest
            nats[at, k] = (log_sum - chosen).view(-1, n_frames).mean(1)
            log_sums[at, k] = log_sum.view(-1, n_frames)
        ctx.save_for_backward(queries, keys, bias, codes, log_sums)
        ctx.rows = rows
        return nats

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, bias, codes, log_sums = ctx.saved_tensors
        n, n_books, n_frames, width = queries.shape
        d_queries, d_keys, d_bias = torch.empty_like(queries), torch.zeros_like(keys), torch.zeros_like(bias)
        for k, at in _blocks(n, n_books, ctx.rows):
            flat = queries[at, k].reshape(-1, width)
            share = _scores(flat, keys[k], bias[k]).sub_(log_sums[at, k].reshape(-1, 1)).clamp_min_(FAINT).exp_()
            share.scatter_add_(1, codes[at, k].reshape(-1, 1), -share.new_ones(len(share), 1))
            share.mul_((grad[at, k, None].expand(-1, n_frames) / n_frames).reshape(-1, 1))
            d_queries[at, k] = (share @ keys[k]).view(-1, n_frames, width)
            d_keys[k].addmm_(share.T, flat)
            d_bias[k] += share.sum(0)
        return d_queries, d_keys, d_bias, None, None


def _blocks(n: int, n_books: int, rows: int) -> Iterator[tuple[int, slice]]:
    """Codebook and rows of each block."""
    yield from ((k, slice(at, at + rows)) for k in range(n_books) for at in range(0, n, rows))
