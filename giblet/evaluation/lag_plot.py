"""A picture of the check that a scan follows its stimulus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from giblet.errors import InputError
from giblet.evaluation.alignment import AlignmentCheck
from giblet.files import atomic_path


def check_plotting() -> None:
    """Raise early if a plot is asked for and could not be made.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as exc:
        raise InputError("plots need matplotlib: pip install 'giblet[plot]', or leave out `plot`") from exc


def plot_checks(checks: Sequence[AlignmentCheck], path: str | Path) -> Path:
    """Draw correlation by lag, one panel per regressor on common axes, with the 95 % null and the best lag.

    Parameters
    ----------
    checks : sequence of AlignmentCheck
    path : str or Path
        ``.png``, ``.pdf`` or ``.svg``.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        If matplotlib is absent, or the file is of another type or cannot be written.
    """
    check_plotting()
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise InputError(f"the plot is called {path.name}: its name must end in .png, .pdf or .svg")
    figure = Figure(figsize=(6.4, 0.8 + 2.6 * len(checks)), layout="constrained")
    axes = figure.subplots(len(checks), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    for axis, one in zip(axes, checks, strict=True):
        scan = one.scan
        if len(one.targets) > 1:
            lines = axis.plot(scan.lags, scan.r, color="0.75", linewidth=0.8)
            lines[0].set_label("each region or voxel")
        axis.plot(scan.lags, scan.mean_r, color="C0", linewidth=2, label="mean" if len(one.targets) > 1 else None)
        axis.axhline(scan.mean_threshold, color="C3", linestyle="--", label="95 % of surrogates stay below")
        axis.axhline(0, color="0.85", linewidth=0.8, zorder=0)
        axis.axvline(0, color="0.3", linewidth=0.8)
        axis.plot(scan.mean_best_lag, one.r, "o", color="C0")
        name = one.name.replace("_", " ")
        axis.set_title(
            f"{name}: best lag {scan.mean_best_lag:+g} s, r = {one.r:.2f}, p = {scan.mean_p:.2g} ({one.verdict})",
            fontsize="medium",
        )
        axis.set_ylabel("correlation")
    axes[-1].set_xlabel("lag, s (positive: BOLD comes later than the clock says)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), fontsize="small", frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
    return path
