"""How numbers stand in the cells of a table."""

from __future__ import annotations

import numpy as np


def number(value: float | None) -> str:
    """A score as it is shown; a dash where there is none.

    Parameters
    ----------
    value : float or None

    Returns
    -------
    str
    """
    return "-" if value is None or not np.isfinite(value) else f"{round(value, 3) + 0.0:.3f}"  # a zero has no sign


def count(value: int | None) -> str:
    """A whole number as it is shown; a dash where there is none.

    Parameters
    ----------
    value : int or None

    Returns
    -------
    str
    """
    return "-" if value is None else f"{value:,}"


def p_value(value: float | None) -> str:
    """A p as it is shown; a dash where there is none.

    Parameters
    ----------
    value : float or None

    Returns
    -------
    str
    """
    if value is None or not np.isfinite(value):
        return "-"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
