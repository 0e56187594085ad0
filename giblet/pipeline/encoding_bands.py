"""What each band of an encoding run predicts by itself."""

from __future__ import annotations

import pandas as pd

from giblet.encoding.settings import EncodeSettings
from giblet.pipeline.encoding import encode
from giblet.pipeline.encoding_result import Tell

MOST_REGIONS = 10
"""Up to which the scores of each region stand in the table."""


def each_band(settings: EncodeSettings, *, overwrite: bool = False, progress: Tell | None = None) -> pd.DataFrame:
    """Run a configuration once for each of its bands, in a folder of its name in the configuration's output.

    Parameters
    ----------
    settings : EncodeSettings
    overwrite : bool
        Replace results of other settings.
    progress : callable, optional
        Called with the name of a band, and with bands that are done and those in all.

    Returns
    -------
    pandas.DataFrame
        One row for each band and who was predicted. Columns band, who, r (mean over voxels, components or regions),
        found (how many have q <= .05) and of (how many were tested), and r, p, q and, where the configuration asks for
        it, ceiling of each region where there are few.

    Raises
    ------
    GibletError
        If a run of the configuration fails.

    See Also
    --------
    giblet.pipeline.encode : All bands together.
    """
    rows = []
    for number, (name, band) in enumerate(settings.bands.items()):
        if progress is not None:
            progress(name, number, len(settings.bands))
        alone = settings.model_copy(
            update={"bands": {name: band}, "output": settings.output / name, "unique": False, "weights": False}
        )
        result = encode(alone, overwrite=overwrite)
        everyone = [(subject.name, subject.stats) for subject in result.subjects]
        if result.group is not None:
            everyone.append(("group", result.group.stats))
        for who, stats in everyone:
            tested = stats["q"].notna()
            row = {"band": name, "who": who, "r": stats["r"].mean(), "found": (stats["q"] <= 0.05).sum()}
            row["of"] = tested.sum()
            if "region" in stats and len(stats) <= MOST_REGIONS:
                for own in stats.to_dict("records"):
                    row |= {f"{own['region']} {name}": own[name] for name in ("r", "p", "q", "ceiling") if name in own}
            rows.append(row)
    return pd.DataFrame(rows)
