"""Confounds chosen by a named strategy of nilearn, which also says which volumes are left out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from giblet.errors import InputError, reading

if TYPE_CHECKING:
    import pandas as pd

Strategy = Literal["simple", "scrubbing", "compcor", "ica_aroma"]
TABLE = re.compile(r"_desc-confounds_(?:timeseries|regressors)\.tsv$")
"""How fMRIPrep's names of tables of confounds end."""
AROMA = "_desc-smoothAROMAnonaggr_bold"
"""In the name of a scan that ICA-AROMA cleaned, which its strategy is for."""


def strategy_confounds(
    table: Path, bold: Path, strategy: str, options: Mapping[str, Any] | None = None, dummy_scans: int = 0
) -> tuple[pd.DataFrame, np.ndarray]:
    """What nilearn's ``load_confounds_strategy`` chooses of a table of fMRIPrep's.

    Parameters
    ----------
    table : Path
        fMRIPrep's ``*_desc-confounds_timeseries.tsv``, with its JSON beside it where the strategy is ``"compcor"``.
    bold : Path
        The scan that it belongs to.
    strategy : {"simple", "scrubbing", "compcor", "ica_aroma"}
    options : mapping, optional
        What that strategy takes in nilearn: ``motion``, ``global_signal``, ``fd_threshold``, ...
    dummy_scans : int
        Volumes left out at the beginning, beside what nilearn leaves out.

    Returns
    -------
    confounds : DataFrame of float, shape (n_trs, n_confounds)
    sample_mask : ndarray of int, shape (n_kept,)
        The volumes that are kept.

    Raises
    ------
    InputError
        If the table is not named as fMRIPrep names it, cannot be read, or nilearn does not take an option.

    See Also
    --------
    giblet.data.bold.confounds.read_confounds : takes what this returns, or names and patterns of columns.
    """
    from nilearn.interfaces.fmriprep import load_confounds_strategy

    aroma = strategy == "ica_aroma"
    if aroma and AROMA not in bold.name:
        raise InputError(
            f"confound_strategy is 'ica_aroma', which is for scans named *{AROMA}, and the scan is {bold.name}: choose "
            "another strategy, or name those scans (bids: description: smoothAROMAnonaggr)"
        )
    if not TABLE.search(table.name):
        raise InputError(
            f"confound_strategy reads *_desc-confounds_timeseries.tsv as fMRIPrep writes it, and the table is "
            f"{table.name}: rename it, or give confound_columns"
        )
    # nilearn finds the table by the name of an image beside it, which it does not open: there need be none.
    image = TABLE.sub(f"{AROMA}.nii.gz" if aroma else "_desc-preproc_bold.nii.gz", str(table))
    remedy = f"confound_strategy {strategy!r} needs what fMRIPrep writes; or give confound_columns"
    with reading(table, remedy), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        confounds, kept = load_confounds_strategy(image, denoise_strategy=strategy, **dict(options or {}))
    for one in told:
        if "not needed" in str(one.message):
            raise InputError(f"confound_options: {' '.join(str(one.message).split())}")
    every = np.arange(len(confounds))
    return confounds, np.asarray(every if kept is None else kept)[(every if kept is None else kept) >= dummy_scans]
