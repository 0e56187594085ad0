"""Real brains: which regions of listeners to Alice in Wonderland follow the rate of words, and which the sound.

References
----------
Brennan, Stabler, Van Wagenen, Luh, Hale (2016). Abstract linguistic structure correlates with temporal activity during
naturalistic comprehension. Brain and Language 157-158, 81-94. (The data: CC BY 4.0, Jonathan Brennan.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from giblet.data.text import TextSettings
from giblet.encoding.settings import EncodeSettings
from giblet.errors import InputError, reading
from giblet.evaluation.score import SIGNIFICANT
from giblet.files import write_atomic
from giblet.pages.drawings import ACCENT, INK, NULL, can_draw
from giblet.pipeline.demonstration.real import folder_with

if TYPE_CHECKING:
    import pandas as pd

    from giblet.pages import Drawing, Section, Table

NAME, TR = "alice", 2.0
VOLUME_0 = 20.0
"""Second of the words' clock at volume 0."""
BANDS = {
    "word_rate": {"of": "text", "take": "word_rate"},
    "sound_power": {"of": "power", "convolved": True},
}
"""What is asked of each region, each by itself; sound power comes convolved from the authors of the data."""
TOLD = {"word_rate": "words per second", "sound_power": "power of the sound"}
REGIONS = {
    "LATL": "left anterior temporal lobe", "RATL": "right anterior temporal lobe",
    "LPTL": "left posterior temporal lobe", "LIPL": "left inferior parietal lobe", "LPreM": "left premotor cortex",
    "LIFG": "left inferior frontal gyrus",
}  # fmt: skip
RULE = (
    "p by rotations of the BOLD of all listeners together, with all fits made anew; q is p corrected for the regions; "
    "above chance: q <= .05"
)
SCORES = ("r", "p", "q", "ceiling")
N_ROTATIONS = 361
"""Of 362 volumes all there are."""


@dataclass(frozen=True)
class Alice:
    """What was found in the listeners to Alice in Wonderland."""

    group: pd.DataFrame
    """By band and region: ``r``, mean over listeners, ``p``, ``q`` (corrected for the regions) and ``ceiling``."""
    n_listeners: int
    left_out: dict[str, str]
    """By listener who cannot be used, why."""
    folder: Path
    """Of the results."""
    name: str = NAME

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What is printed."""
        found = []
        for band, own in self.group.groupby("band", sort=False):
            above = own[own["q"] <= SIGNIFICANT].sort_values("q")
            named = ", ".join(f"{region} {r:.3f}" for region, r in zip(above["region"], above["r"], strict=True))
            text = f"above chance in {len(above)} of {len(own)} regions ({named})" if len(above) else "not above chance"
            found.append((TOLD[str(band)], f"{self.n_listeners} listeners, held-out r {text}"))
        return found

    def sections(self) -> list[Section]:
        """What stands on the page.

        Returns
        -------
        list of Section
        """
        from giblet.pages import Drawing, Section, Table
        from giblet.pages.drawings import svg_of

        rows = [
            [
                TOLD[one["band"]], REGIONS.get(one["region"], one["region"]), f"{one['r']:.3f}", f"{one['p']:.2g}",
                f"{one['q']:.2g}", f"{one['ceiling']:.2f}", "yes" if one["q"] <= SIGNIFICANT else "no",
            ]
            for one in self.group.to_dict("records")
        ]  # fmt: skip
        headers = ["followed", "region", "r, mean over listeners", "p", "q", "ceiling", "above chance"]
        table = Table(headers, rows, RULE)
        text = [
            f"Real brains: {self.n_listeners} people listened to the first chapter of Alice in Wonderland. Does a "
            "region follow how many words are spoken per second, or how loud the sound is? Each fifth of the story is "
            "predicted from the others. The ceiling is how well the mean of the other listeners predicts a listener "
            "(inter-subject correlation): r far below it says that a region does more than count words.",
            "Data: Brennan et al. (2016), CC BY 4.0, Jonathan Brennan.",
        ]
        text += [f"Listener {name} is left out: {why}." for name, why in self.left_out.items()]
        parts: list[Drawing | Table] = [table]
        if can_draw():
            svg = svg_of(self._draw, 7.5, 3.2)
            alt = "bars of held-out r by region, of word rate and of sound power, with the ceiling of each region"
            parts.insert(0, Drawing(svg, alt, "Full bars are above chance (q <= .05), hollow ones are not."))
        return [Section("Real brains: words and sound, region by region", text, parts)]

    def _draw(self, _figure: Any, axis: Any) -> None:
        bands, width = list(dict.fromkeys(self.group["band"])), 0.38
        for number, (band, colour) in enumerate(zip(bands, (ACCENT, NULL), strict=False)):
            own = self.group[self.group["band"] == band]
            places = np.arange(len(own)) + (number - 0.5) * width
            above = own["q"].to_numpy() <= SIGNIFICANT
            for which, face in ((above, colour), (~above, "none")):
                axis.bar(places[which], own["r"][which], width * 0.92, facecolor=face, edgecolor=colour, linewidth=1.4)
            axis.bar([0], [0], width, color=colour, label=TOLD[str(band)])
        own = self.group[self.group["band"] == bands[0]]
        ends = np.arange(len(own))
        axis.hlines(own["ceiling"], ends - width, ends + width, color=INK, linewidth=1.2, label="ceiling")
        axis.axhline(0, color=INK, linewidth=0.8)
        axis.set_xticks(ends, list(own["region"]))
        axis.set_ylabel("held-out r, mean over listeners")
        axis.legend(loc="upper left", ncols=3)
        axis.margins(y=0.18)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict of str to object
        """
        rows = [{key: _plain(value) for key, value in row.items()} for row in self.group.to_dict("records")]
        return {
            "name": self.name, "n_listeners": self.n_listeners, "left_out": self.left_out, "regions": rows,
            "folder": str(self.folder),
        }  # fmt: skip


