"""What came of extracting a film, or a text: its feature file, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from giblet.notebook import html_facts

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True, repr=False)
class FeatureFile:
    """The feature file of one film, or text: written, or found to be up to date.

    See Also
    --------
    giblet.features.load_features : what it holds, as :meth:`to_xarray` reads it.

    Examples
    --------
    >>> sound = extract("film.mkv")  # doctest: +SKIP
    >>> sound.to_xarray().codes.shape  # doctest: +SKIP
    (920, 8, 112)
    """

    film: Path
    status: Literal["written", "up to date"]
    path: Path
    about: dict[str, Any]
    """As :func:`giblet.features.describe` says of the file."""
    seconds: float = 0.0
    """Wall-clock time spent."""

    def __repr__(self) -> str:
        about = self.about
        held = f"{about['variable']} {tuple(about['shape'])} {about['dtype']}, TR {about['tr']:g} s"
        return f"<FeatureFile {self.path}: {held}; {self.status}>"

    def _repr_html_(self) -> str:
        names = ("variable", "shape", "dtype", "kind", "tr", "n_trs", "valid_trs", "film_duration", "source")
        return html_facts(f"{self.path} ({self.status})", {name: self.about[name] for name in names})

    @property
    def error(self) -> None:
        """Always None, as the file exists; a :class:`FailedExtraction` gives the reason here."""
        return

    @property
    def realtime_factor(self) -> float:
        """Seconds of film per second of work."""
        return self.about["film_duration"] / self.seconds if self.seconds else float("nan")

    def to_xarray(self) -> xr.Dataset:
        """Read the whole file as a Dataset.

        Returns
        -------
        xarray.Dataset
            As :func:`giblet.features.load_features` reads it.

        Raises
        ------
        InputError
            If the file is no longer there, or damaged.
        """
        from giblet.features import load_features

        return load_features(self.path)

    def to_pandas(self) -> pd.DataFrame:
        """Read the features as a table of one row per TR.

        Returns
        -------
        pandas.DataFrame
            As :func:`giblet.features.table_of` makes it.

        Raises
        ------
        InputError
            If the file is no longer there, or damaged.
        """
        from giblet.features import table_of

        return table_of(self.to_xarray())

    def as_dict(self) -> dict[str, Any]:
        """What ``giblet extract --json`` prints of it.

        Returns
        -------
        dict of str to object
        """
        return _as_dict(self)


@dataclass(frozen=True)
class FailedExtraction:
    """A film, or text, that became no feature file."""

    film: Path
    error: str
    """What is wrong, in one line."""
    status: Literal["failed"] = "failed"
    path: None = None
    about: None = None
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """What ``giblet extract --json`` prints of it.

        Returns
        -------
        dict of str to object
        """
        return _as_dict(self)


def _as_dict(result: FeatureFile | FailedExtraction) -> dict[str, Any]:
    return {name: getattr(result, name) for name in ("film", "status", "path", "about", "seconds", "error")}
