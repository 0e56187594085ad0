"""Training, validation and test TRs that share no haemodynamic response.

All places that keep what is tested out of what is learned, in the order in which data pass them:

- the split: :func:`make_splits` leaves a gap of an HRF behind each cut within a run;
  :func:`giblet.data.dataset.stimulus_split.split_stimulus` puts a second of film into one part for all who saw it, and
  :func:`giblet.training.parts.split_study` applies it, or says how much film of a split by subject leaks
- cleaning, which fits whole runs: ``split_study`` refuses it where a cut falls within a run
- numbers that are fitted, to training TRs alone: :meth:`giblet.data.dataset.normalise.Normaliser.fit`, means,
  deviations and levels of runs; :func:`giblet.training.build.model_of`, scales of losses, frequencies of codes and
  statistics of latents
- voxels that are left out, without a look at test TRs: :func:`giblet.training.columns.learnable`; those damaged only
  there: :func:`giblet.training.holes.with_damaged`
- windows, within one part and one run: :class:`giblet.data.dataset.windows.TRWindows`; of their TRs only those are
  scored whose BOLD and stimulus lie within:
  :meth:`giblet.models.autoencoder.MultimodalAutoencoder.scored_rows`
- prediction from the BOLD of the part alone: :func:`giblet.evaluation.predictions.predict`
- nulls from training codes, and a note at scores of TRs that were trained on: :func:`giblet.pipeline.scoring.score`
- a linear encoding model, by training TRs, with gaps between folds: :func:`giblet.encoding.fit_ridge`
- the codec's own training: :func:`giblet.codec.training.data.find_audio` holds out speakers and pieces

What is not prevented: ``FMRIProcessor(standardize=True)`` scales by whole runs, which training never asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any

import numpy as np

from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.renamed import renamed
from giblet.runs import run_labels, run_slices
from giblet.timing import check_tr, exact

HRF_SECONDS = 32.0
"""Length of the canonical response: BOLD of this long after a TR still depends on it."""


@dataclass(frozen=True)
class Splits:
    """TR indices of each part, ascending int64, and what was left out between them."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    gap: np.ndarray
    """TRs that belong to no part."""
    gap_trs: int
    """Length of a gap in TRs."""


def segments(trs: np.ndarray, run: np.ndarray) -> list[tuple[int, int]]:
    """The stretches ``[start, stop)`` of successive TRs within one run.

    Parameters
    ----------
    trs : ndarray of int, shape (n,)
        Ascending.
    run : ndarray of int, shape (n_trs,)
        Run of each TR of the scan.

    Returns
    -------
    list of tuple of int
        Start and stop of each.

    Examples
    --------
    >>> segments(np.array([0, 1, 2, 3, 6]), np.array([1, 1, 2, 2, 2, 2, 2]))
    [(0, 2), (2, 4), (6, 7)]
    """
    trs = np.asarray(trs)
    if not len(trs):
        return []
    breaks = np.flatnonzero((np.diff(trs) != 1) | (run[trs[1:]] != run[trs[:-1]])) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(trs, breaks)]


@renamed(runs="run")
@fill_doc
def make_splits(
    n_trs: int,
    tr: float,
    run: Any = None,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    gap: float = HRF_SECONDS,
    *,
    whole_runs: bool = False,
    min_trs: int = 1,
) -> Splits:
    """Cut a scan into training, validation and test TRs, in this order, each contiguous.

    Where a cut falls within a run, the TRs of the next `gap` seconds of that run belong to no part. Where it falls
    between runs nothing is left out, as no response crosses from one run into the next.

    Parameters
    ----------
    n_trs : int
        Volumes of the scan, all runs.
    tr : float
        %(tr)s
    run : array_like, shape (n_trs,), optional
        A run label per TR (``bold.run``); one run without it.
    fractions : (float, float, float)
        Shares of training, validation (may be 0) and test in the TRs that are used; they sum to 1.
    gap : float
        Seconds left out, rounded up to TRs; not below the length of the HRF (32 s) unless you know that shorter
        responses are modelled.
    whole_runs : bool
        Cut between runs only, as near to the fractions as they allow.
    min_trs : int
        The least length of a part, such as the window of a :class:`giblet.data.dataset.windows.TRWindows`.

    Returns
    -------
    Splits

    Raises
    ------
    InputError
        If an option is out of range, or the parts would be too short for the gap.

    See Also
    --------
    giblet.data.dataset.windows.TRWindows : Cut the TRs of a part into windows for training.

    Notes
    -----
    The function does not know which film a run showed; :func:`giblet.data.dataset.stimulus_split.split_stimulus` does.

    Examples
    --------
    >>> splits = make_splits(920, 1.5)
    >>> splits.gap_trs, len(splits.train), len(splits.val), len(splits.test)
    (22, 701, 88, 87)
    """
    seconds, step = exact(gap, "gap"), check_tr(tr)
    if seconds < 0 or n_trs < 1 or min_trs < 1:
        raise InputError(f"gap {gap} s, n_trs {n_trs}, min_trs {min_trs}; expected positive numbers")
    shares = [float(f) for f in fractions]
    if len(shares) != 3 or not all(isfinite(f) and f >= 0 for f in shares) or abs(sum(shares) - 1) > 1e-6:
        raise InputError(f"fractions are {tuple(fractions)}; expected three numbers for train, val, test that sum to 1")
    if shares[0] == 0 or shares[2] == 0:
        raise InputError(f"fractions are {tuple(fractions)}: train and test must not be 0, val may be")
    run, n_gap = run_labels(n_trs, run), ceil(seconds / step)
    edges = np.array([*(part.start for part in run_slices(n_trs, run)), n_trs])
    names = [name for name, share in zip(("train", "val", "test"), shares, strict=True) if share > 0]
    shares = [share for share in shares if share > 0]
    parts: dict[str, np.ndarray] = {"val": np.arange(0)}
    start = 0
    for k, name in enumerate(names):
        left = len(names) - k - 1  # cuts still to make
        if not left:
            stop = n_trs
        elif whole_runs:
            inner = edges[(edges > start) & (edges < n_trs)]
            inner = inner[: len(inner) - left + 1]  # a run for each part to come
            if not len(inner):
                raise InputError(f"{len(edges) - 1} runs cannot make {len(names)} parts of whole runs: give more runs")
            wanted = start + (n_trs - start) * shares[k] / sum(shares[k:])
            stop = int(inner[np.argmin(np.abs(inner - wanted))])
        else:
            usable = n_trs - start - left * n_gap
            stop = start + round(usable * shares[k] / sum(shares[k:]))
        if stop - start < min_trs:
            raise InputError(
                f"{n_trs} TRs of {tr} s are too short for {len(names)} parts with gaps of {n_gap} TRs ({gap:g} s): "
                f"{name} would have {max(0, stop - start)} TRs, expected {min_trs}; use other fractions, a longer "
                "scan, or no val"
            )
        parts[name] = np.arange(start, stop)
        end_of_run = int(edges[np.searchsorted(edges, stop - 1, side="right")])
        start = min(stop + n_gap, end_of_run)
    used = np.concatenate([parts["train"], parts["val"], parts["test"]])
    return Splits(parts["train"], parts["val"], parts["test"], np.setdiff1d(np.arange(n_trs), used), n_gap)
