"""Real brains: which layer of a language model listeners to spoken stories follow, and which passage they hear.

References
----------
LeBel et al. (2023). A natural language fMRI dataset for voxelwise encoding models. Scientific Data 10, 555. (The data:
OpenNeuro ds003020, CC0.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from giblet.data.language_models import SMOLLM2
from giblet.encoding.settings import EncodeSettings
from giblet.evaluation.score import SIGNIFICANT
from giblet.pages.drawings import ACCENT, INK, TEST, can_draw, svg_of
from giblet.pipeline.demonstration.real import folder_with, verdict
from giblet.pipeline.spoken_stories import TRAIN25, chosen_stories, listeners_in

if TYPE_CHECKING:
    import pandas as pd

    from giblet.pages import Drawing, Section, Table

NAME = "lebel"
LAYERS = (0, 8, 16, 24, 30)
DECODED, RATE = 16, "word_rate"
"""The layer in the middle, from which passages are told apart."""
N_COMPONENTS, N_DECODED = 100, 50
"""Main components of a layer that predict BOLD, and that are decoded from it."""
DELAYS = (4.0, 6.0, 8.0, 10.0)
"""Seconds after the two seconds in which the words were spoken."""
PASSAGE = 20.0
"""Seconds."""


@dataclass(frozen=True)
class Stories:
    """What was found in listeners to spoken stories."""

    bands: list[dict[str, Any]]
    """By ``band`` and ``who``: mean ``r`` over components of cortex, and how many are ``found`` ``of`` how many."""
    passages: list[dict[str, Any]]
    """Rows of what :func:`giblet.pipeline.passages.tell_apart` gives."""
    model: str
    folder: Path
    """Of the results."""
    decoded: int = DECODED
    name: str = NAME

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What is printed."""
        import pandas as pd

        found = []
        for who, own in _by_listener(self.bands):
            best = max(own, key=lambda one: one["r"])
            rate = next(one["r"] for one in own if one["band"] == RATE)
            text = f"{best['band'].replace('_', ' ')} predicts best, mean r {best['r']:.3f} (word rate {rate:.3f}), "
            found.append((f"listener {who}", text + f"q <= .05 in {best['found']} of {best['of']} components"))
        for who, own in _by_listener(self.passages):
            n = sum(one["passages"] for one in own)
            right, chance = (sum(one["passages"] * one[share] for one in own) for share in ("top-1", "chance 1"))
            ps = [one["p 1"] for one in own]
            p = None if any(map(pd.isna, ps)) else max(ps)
            text = f"{right:.0f} of {n} passages of {own[0]['seconds']:g} s are recognised from the scan alone"
            found.append((f"listener {who}", f"{text} (chance {chance:.1f}; in each story {verdict(p)})"))
        return found

    def sections(self) -> list[Section]:
        """What stands on the page.

        Returns
        -------
        list of Section
        """
        from giblet.pages import Drawing, Section, Table

        source = (
            "Data: LeBel et al. (2023), OpenNeuro ds003020, CC0. The words of the stories are in no file of this run."
        )
        layers = [
            "Real brains: listeners heard hours of spoken stories. The vectors that a language model "
            f"({self.model}) makes of the words, layer by layer, predict the BOLD of stories that the fit never saw. "
            "The dashed line is what the mere number of words per second predicts.",
            source,
        ]
        by_band = [
            [one["band"].replace("_", " "), one["who"], f"{one['r']:.3f}", f"{one['found']} of {one['of']}"]
            for one in self.bands
        ]
        parts: list[Drawing | Table] = [Table(["band", "listener", "mean r", "components with q <= .05"], by_band)]
        if can_draw():
            alt = "held-out r by layer of the language model, a bar for each layer and listener, and of the word rate"
            svg = svg_of(self._draw, 7.5, 3.0, columns=len(_by_listener(self.bands)))
            parts.insert(0, Drawing(svg, alt, "Mean r over components of cortex, in stories that were never seen."))
        apart = [
            "Real brains: which passage of an unseen story did a person hear? What was said, as layer "
            f"{self.decoded} of the language model has it, is decoded from the scan. Each passage that was decoded is "
            "compared with all passages of its story, and is right if it is most like its own. The null rotates what "
            "was decoded in time.",
            source,
        ]
        rows = [
            [
                one["who"], one["run"], f"{one['passages']} of {one['seconds']:g} s", f"{one['top-1']:.2f}",
                f"{one['chance 1']:.3f}", _p(one["p 1"]), f"{one['pairwise']:.2f}", _p(one["pairwise p"]),
            ]
            for one in self.passages
        ]  # fmt: skip
        headers = ["listener", "story", "passages", "right", "chance", "p", "of pairs (chance .5)", "p"]
        missed = [one for one in self.passages if not one["p 1"] <= SIGNIFICANT]
        warnings = [f"listener {one['who']}, {one['run']}: not above chance" for one in missed]
        return [
            Section("Real brains: layer by layer", layers, parts),
            Section("Real brains: which passage was heard", apart, [Table(headers, rows)], warnings),
        ]

    def _draw(self, _figure: Any, axes: Any) -> None:
        listeners = _by_listener(self.bands)
        for axis, (who, own) in zip([axes] if len(listeners) == 1 else axes, listeners, strict=True):
            r = {one["band"].removeprefix("layer_"): one["r"] for one in own}
            rate = r.pop(RATE)
            best = max(r.values())
            axis.bar(list(r), list(r.values()), color=[TEST if one == best else ACCENT for one in r.values()])
            axis.axhline(rate, color=INK, linestyle="--", linewidth=1.2, label="word rate")
            axis.set(title=f"listener {who}", xlabel=f"layer of {Path(self.model).name}", ylabel="mean held-out r")
            axis.legend(loc="upper right")
            axis.margins(y=0.25)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict of str to object
        """
        return {
            "name": self.name, "model": self.model, "bands": self.bands, "passages": self.passages,
            "folder": str(self.folder),
        }  # fmt: skip


def _by_listener(rows: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(who, [one for one in rows if one["who"] == who]) for who in dict.fromkeys(one["who"] for one in rows)]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as plain values."""
    return [
        {str(key): value.item() if hasattr(value, "item") else value for key, value in row.items()}
        for row in table.to_dict("records")
    ]