def _plain(value: Any) -> Any:
    """A number as JSON has it; None where there is none."""
    return value if isinstance(value, str) else float(value) if np.isfinite(value) else None


def find_alice(data: str | Path) -> Path:
    """The folder of the data.

    Parameters
    ----------
    data : str or Path
        It, or the folder above.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If the words, the power of the sound or all listeners are missing.
    """
    folder = folder_with(data, NAME, "words.tsv")
    if not (folder / "sound_power_regressor.txt").is_file():
        raise InputError(f"{folder} holds no sound_power_regressor.txt: copy the {NAME} data again")
    if len(_scans(folder)) < 2:
        raise InputError(f"{folder / 'bold'} holds {len(_scans(folder))} sub-*_bold.tsv: at least two are needed")
    return folder


def _scans(folder: Path) -> list[Path]:
    return sorted((folder / "bold").glob("sub-*_bold.tsv"))


def show_alice(
    folder: Path, out_dir: Path, *, overwrite: bool = False, progress: Callable[[float], None] | None = None
) -> Alice:
    """Fit word rate and sound power, each by itself, to each region of each listener.

    Parameters
    ----------
    folder : Path
        As :func:`find_alice` finds it.
    out_dir : Path
        Gets features and results.
    overwrite : bool
        Replace results of other settings or files.
    progress : callable, optional
        Called with the share that is done.

    Returns
    -------
    Alice

    Raises
    ------
    GibletError
        If the files cannot be used.

    See Also
    --------
    giblet.pipeline.encoding_bands.each_band : What is run; ``configs/encode/alice.yaml`` has all bands together.
    """
    import pandas as pd

    from giblet.pipeline.encoding_bands import each_band
    from giblet.pipeline.features import extract

    usable, left_out, n_volumes = _usable(folder)
    settings = TextSettings.make(
        tr=TR, n_trs=n_volumes, model=None, duration_column="duration", table_time_at_tr_0=VOLUME_0
    )
    words = extract(folder / "words.tsv", settings, out_dir / "features", overwrite=overwrite).path
    power = out_dir / "features" / "sound_power.tsv"
    with reading(folder / "sound_power_regressor.txt"):
        values = np.loadtxt(folder / "sound_power_regressor.txt", ndmin=1)
    if len(values) < n_volumes:
        raise InputError(
            f"sound_power_regressor.txt has {len(values)} values and the scans {n_volumes} volumes: one for each is "
            "needed"
        )
    write_atomic(power, "\n".join(["sound_power", *map(repr, values[:n_volumes].tolist())]) + "\n")
    subjects = [
        {"name": who, "runs": [{"bold": path, "text": words, "features": {"power": power}}]}
        for who, path in usable.items()
    ]
    asked = EncodeSettings.make(
        output=out_dir, tr=TR, bands=BANDS, hrf="glover", seed=0, n_rotations=N_ROTATIONS, ceiling="intersubject",
        group=True, weights=False, data={"folds": 5, "subjects": subjects},
    )  # fmt: skip

    def told(_band: str, done: int, of: int) -> None:
        if progress is not None:
            progress(done / of)

    found = each_band(asked, overwrite=overwrite, progress=told)
    found = found[found["who"] == "group"]
    regions = [name.removesuffix(" r") for name in map(str, found) if name.endswith(" r")]
    rows = [
        {
            "band": row["band"],
            "region": region,
            **{name: row[f"{region} {name}"] for name in ("r", "p", "q", "ceiling")},
        }
        for row in found.to_dict("records")
        for region in regions
    ]
    return Alice(pd.DataFrame(rows), len(usable), left_out, out_dir)


def _usable(folder: Path) -> tuple[dict[str, Path], dict[str, str], int]:
    """The scans of listeners that can be used, why others cannot, and how many volumes there are."""
    from giblet.data.fmri import FMRIProcessor

    usable, left_out, lengths = dict[str, Path](), dict[str, str](), list[int]()
    for path in _scans(folder):
        who = path.name.split("_")[0].removeprefix("sub-")
        try:
            lengths.append(len(FMRIProcessor(tr=TR).load(path)["bold"]))
            usable[who] = path
        except InputError as exc:
            left_out[who] = str(exc).removesuffix(".")
    if len(usable) < 2:
        raise InputError(f"{len(usable)} of {len(usable) + len(left_out)} listeners can be used: two are needed")
    if len(set(lengths)) > 1:
        raise InputError(
            f"scans have {min(lengths)} to {max(lengths)} volumes: all heard the same, so one number is due"
        )
    return usable, left_out, lengths[0]
