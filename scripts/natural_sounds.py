"""What predicts auditory cortex? 165 sounds of two seconds, and six components of the responses of ten listeners.

python scripts/natural_sounds.py FOLDER

FOLDER holds the public files of Norman-Haignere, Kanwisher and McDermott (2015), Neuron 88, 1281-1296:
sounds/wav/*.wav, and data/components.mat with R (sounds x components), stim_names and component_names. They carry no
licence and do not come with giblet. Each sound is predicted from a ridge on the others; the table says r by features
and component.
"""

import argparse
import logging
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from giblet.codec import AudioCodec, load_codec
from giblet.data.media import AudioReader
from giblet.encoding import EncodingModel, permutation_test_cv, score_clips
from giblet.encoding.clips import SPEECH_LEVEL, at_level, clip_features
from giblet.encoding.responses import read_mat
from giblet.errors import GibletError, InputError

MADE: dict[str, dict[str, str | list[str]]] = {
    "latents: mean and deviation": {"latents": "latents"},
    "latents, with deviation of changes": {"latents": ["latents", "latent_changes"]},
    "counts of codes": {"counts": "counts"},
    "counts of the first codebook": {"counts": "first_counts"},
    "mel: mean and deviation": {"mel": "mel"},
    "latents and mel, two bands": {"latents": "latents", "mel": "mel"},
}
"""Rows of the table, and the bands of each."""
SCALE = {"counts": "band"}
"""Shares of the frames keep their own scale: columns of rare entries are mostly chance."""


@dataclass(frozen=True)
class NaturalSounds:
    """The public files."""

    sounds: list[Path]
    responses: np.ndarray
    """float64 (n_sounds, n_components)."""
    components: list[str]


def read_folder(folder: Path) -> NaturalSounds:
    """The sounds in the order of their responses."""
    data = read_mat(folder / "data" / "components.mat")
    absent = [name for name in ("R", "stim_names", "component_names") if name not in data]
    if absent:
        raise InputError(f"components.mat has no {' and no '.join(absent)}: it has {', '.join(data) or 'nothing'}")
    responses, names = np.asarray(data["R"], np.float64), data["stim_names"]
    components = data["component_names"]
    for what, given in (("stim_names", names), ("component_names", components)):
        if not isinstance(given, list):
            raise InputError(f"{what} of components.mat is no cell array of text")
    if responses.shape != (len(names), len(components)):
        raise InputError(f"R is of shape {responses.shape}, for {len(names)} sounds and {len(components)} components")
    return NaturalSounds(sounds_of(folder / "sounds" / "wav", names), responses, components)


def sounds_of(folder: Path, names: list[str]) -> list[Path]:
    """The file of each name: with an ending or none, with a number before it (stim12_) or none."""

    def plain(name: str) -> str:
        return re.sub(r"^stim\d+_", "", name.removesuffix(".wav"))

    files = sorted(folder.glob("*.wav"))
    for key in (lambda name: name.removesuffix(".wav"), plain):
        by_name = {key(file.name): file for file in files}
        if len(by_name) == len(files) and all(key(name) in by_name for name in names):
            return [by_name[key(name)] for name in names]
    absent = next((name for name in names if plain(name) not in {plain(file.name) for file in files}), None)
    why = f"none is called {absent!r}" if absent is not None else "their names do not tell them apart"
    raise InputError(f"{folder} holds {len(files)} .wav files for {len(names)} sounds, and {why}")


def codes_as_numbers(sounds: list[Path], codec: AudioCodec) -> dict[str, np.ndarray]:
    """What giblet refuses, to show why: names of sounds treated as amounts, pooled and frame by frame."""
    waveforms = [np.concatenate(list(AudioReader(file, codec.sample_rate))) for file in sounds]
    codes = codec.encode_many(at_level(waveform, SPEECH_LEVEL) for waveform in waveforms)
    shortest = min(own.shape[1] for own in codes)
    return {
        "codes taken as numbers: mean and deviation": np.stack([np.r_[own.mean(1), own.std(1)] for own in codes]),
        "codes taken as numbers, as they are": np.stack([own[:, :shortest].reshape(-1) for own in codes]).astype(float),
    }


def table_rows(data: NaturalSounds, codec: AudioCodec) -> dict[str, Mapping[str, np.ndarray]]:
    """Bands of each row of the table."""
    parts = sorted({str(own) for bands in MADE.values() for what in bands.values() for own in np.atleast_1d(what)})
    found = clip_features(data.sounds, parts, codec, level=SPEECH_LEVEL)
    rows: dict[str, Mapping[str, np.ndarray]] = {
        row: {name: np.hstack([found[part] for part in np.atleast_1d(what)]) for name, what in bands.items()}
        for row, bands in MADE.items()
    }
    return rows | {row: {"numbers": values} for row, values in codes_as_numbers(data.sounds, codec).items()}


def main() -> int:
    """Print the table; 2 if the data cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with sounds/wav/ and data/components.mat")
    parser.add_argument("--folds", type=int, default=5, help="random folds of sounds (5)")
    parser.add_argument("--seed", type=int, default=0, help="of folds and permutations (0)")
    parser.add_argument("--permutations", type=int, default=0, help="test each mean r by so many, e.g. 1000 (none)")
    parser.add_argument("--codec", default="bundled", help="'bundled', a folder or a hub name (bundled)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    try:
        data = read_folder(options.folder)
        print(
            f"{len(data.sounds)} sounds, {options.folds} random folds; r with {', '.join(data.components)}", end="\n\n"
        )
        tested = options.permutations > 0
        head = ["features", "mean r", *(["p"] if tested else []), *data.components]
        print(f"| {' | '.join(head)} |\n|---|{'--:|' * (len(head) - 1)}")
        for row, bands in table_rows(data, load_codec(options.codec)).items():
            scale = {name: own for name, own in SCALE.items() if name in bands}
            model = EncodingModel(cv=5, scale=scale)
            given: dict[str, Any] = {"cv": options.folds, "seed": options.seed}
            r = score_clips(model, bands, data.responses, unique=False, **given).r
            cells = [f"{np.nanmean(r):.3f}"]
            if tested:
                given["n_permutations"] = options.permutations
                cells.append(f"{permutation_test_cv(model, bands, data.responses, **given).mean_p_rank:.3g}")
            cells += [f"{value:.2f}" for value in r]
            print(f"| {' | '.join([row, *cells])} |", flush=True)
    except GibletError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    finally:
        logging.disable(logging.NOTSET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
