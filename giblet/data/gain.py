"""By how much a film's sound is made louder."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

LOUDEST = 200.0
"""dB, up or down: more than any sound or its quiet parts have, so that whoever says more means something else."""


def check_gain(gain: Any) -> float | Literal["peak"]:
    """A gain in dB, or the word "peak".

    Parameters
    ----------
    gain : float, int or str
        In dB, as a number or as text, or ``"peak"``.

    Returns
    -------
    float or "peak"
        In dB.

    Raises
    ------
    ValueError
        If it is neither, or beyond 200 dB up or down.

    Examples
    --------
    >>> check_gain("-6"), check_gain("peak")
    (-6.0, 'peak')
    """
    if gain == "peak":
        return "peak"
    try:
        decibels = float("nan" if isinstance(gain, bool) else gain)
    except (TypeError, ValueError):
        decibels = float("nan")
    if not abs(decibels) <= LOUDEST:
        raise ValueError(f"expected a number of dB from -{LOUDEST:g} to {LOUDEST:g}, or 'peak'")
    return decibels


def gain_looks_ahead(gain: float | Literal["peak"]) -> str:
    """Why sound with that gain depends on what comes later; empty where it does not.

    Parameters
    ----------
    gain : float or "peak"

    Returns
    -------
    str
        As :attr:`giblet.data.processor.Processor.looks_ahead`.
    """
    return "gain='peak' goes by the loudest sample of the whole film" if gain == "peak" else ""


Gain = Annotated[float | Literal["peak"], BeforeValidator(check_gain)]
"""By how many dB sound is made louder; "peak": as many as bring its loudest sample to full scale."""
