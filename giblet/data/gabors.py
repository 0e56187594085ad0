"""The Gabor filters of pymoten, with directions and times put right, computed in batches as a film is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from giblet.data.pretrained import library
from giblet.errors import InputError

BATCH = 64
"""Pictures that are multiplied by the filters at a time."""

OFFSET = 1e-5
"""What pymoten adds to an energy before its logarithm is taken."""


class Filters(NamedTuple):
    """What each filter answers to, arrays of float64 (n_filters,)."""

    direction: np.ndarray
    """Degrees in which a grating that it answers to most moves: 0 is right, 90 up. Of 0 Hz the orientation, the same as
    180 degrees further; NaN where the spatial frequency is 0."""
    spatial_frequency: np.ndarray
    """Cycles per height of the picture."""
    temporal_frequency: np.ndarray
    """Hz."""
    across: np.ndarray
    """Where its middle is, from the left, in heights of the picture."""
    down: np.ndarray
    """From the top, in heights of the picture."""


class Carried(NamedTuple):
    """What the next answers need of the pictures before, those of the last ``width - 1``."""

    first: int
    """The number of the next picture."""
    found: np.ndarray
    """float64 (width - 1, 2 places): what the Gabors in space make of each."""
    level: np.ndarray
    """float64 (width - 1,): the mean over the pixels of each."""
    there: np.ndarray
    """float64 (width - 1,): 1 for each that there is."""


class Answers(NamedTuple):
    """Of all filters to a series of pictures."""

    newest: np.ndarray
    """int64 (n,): the last picture in each window."""
    energy: np.ndarray
    """float64 (n, n_filters)."""
    carried: Carried
    """With which :meth:`GaborPyramid.answers` goes on after these."""


class GaborPyramid:
    """The motion-energy filters of S. Nishimoto et al., as pymoten makes them, for pictures of one shape and rate.

    Each is a pair of Gabor functions of place and time a quarter of a cycle apart, and its answer the root of the sum
    of their squares. Filters of the same place, size and orientation share what is multiplied by the pictures, so that
    this is done once for a fifth of them.

    Parameters
    ----------
    size : tuple of int
        Height and width of the pictures.
    rate : int
        Pictures per second.
    spatial_frequencies : sequence of float
        Cycles per height of the picture; 0 for local brightness.
    temporal_frequencies : sequence of float
        Hz.
    keep_mean : bool
        Answer to the pictures as they are, as pymoten does: to a grey that never changes, too. By default the mean of
        the pixels in the window of each answer is taken off first.

    Raises
    ------
    InputError
        If pymoten is not installed, or there are no such filters.

    Attributes
    ----------
    filters : Filters
    width : int
        Pictures in the window of a filter, ``floor(rate * 2 / 3)``.

    References
    ----------
    S. Nishimoto et al. (2011), Reconstructing visual experiences from brain activity evoked by natural movies, Current
    Biology 21, 1641-1646. A. O. Nunez-Elizalde, F. Deniz, T. Dupre la Tour, M. Visconti di Oleggio Castello and
    J. L. Gallant (2021), pymoten: scientific python package for computing motion energy features from video.
    """

    def __init__(
        self,
        size: tuple[int, int],
        rate: int,
        *,
        spatial_frequencies: Sequence[float] = (0, 2, 4, 8, 16),
        temporal_frequencies: Sequence[float] = (0, 2, 4),
        keep_mean: bool = False,
    ) -> None:
        moten = library("moten", "motion")
        self.size, self.rate, self.keep_mean = size, rate, keep_mean
        _check(size, rate, spatial_frequencies, temporal_frequencies)
        made = moten.pyramids.MotionEnergyPyramid(
            stimulus_vhsize=size,
            stimulus_fps=rate,
            spatial_frequencies=[float(f) for f in spatial_frequencies],
            temporal_frequencies=[float(f) for f in temporal_frequencies],
        )
        self.width = int(made.definition.filter_temporal_width)
        about = made.parameters
        turned = np.where(about.temporal_freq == 0, about.direction % 180, (about.direction + 180) % 360)
        self.filters = Filters(
            np.where(about.spatial_freq == 0, np.nan, turned),
            about.spatial_freq, about.temporal_freq, about.centerh, about.centerv,
        )  # fmt: skip
        self._share(made, moten.core.mk_3d_gabor)

    def _share(self, made: Any, gabors_of: Any) -> None:
        """What the filters have in common: pairs of Gabors in space, pairs in time, and which filter has which."""
        in_space: dict[tuple[float, ...], int] = {}
        in_time: dict[tuple[float, ...], int] = {}
        spatial, temporal = [], []
        which_space, which_time, turned = [], [], []
        for one in made.filters:
            opposite = one.direction >= 180  # the same pair, with the sine the other way round
            place = (one.centerh, one.centerv, one.direction % 180, one.spatial_freq, one.spatial_env)
            course = (one.temporal_freq, one.temporal_env)
            if place not in in_space or course not in in_time:
                sine, cosine, early, late = gabors_of(self.size, **{**one, "direction": one.direction % 180})
                if place not in in_space:
                    in_space[place] = len(in_space)
                    seen = np.abs(sine) + np.abs(cosine) > made.mask_threshold  # pymoten leaves out the rest
                    spatial += [(sine * seen).ravel(), (cosine * seen).ravel()]
                if course not in in_time:
                    in_time[course] = len(in_time)
                    temporal += [early, late]
            which_space.append(in_space[place])
            which_time.append(in_time[course])
            turned.append(-1.0 if opposite else 1.0)
        self._spatial = np.array(spatial).T.copy()  # (pixels, 2 places)
        self._temporal = np.array(temporal)[:, ::-1].T.copy()  # (width, 2 courses), the oldest picture first
        self._space, self._time, self._sign = np.array(which_space), np.array(which_time), np.array(turned)

    def __len__(self) -> int:
        return len(self._sign)

    def interval(self, newest: int, *, causal: bool) -> tuple[Fraction, Fraction]:
        """The seconds for which an answer stands.

        Parameters
        ----------
        newest : int
            The last picture in its window.
        causal : bool
            As long as a picture lasts, from when the last one of the window is over: an answer to the past. By default
            around the middle of the window, where the filters answer most.

        Returns
        -------
        start, end : Fraction
            From the start of the first picture.
        """
        begin = Fraction(newest + 1) if causal else newest - Fraction(self.width, 2)
        return begin / self.rate, (begin + 1) / self.rate

    @property
    def delay(self) -> float:
        """Seconds from the middle of a window to that of the time for which its causal answer stands."""
        return (self.width / 2 + 1) / self.rate

    def answers(self, pictures: Iterable[np.ndarray | None], carried: Carried | None = None) -> Iterator[Answers]:
        """The energy of each filter, for every window that holds a picture.

        Parameters
        ----------
        pictures : iterable of (ndarray of float, shape size, or None)
            One for each 1/rate s. None where there is none: as before the first and after the last, the filters see the
            mean there, or 0 where that is kept.
        carried : Carried, optional
            That of earlier answers, to go on behind them: `pictures` begin with number ``carried.first``, which must be
            a multiple of :data:`BATCH`, so that the same are multiplied together.

        Yields
        ------
        Answers
            Of up to :data:`BATCH` windows, in order. Energies, without a logarithm.

        Raises
        ------
        InputError
            If a picture has another shape.
        """
        empty = np.zeros((self.width - 1, self._spatial.shape[1]))
        first, before, means, there = carried or (0, empty, np.zeros(self.width - 1), np.zeros(self.width - 1))
        for batch, last in _batches(pictures, BATCH):
            pixels, present = self._checked(batch)
            found = pixels @ self._spatial
            if last:
                found = np.concatenate([found, empty])
                pixels, present = (
                    np.concatenate([pixels, np.zeros((len(empty), pixels.shape[1]))]),
                    np.concatenate([present, np.zeros(len(empty))]),
                )
            before = np.concatenate([before, found])
            means, there = np.concatenate([means, pixels.mean(axis=1)]), np.concatenate([there, present])
            n = len(found)
            energy = self._energy(before, means, there)
            held = np.lib.stride_tricks.sliding_window_view(there, self.width).any(axis=1)
            newest = first + np.flatnonzero(held)
            first += n
            before, means, there = before[n:], means[n:], there[n:]
            yield Answers(newest, energy[held], Carried(first, before, means, there))

    def _checked(self, batch: list[np.ndarray | None]) -> tuple[np.ndarray, np.ndarray]:
        """Pictures (n, pixels), 0 where there is none, and which there are (n,)."""
        pixels, present = np.zeros((len(batch), self._spatial.shape[0])), np.zeros(len(batch))
        for k, picture in enumerate(batch):
            if picture is None:
                continue
            if picture.shape != self.size:
                raise InputError(
                    f"a picture is {picture.shape}, but these filters are for {self.size}: scale it, or make others"
                )
            pixels[k], present[k] = picture.ravel(), 1
        return pixels, present

    def _energy(self, found: np.ndarray, means: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Energies (n, n_filters) of what the Gabors in space make of ``n + width - 1`` pictures."""
        courses = _windowed(found, self._temporal)  # (n, 2 places, 2 courses)
        if not self.keep_mean:
            counts = _windowed(there[:, None], np.ones((self.width, 1)))[:, 0, 0]
            level = _windowed(means[:, None], np.ones((self.width, 1)))[:, 0, 0] / np.maximum(counts, 1)
            of_grey = _windowed(there[:, None], self._temporal)  # (n, 1, 2 courses)
            courses -= level[:, None, None] * self._spatial.sum(axis=0)[:, None] * of_grey
        n = len(courses)
        # (n, sine or cosine in time, sine or cosine in space, filter)
        courses = courses.reshape(n, -1, 2, self._temporal.shape[1] // 2, 2)
        chosen = courses[:, self._space, :, self._time]  # (n_filters, n, space, time): indices apart come first
        sine, cosine = chosen[:, :, 0] * self._sign[:, None, None], chosen[:, :, 1]
        one, other = sine[..., 1] + cosine[..., 0], cosine[..., 1] - sine[..., 0]
        return np.sqrt(one**2 + other**2).T


def _check(size: tuple[int, int], rate: int, spatial: Sequence[float], temporal: Sequence[float]) -> None:
    """An error where pixels or pictures are too coarse for a frequency: the filters would answer to another one."""
    if min(size) < 2:
        raise InputError(f"size is {size}; expected height and width of at least 2 pixels")
    if not spatial or not temporal or min(*spatial, *temporal, 0) < 0:
        raise InputError(f"frequencies are {tuple(spatial)} and {tuple(temporal)}; expected numbers of at least 0")
    for what, highest, limit in (
        ("spatial_frequencies", max(spatial), size[0] / 2), ("temporal_frequencies", max(temporal), rate / 2),
    ):  # fmt: skip
        if highest > limit:
            raise InputError(
                f"{what} go up to {highest:g}, but {size[0]} rows and {rate} pictures per second show up to {limit:g}: "
                "leave them out, or make the pictures finer"
            )


def _windowed(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of each window of rows their sums by column and by set of weights, (n, columns, sets)."""
    windows = np.lib.stride_tricks.sliding_window_view(values, len(weights), axis=0)  # (n, columns, width)
    return windows @ weights


def _batches(items: Iterable[Any], size: int) -> Iterator[tuple[list[Any], bool]]:
    """Lists of `size` items, and whether it is the last, which may be shorter or empty."""
    held: list[Any] = []
    for item in items:
        if len(held) == size:
            yield held, False
            held = []
        held.append(item)
    yield held, True
