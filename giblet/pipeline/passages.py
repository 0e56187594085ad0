"""Which passage of an unseen story a listener hears, told by a linear decoder from windows of BOLD.

Drifts are taken out of BOLD and features in each run, features are brought to variance 1 and projected on their main
components over the training rows, and :class:`giblet.encoding.DecodingModel` learns these from the BOLD of a window
after each TR. Each test run is cut into passages, and each decoded passage is compared with what was said in all
passages of its run (:func:`giblet.evaluation.identification.identify_passages`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from giblet.encoding import DecodingModel
from giblet.encoding.settings import EncodeSettings
from giblet.encoding.windows import Cleaning
from giblet.errors import InputError
from giblet.evaluation.identification import identify_passages
from giblet.pipeline.encoding_data import SubjectData, read_subject, tr_of
from giblet.pipeline.encoding_features import BandReader
from giblet.statistics.estimates import ScoredTRs
from giblet.statistics.rotations import HIGH_PASS
from giblet.training.films import Films

SECONDS = (10.0, 20.0)
"""Lengths of passages, unless told otherwise."""
TOP = (1, 5)
"""Of how many passages that are most like the decoded one its own has to be one."""


@dataclass(frozen=True)
class PassageOptions:
    """How passages are told apart."""

    band: str
    n_components: int = 50
    window: tuple[float, float] = (2.0, 10.0)
    """Seconds after the TR's onset from and to which volumes of its window begin."""
    seconds: tuple[float, ...] = SECONDS
    """Lengths of passages."""
    high_pass: float | None = HIGH_PASS
    """Hz, of the decoder. The scores have drifts taken out as rotation tests have."""
    rescaled: bool = True
    """Each decoded component gets the deviation of the true one."""


def _components(data: SubjectData, options: PassageOptions) -> np.ndarray:
    """Main components of the band's training rows, of all rows, without drifts: float64 (n_trs, n_components)."""
    features, train = np.asarray(data.bands[options.band], np.float64), data.folds[0].train
    rows = np.arange(len(features))
    clean = Cleaning.of(rows, data.run, len(rows), None, tr=data.tr, high_pass=options.high_pass)(features)
    deviation = clean[train].std(0)
    clean = np.divide(clean, deviation, out=np.zeros_like(clean), where=deviation > 0)
    if options.n_components > min(clean[train].shape):
        raise InputError(
            f"n_components is {options.n_components}, and {len(train)} training rows of {clean.shape[1]} columns have "
            "fewer: ask for fewer components"
        )
    # Of covariances: exact, and fast where rows are many.
    return PCA(options.n_components, svd_solver="covariance_eigh").fit(clean[train]).transform(clean)


def _told_apart(data: SubjectData, options: PassageOptions) -> list[dict[str, object]]:
    """One row for each test run and length of a passage."""
    if len(data.folds) != 1 or set(data.run[data.folds[0].train]) & set(data.run[data.folds[0].test]):
        raise InputError(
            "passages are those of whole test runs: give each run of the configuration part: train or test"
        )
    (fold,) = data.folds
    heard, present = _components(data, options), np.isfinite(data.bold).any(1)
    model = DecodingModel(tr=data.tr, window=options.window, high_pass=options.high_pass)
    model.fit(data.bold, heard, run=data.run, train=fold.train, sample_mask=present)
    rows = []
    for run in np.unique(data.run[fold.test]):
        own = data.run == run
        decoded = model.predict(data.bold[own], sample_mask=present[own])
        known = np.flatnonzero(np.isfinite(decoded).all(1))
        if not len(known) or len(known) != known[-1] - known[0] + 1:
            raise InputError(f"{data.run_names[run - 1]} has censored volumes: its passages would not be of one length")
        for seconds in options.seconds:
            found = identify_passages(
                options.band, heard[own][known], decoded[known], ScoredTRs.of(len(known), data.tr), seconds=seconds,
                top=TOP, rescaled=options.rescaled,
            )  # fmt: skip
            told = found.as_dict()
            row = {"who": data.name, "run": data.run_names[run - 1], "seconds": found.seconds}
            row |= {"passages": found.n_passages, "pairwise": found.pairwise.value}
            row |= {"pairwise p": told["pairwise"]["p"]}
            for k, own_share in found.top.items():
                row |= {f"top-{k}": own_share.value, f"chance {k}": found.chance[k], f"p {k}": told["top"][str(k)]["p"]}
            rows.append(row)
    return rows


def tell_apart(settings: EncodeSettings, options: PassageOptions) -> pd.DataFrame:
    """Tell the passages of each test run apart, in every subject.

    Parameters
    ----------
    settings : EncodeSettings
        Of an encoding run in which each run is for training or for testing (``part``); of its bands one is decoded.
    options : PassageOptions

    Returns
    -------
    pandas.DataFrame
        Columns who, run, seconds, passages, pairwise (chance is .5) and its p, and for the best and the best five
        ``top-k``, ``chance k`` and ``p k``.

    Raises
    ------
    GibletError
        If the files cannot be used, there is no such band, it has fewer columns or training rows than components are
        asked for, a run has rows of both parts, or a test run has censored volumes.

    See Also
    --------
    giblet.evaluation.identification.identify_passages : The scores, and their chance.
    """
    if options.band not in settings.bands:
        raise InputError(f"band is {options.band!r}: the configuration has {', '.join(settings.bands)}")
    bands = {options.band: settings.bands[options.band]}
    alone, films = settings.model_copy(update={"bands": bands}), Films()
    reader = BandReader(bands, codec=settings.codec, films=films)
    tr = tr_of(alone, films)
    rows = []
    for subject in settings.data.subjects:
        rows += _told_apart(read_subject(alone, subject, reader, films, tr), options)
    return pd.DataFrame(rows)
