"""What a simulated brain can answer to: the features of a file, or others that a model given this file does not have.

A model that is given the very numbers from which BOLD was simulated is tested on a problem that no real brain poses:
such a simulation is *circular*. :data:`SOURCES` lists what else can be made from the same film, words or codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from giblet.alignment.checks import first_onset
from giblet.data.acoustics import AcousticsProcessor
from giblet.data.language import LANGUAGE, LanguageProcessor
from giblet.data.text import TEXT
from giblet.data.video import VideoProcessor
from giblet.data.word_statistics import FREQUENCY
from giblet.errors import InputError
from giblet.features import CODES, load_features, main_variable
from giblet.files import sha256_of
from giblet.timing import exact, same_tr, shown

if TYPE_CHECKING:
    import xarray as xr

OWN, NAMES = "features", "names"
WORD_COLUMNS = ("word_frequency", "word_rate", "word_length")
"""What the brain knows of words without their meaning."""
NET_SIZE = (36, 64)
"""Height and width of the pictures that the random net sees."""
NET_CHANNELS = (16, 32, 32)
NET_GRID = (3, 4)
"""Rows and columns of the means that it ends with."""
AT_A_TIME = 256
"""Pictures that go through it at once."""

Circular = Literal["yes", "in part", "no"]


@dataclass(frozen=True)
class BrainSource:
    """One thing that a simulated brain can answer to."""

    made_of: Literal["features", "codes", "film", "words"]
    """The parameter that it needs, or the kind of the feature file."""
    circular: bool
    """Whether a model that is given the feature file is given these numbers."""
    told: str
    make: Callable[[xr.Dataset, Path | None, int], xr.Dataset]
    """From the feature file, the film or words, and a seed, to what is mapped to voxels."""


def _acoustics(kind: str) -> Callable[[xr.Dataset, Path | None, int], xr.Dataset]:
    def make(features: xr.Dataset, film: Path | None, seed: int) -> xr.Dataset:
        assert film is not None
        processor = AcousticsProcessor((kind,), tr=float(features.attrs["tr"]))
        return _as_long(processor.extract(film, _last_tr(features)), features)

    return make


def _word_frequency(features: xr.Dataset, words: Path | None, seed: int) -> xr.Dataset:
    assert words is not None
    processor = LanguageProcessor(
        tr=float(features.attrs["tr"]), model=None, statistics=(FREQUENCY,), pool="mean", overlaps="allow"
    )
    found = _as_long(processor.extract(words, _last_tr(features)), features)
    values = np.stack([np.nan_to_num(found[name].values) for name in WORD_COLUMNS], axis=1)
    return _with_numbers(found, "word_statistics", values)


def _random_net(features: xr.Dataset, film: Path | None, seed: int) -> xr.Dataset:
    pictures = features
    if not _holds_pictures(features):
        assert film is not None
        processor = VideoProcessor(tr=float(features.attrs["tr"]), size=NET_SIZE)
        pictures = _as_long(processor.extract(film, _last_tr(features)), features)
    values = random_net_features(pictures[main_variable(pictures)].values, seed)
    return _with_numbers(pictures, "random_net", values)


SOURCES: dict[str, BrainSource] = {
    OWN: BrainSource("features", True, "the numbers of the feature file itself", lambda own, _, __: own),
    NAMES: BrainSource(
        "codes", False, "which codes occur: 8 random numbers for each entry of each codebook", lambda own, _, __: own
    ),
    "gammatone": BrainSource("film", False, "envelopes of gammatone bands of the sound", _acoustics("gammatone")),
    "modulation": BrainSource("film", False, "modulation energy of the sound, by rate", _acoustics("modulation")),
    "word_frequency": BrainSource(
        "words", False, "how frequent the words of a TR are, how many and how long", _word_frequency
    ),
    "random_net": BrainSource(
        "film", False, "a convolutional net of random weights, drawn by the seed, that sees the picture", _random_net
    ),
}
"""By name, all that a brain can answer to beside other feature files."""


def brain_bands(
    features: xr.Dataset,
    answers_to: Sequence[str],
    *,
    film: str | Path | None = None,
    words: str | Path | None = None,
    seed: int = 0,
) -> dict[str, xr.Dataset]:
    """What a simulated brain answers to, on the clock of a feature file.

    Parameters
    ----------
    features : xarray.Dataset
        What a model will be given.
    answers_to : sequence of str
        Names of :data:`SOURCES`, or paths of other feature files of the same TRs, ending in ``.nc``.
    film : str or Path, optional
        For ``"gammatone"``, ``"modulation"`` and ``"random_net"``: the film, or the sound, that the features are of.
        Pictures of the feature file, if it has any, are used without one.
    words : str or Path, optional
        For ``"word_frequency"``: the words with their times.
    seed : int
        Of the weights of ``"random_net"``.

    Returns
    -------
    dict of str to xarray.Dataset
        By name, in the order of `answers_to`, as many TRs as `features` has.

    Raises
    ------
    InputError
        If a name is unknown or comes twice, what it is made of was not given, or something was given that nothing is
        made of; if a film is not as long as that of the features, or a feature file has other TRs.
    """
    given = {"film": film, "words": words}
    _check_names(features, answers_to, given)
    found = {}
    for name in answers_to:
        if name not in SOURCES:
            found[name] = _other_file(features, Path(name))
            continue
        source = SOURCES[name]
        path = given.get(source.made_of)
        found[name] = source.make(features, None if path is None else Path(path), seed)
        if source.made_of == "film":
            _check_film(found[name], features)
    return found


def circular_by(answers_to: Sequence[str], features: str | Path) -> Circular:
    """Whether a model that is given a feature file is given what the brain answers to.

    Parameters
    ----------
    answers_to : sequence of str
        As for :func:`brain_bands`.
    features : str or Path
        The feature file.

    Returns
    -------
    {"yes", "in part", "no"}
    """
    own = [SOURCES[name].circular if name in SOURCES else sha256_of(name) == sha256_of(features) for name in answers_to]
    return "yes" if all(own) else "in part" if any(own) else "no"


def random_net_features(pictures: np.ndarray, seed: int = 0) -> np.ndarray:
    """Features of pictures by a convolutional net that never learned: three layers of random weights, each rectified.

    Parameters
    ----------
    pictures : ndarray of uint8, shape (n_pictures, height, width, 3)
        sRGB; scaled to 36 by 64 pixels.
    seed : int
        Of the weights: normal, of variance 2 over the number of inputs (He et al. 2015).

    Returns
    -------
    ndarray of float32, shape (n_pictures, 384)
        Means of 32 channels in 3 rows and 4 columns.

    References
    ----------
    He, Zhang, Ren, Sun (2015). Delving deep into rectifiers. ICCV, 1026-1034.
    """
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(seed)
    kernels, before = [], 3
    for channels in NET_CHANNELS:
        kernel = torch.randn(channels, before, 5, 5, generator=generator)
        kernels.append(kernel * (2 / kernel[0].numel()) ** 0.5)
        before = channels
    found = []
    for start in range(0, len(pictures), AT_A_TIME):
        x = torch.from_numpy(pictures[start : start + AT_A_TIME]).permute(0, 3, 1, 2).float() / 255 - 0.5
        x = functional.interpolate(x, NET_SIZE, mode="area")
        for kernel in kernels:
            x = functional.conv2d(x, kernel, stride=2, padding=2).relu()
        found.append(functional.adaptive_avg_pool2d(x, NET_GRID).flatten(1).numpy())
    return np.concatenate(found)


def _check_names(features: xr.Dataset, answers_to: Sequence[str], given: dict[str, str | Path | None]) -> None:
    if isinstance(answers_to, str) or not answers_to:
        raise InputError(f"answers_to is {answers_to!r}: a list of names is needed, of {', '.join(SOURCES)}")
    for name in answers_to:
        if name not in SOURCES and not name.endswith(".nc"):
            raise InputError(f"answers_to is {name!r}: it is none of {', '.join(SOURCES)}, and no feature file (.nc)")
    if twice := sorted({name for name in answers_to if list(answers_to).count(name) > 1}):
        raise InputError(f"answers_to names {twice[0]} twice: name each once")
    holds = features.attrs["kind"]
    if OWN in answers_to and holds == CODES:
        raise InputError(f"the features are codes, which are no numbers: answers_to={NAMES!r} gives each entry some")
    if NAMES in answers_to and holds != CODES:
        raise InputError(
            f"answers_to is {NAMES!r}, which are of codes, and the features are {main_variable(features)}: leave it "
            "out, or give features of codes"
        )
    needed = {SOURCES[name].made_of for name in answers_to if name in SOURCES}
    for what, path in given.items():
        wants = [name for name in answers_to if name in SOURCES and SOURCES[name].made_of == what]
        wants = [name for name in wants if name != "random_net" or not _holds_pictures(features)]
        if wants and path is None:
            raise InputError(f"answers_to is {wants[0]!r}, which is made of the {what}: name its file as `{what}`")
        if path is not None and what not in needed:
            able = [name for name, source in SOURCES.items() if source.made_of == what]
            raise InputError(f"`{what}` is given, and nothing is made of it: answers_to={able[0]!r} would be")


def _holds_pictures(features: xr.Dataset) -> bool:
    return features[main_variable(features)].dims == ("tr", "row", "column", "rgb")


def _first_tr(features: xr.Dataset) -> int:
    """The TR of its film with which a feature file begins: 0, unless it was cut."""
    first = first_onset(features, str(features.attrs["desc"])) / exact(features.attrs["tr"])
    if first.denominator != 1 or first < 0:
        raise InputError(
            f"the features begin at second {float(first * exact(features.attrs['tr'])):g}, which is no whole number of "
            "TRs: simulate from the whole feature file"
        )
    return int(first)


def _last_tr(features: xr.Dataset) -> int:
    return _first_tr(features) + int(features.sizes["tr"])


def _as_long(found: xr.Dataset, features: xr.Dataset) -> xr.Dataset:
    """The TRs of `features`, of what was extracted from TR 0 of the film on."""
    return found.isel(tr=slice(_first_tr(features), None))


def _with_numbers(found: xr.Dataset, name: str, values: np.ndarray) -> xr.Dataset:
    """A feature file about `values` (n_trs, n_columns), on the clock of `found`."""
    made = found[["onset", "valid"]].assign({name: (("tr", "column"), values.astype(np.float32))})
    return made.assign_attrs({**found.attrs, "variable": name})


def _check_film(found: xr.Dataset, features: xr.Dataset) -> None:
    """An error if the film cannot be that of the features."""
    if features.attrs["desc"] in (TEXT, LANGUAGE):
        return  # words end before their film does
    ours, theirs = (float(one.attrs["film_duration"]) for one in (found, features))
    if abs(ours - theirs) > float(features.attrs["tr"]):
        raise InputError(
            f"film lasts {ours:.1f} s, that of the features {theirs:.1f} s: name the film that they were extracted from"
        )


def _other_file(features: xr.Dataset, path: Path) -> xr.Dataset:
    found = load_features(path)
    if found.attrs["kind"] == CODES:
        raise InputError(f"{path} holds codes: extract numbers, or simulate from that file with answers_to={NAMES!r}")
    same = same_tr(found.attrs["tr"], features.attrs["tr"]) and found.sizes["tr"] == features.sizes["tr"]
    if not same or _first_tr(found) != _first_tr(features):
        raise InputError(
            f"{path} has {found.sizes['tr']} TRs of {shown(found.attrs['tr'])} s, the features "
            f"{features.sizes['tr']} of {shown(features.attrs['tr'])} s: extract both for the same scan"
        )
    return found