def _p(value: float | None) -> str:
    import pandas as pd

    return "-" if value is None or pd.isna(value) else f"{value:.3f}"


def find_stories(data: str | Path, model: str = SMOLLM2) -> Path:
    """The folder of the stories, once it is clear that the language model is there too.

    Parameters
    ----------
    data : str or Path
        It, or the folder above.
    model : str
        Of :class:`giblet.data.language_models.LanguageModel`.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If either is missing.
    """
    from giblet.data.language_models import LanguageModel

    folder = folder_with(data, NAME, "stories.json.gz")
    listeners_in(folder)
    LanguageModel(model, device="cpu")
    return folder


# 8 parameters: what a test of seconds makes smaller.
def show_stories(
    folder: Path, out_dir: Path, *, model: str = SMOLLM2, layers: Sequence[int] = LAYERS, decoded: int = DECODED,
    n_components: int = N_COMPONENTS, n_decoded: int = N_DECODED, overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Stories:  # fmt: skip
    """Predict the BOLD of unseen stories from each layer of a language model, and tell their passages apart.

    Parameters
    ----------
    folder : Path
        As :func:`find_stories` finds it.
    out_dir : Path
        Gets features, BOLD and results.
    model : str
        Of :class:`giblet.data.language_models.LanguageModel`.
    layers : sequence of int
    decoded : int
        The layer that passages are told apart by, one of `layers`.
    n_components, n_decoded : int
        Main components of a layer that predict BOLD, and that are decoded from it.
    overwrite : bool
        Replace results of other settings or files.
    progress : callable, optional
        Called with the share that is done.

    Returns
    -------
    Stories

    Raises
    ------
    GibletError
        If the files or the model cannot be used.

    See Also
    --------
    giblet.pipeline.encoding_bands.each_band : What is run; ``configs/encode/lebel_language.yaml`` has more bands.
    """
    from giblet.pipeline.encoding_bands import each_band
    from giblet.pipeline.passages import PassageOptions, tell_apart
    from giblet.pipeline.spoken_stories import read_stories, write_stories
    from giblet.pipeline.story_words import TR, vectors_of

    def part(first: float, last: float) -> Callable[[float, float | None], None]:
        return lambda done, of: None if progress is None else progress(first + (last - first) * done / (of or 1))

    names = chosen_stories(folder, read_stories(folder), TRAIN25)
    vectors, about = vectors_of(model, layers)
    runs = write_stories(folder, out_dir, names, listeners_in(folder), vectors, about, part(0.0, 0.7))
    bands: dict[str, dict[str, object]] = {RATE: {"of": "story", "take": RATE}}
    bands |= {
        f"layer_{layer}": {"of": "story", "take": f"layer_{layer}", "n_components": n_components} for layer in layers
    }
    subjects = [{"name": f"{listener:02d}", "runs": own} for listener, own in runs.items()]
    settings = EncodeSettings.make(
        data={"subjects": subjects}, output=out_dir, tr=TR, bands=bands, hrf="fir", delays=DELAYS, high_pass=None,
        seed=0, weights=False,
    )  # fmt: skip
    tell = part(0.7, 0.95)
    found = each_band(settings, overwrite=overwrite, progress=lambda _, done, of: tell(done, of))
    apart = tell_apart(settings, PassageOptions(f"layer_{decoded}", n_components=n_decoded, seconds=(PASSAGE,)))
    return Stories(_records(found), _records(apart), model, out_dir, decoded)
