"""How functions that take long say how far they are: as an amount done, or, where something is trained, as a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Progress = Callable[[float, float | None], None]
"""Called with what is done and what there is in all (None while unknown).

In seconds, unless a function says otherwise.
"""


@dataclass(frozen=True)
class TrainingStep:
    """Where a training is, after a step.

    Attributes
    ----------
    step, steps : int
        How many are done, and how many there are.
    losses : mapping of str to float
        Of this step, by name, and what else the training says of it.
    done : float
        Part of the training that is done, 0 to 1; by the clock where that ends it before the last step.
    means : mapping of str to float
        Running means of `losses`, where the training keeps them.
    """

    step: int
    steps: int
    losses: Mapping[str, float]
    done: float
    means: Mapping[str, float] = field(default_factory=dict)


TrainingProgress = Callable[[TrainingStep], None]
"""Called after each step."""


def in_units_of(progress: Progress | None, total: float) -> Progress | None:
    """A callback for work that counts otherwise, texts for example, and of which `progress` is told in its own unit.

    Parameters
    ----------
    progress : callable, optional
    total : float
        What there is in all, in the unit of `progress`.

    Returns
    -------
    callable or None
        None without `progress`.

    Examples
    --------
    >>> tell = in_units_of(lambda done, total: print(f"{done:g} of {total:g} s"), 60)
    >>> tell(1, 4)
    15 of 60 s
    """
    if progress is None:
        return None

    def tell(done: float, of: float | None) -> None:
        progress(total * done / of if of else 0.0, total)

    return tell
