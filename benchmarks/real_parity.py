"""Does the model predict real BOLD as well as ridge on the same TRs does? Alice (27 listeners) and LeBel (2, 19 hours).

    python scripts/spoken_stories.py ../shared/fmri/lebel lebel_language --language-model smollm2 --layers 16
    python benchmarks/real_parity.py --work real_parity_runs --lebel lebel_language --write

(spoken_stories.py with --stories train25 for 25 stories, into another folder.)

Alice: each TR's mean sentence vector of its words, the number of words and of letters, and how frequent they are; each
listener by himself, and all at once. LeBel: 100 components of layer 16 of SmolLM2, fitted to stories of no test; each
listener by himself, and both at once; three stories that nobody trained on are the test. Each with the canonical HRF
and, of the model's linear path too, with one that is fitted at delays (FIR). Ridge has the model's own input, training
TRs and HRF. Of LeBel, passages of the test stories are decoded from the BOLD too, by the model and
by ridge. A cell that is there is not computed again, unless the code of models, training or encoding changed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml
from page_tables import write_table
from parity import PAGE, interval, kept
from parity_cells import build_digest, compared
from parity_stimuli import ROOT
from scipy import stats
from sklearn.decomposition import PCA

from giblet.data.embeddings import OFFLINE
from giblet.data.language import LanguageProcessor
from giblet.data.text import TextProcessor
from giblet.encoding import BlockedFolds, EncodingModel, intersubject_correlation
from giblet.encoding.delays import DELAYS
from giblet.evaluation.predictions import predict
from giblet.features import load_features, save_features
from giblet.models import MultimodalAutoencoder
from giblet.pipeline import TrainedRun
from giblet.pipeline.reconstruction import reconstruct
from giblet.training.settings import TrainSettings
from giblet.training.study import Study, build_study
from giblet.training.trainer import Trainer

TR = 2.0
LAYER, COMPONENTS = "layer_16", 100
CONSTANT_LISTENER = "33"
"""Of Alice: the table never changes."""
ALICE_FRACTIONS = (0.6, 0.15, 0.25)
TEST_STORIES = 3
"""The last runs of each listener of LeBel."""
VALIDATION_STORIES = 0.1
"""Of the training stories of LeBel, the last ones."""
HRFS = ("glover", "fir")
ALONE = re.compile(r"alice-\d+-\w+")
"""Names of cells of one listener of Alice."""


@dataclass(frozen=True)
class Cell:
    """Some listeners of one data set, trained together, with one HRF."""

    data: str
    listeners: tuple[str, ...]
    hrf: str
    joint: bool

    @property
    def name(self) -> str:
        """Of its file, and for patterns."""
        who = "joint" if self.joint else "-".join(self.listeners)
        return f"{self.data}-{who}-{self.hrf}"


def alice(folder: Path, work: Path) -> list[dict[str, Any]]:
    """The subjects of Alice, as settings of a training name them."""
    made = work / "alice_words_features.nc"
    if not made.exists():
        words: dict[str, Any] = {"tr": TR, "table_time_at_tr_0": 20.0, "duration_column": "duration"}
        vectors = TextProcessor(model=OFFLINE, device="cpu", **words).extract(folder / "words.tsv", 362)
        others = LanguageProcessor(model=None, **words).extract(folder / "words.tsv", 362)
        beside = [np.nan_to_num(others[name].values) for name in ("word_rate", "character_rate", "word_frequency")]
        save_features(_vector(vectors, np.column_stack([vectors.embedding.values, *beside])), made)
    tables = sorted((folder / "bold").glob("sub-*_bold.tsv"))
    names = [table.name.split("_")[0].removeprefix("sub-") for table in tables]
    return [
        {"name": name, "tr": TR, "runs": [{"bold": table, "text": made, "on_short_bold": "trim"}]}
        for name, table in zip(names, tables, strict=True)
        if name != CONSTANT_LISTENER
    ]


def lebel(folder: Path, work: Path) -> list[dict[str, Any]]:
    """The subjects of LeBel: stories to train on first, those of the test last, features as main components."""
    study = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
    runs = {
        one["name"]: sorted(one["runs"], key=lambda run: run["part"] == "test") for one in study["data"]["subjects"]
    }
    base = folder.parent  # the study names its files as they are seen from there
    parts = {run["features"]["story"]: run["part"] for own in runs.values() for run in own}
    made = _components({base / path: part for path, part in parts.items()}, work / f"{folder.name}_{LAYER}")
    return [
        {
            "name": name,
            "runs": [
                {
                    "bold": base / run["bold"], "text": made[base / run["features"]["story"]],
                    "stimulus_time_at_volume_0": run["stimulus_time_at_volume_0"],
                }
                for run in own
            ],
        }
        for name, own in runs.items()
    ]  # fmt: skip


def _components(parts: Mapping[Path, str], to: Path) -> dict[Path, Path]:
    """Main components of a layer, each dimension of variance 1 first; all fitted to stories of no test."""
    made = {path: to / path.name for path in parts}
    if all(path.exists() for path in made.values()):
        return made
    to.mkdir(parents=True, exist_ok=True)
    stories = {path: load_features(path) for path in parts}
    learned = np.concatenate(
        [stories[path][LAYER].values[stories[path].valid.values] for path in parts if parts[path] != "test"]
    )
    level, spread = learned.mean(axis=0), learned.std(axis=0)
    pca = PCA(COMPONENTS, random_state=0).fit((learned - level) / spread)
    for path, story in stories.items():
        save_features(_vector(story, pca.transform((story[LAYER].values - level) / spread)), made[path])
    return made


def _vector(features: xr.Dataset, values: np.ndarray) -> xr.Dataset:
    """A feature file about one vector for each TR."""
    own = features[["onset", "valid"]].assign(vector=(("tr", "dim"), values.astype(np.float32)))
    return own.assign_attrs({**features.attrs, "variable": "vector"})


def settings_of(cell: Cell, subjects: Sequence[dict[str, Any]], output: Path) -> TrainSettings:
    """The defaults, and the HRF of the linear path."""
    own = [one for one in subjects if one["name"] in cell.listeners]
    data: dict[str, Any] = {"subjects": own, "fractions": ALICE_FRACTIONS}
    if cell.data != "alice":
        data = {"subjects": own, "whole_runs": True, "fractions": _by_story(own)}
    model = {"tr": TR} if cell.hrf == "glover" else {"tr": TR, "linear_hrf": cell.hrf}
    return TrainSettings.make(data=data, model=model, output=output, device="cpu")


def _by_story(subjects: Sequence[dict[str, Any]]) -> tuple[float, float, float]:
    """Shares of TRs that put the last three stories into the test, and a tenth of the others into validation."""
    stories = {run["text"]: load_features(run["text"]).sizes["tr"] for one in subjects for run in one["runs"]}
    test = {run["text"] for one in subjects for run in one["runs"][-TEST_STORIES:]}
    total = sum(stories.values())
    tested = sum(stories[path] for path in test) / total
    validated = (1 - tested) * VALIDATION_STORIES
    return 1 - tested - validated, validated, tested


def ridge(features: np.ndarray, bold: np.ndarray, train: np.ndarray, run: np.ndarray, hrf: str) -> np.ndarray:
    """What ridge predicts of all TRs."""
    response = {"hrf": hrf} if hrf == "glover" else {"delays": DELAYS}
    model = EncodingModel(cv=BlockedFolds(5, tr=TR), tr=TR, **response)
    return model.fit(features, bold, run=run, train=train).predict(features, run=run)


def measure(cell: Cell, subjects: Sequence[dict[str, Any]], work: Path) -> dict[str, Any]:
    """One cell: a training, and ridge of each listener."""
    folder = work / "runs" / f"{cell.name}_{build_digest()}"
    settings = settings_of(cell, subjects, folder)
    study = build_study(settings)
    result = Trainer(settings, study=study).fit()
    found = scored(cell, study, MultimodalAutoencoder.from_pretrained(folder / "best"))
    if cell.data != "alice":  # of whom a quarter of twelve minutes is too short to hold passages
        found["passages"] = passages(folder)
    about = {"steps": result.step, "best_step": result.best_step, "training_s": round(result.seconds, 1)}
    return {**found, **about, "cell": cell.name, "build": build_digest()}


def scored(cell: Cell, study: Study, model: MultimodalAutoencoder) -> dict[str, Any]:
    """Mean r of model and ridge on the test TRs; of listeners with the same TRs also the interval of the mean."""
    measured, predicted, runs = [], [], []
    for recording in study.recordings:
        subject = recording.subject
        splits, normalisers = study.splits[subject], study.normalisers[subject]
        series, n = recording.series, len(recording.run)
        tested = np.unique(recording.run[splits.test])
        if cell.data != "alice" and not np.array_equal(tested, np.unique(recording.run)[-TEST_STORIES:]):
            raise SystemExit(f"listener {subject}: runs {tested} are tested, not the last {TEST_STORIES}")
        bold = normalisers["bold"](series["bold"].read(0, n))
        features = np.nan_to_num(normalisers["text"](series["text"].read(0, n)))
        theirs = ridge(features, bold, splits.train, recording.run, cell.hrf)
        stretches = predict(model, recording, normalisers, splits.test, stimulus_trs=study.stimulus_trs[subject])
        kept = [(one, one.bold_scored) for one in stretches]
        rows = np.concatenate([np.arange(one.start, one.stop)[keep] for one, keep in kept])
        measured.append(np.concatenate([one.bold[keep] for one, keep in kept]))
        ours = np.concatenate([one.bold_predicted[keep] for one, keep in kept])
        predicted.append({"model": ours, "ridge": theirs[rows]})
        runs.append(recording.run[rows])
    each = [compared([bold], [own], TR, run) for bold, own, run in zip(measured, predicted, runs, strict=True)]
    same = all(len(run) == len(runs[0]) for run in runs) and len({bold.shape[1] for bold in measured}) == 1
    together = compared(measured, predicted, TR, runs[0]) if same else _mean(each)
    ceiling = None
    if cell.data == "alice" and len(measured) > 1:
        ceiling = float(np.nanmean(intersubject_correlation(measured, tr=TR).expected))
    listeners = {one.subject: own for one, own in zip(study.recordings, each, strict=True)}
    return {**together, "ceiling": ceiling, "listeners": listeners}


def passages(folder: Path) -> list[dict[str, Any]]:
    """How often passages of the test stories are told apart by what the model and ridge decode of them."""
    made = reconstruct(TrainedRun.open(folder), out_dir=folder / "reconstruction", overwrite=True, device="cpu")
    return [one.as_dict() for one in made.scorecard.passages]


def _mean(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of listeners with other TRs: means without an interval."""
    ours, theirs = (float(np.mean([one[name] for one in each])) for name in ("model", "ridge"))
    plain = {"low": None, "high": None}
    return {
        "model": ours, "ridge": theirs, "ratio": {"value": ours / theirs, **plain},
        "difference": {"value": ours - theirs, **plain}, "n_scored": each[0]["n_scored"],
    }  # fmt: skip


def cells_of(name: str, subjects: Sequence[dict[str, Any]]) -> list[Cell]:
    """Each listener by himself, and all at once, with each HRF."""
    names = tuple(one["name"] for one in subjects)
    alone = [Cell(name, (who,), hrf, False) for hrf in HRFS for who in names]
    return [*alone, *(Cell(name, names, hrf, True) for hrf in HRFS)]


def table(found: Sequence[dict[str, Any]]) -> str:
    """All cells, the lowest ratio first; of many listeners each by himself, the mean, and a table of their own."""
    by_cell = {one["cell"]: one for one in found}
    alone = {
        hrf: [one for name, one in by_cell.items() if ALONE.fullmatch(name) and name.endswith(hrf)] for hrf in HRFS
    }
    rows = [_row(one) for one in sorted(found, key=_by_ratio) if not ALONE.fullmatch(one["cell"])]
    rows = [*(_mean_row(hrf, many) for hrf, many in alone.items() if many), *rows]
    each = [_row(one) for one in sorted((one for many in alone.values() for one in many), key=_by_ratio)]
    head = [
        "| data, who, HRF | model r | ridge r | ratio (95 %) | model - ridge (95 %) | ceiling | steps (best) | s |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    told = "Each listener of Alice by himself: three minutes and six regions, so that each row is mostly noise."
    return "\n".join([*head, *rows, *(["", told, "", *head, *each] if each else [])])


def _by_ratio(one: dict[str, Any]) -> float:
    return float(one["ratio"]["value"])


def _row(one: dict[str, Any]) -> str:
    ceiling = "-" if one["ceiling"] is None else f"{one['ceiling']:.3f}"
    ratio = interval(one["ratio"])
    cells = [one["cell"], f"{one['model']:.3f}", f"{one['ridge']:.3f}"]
    cells += [f"**{ratio}**" if round(_by_ratio(one), 3) < 0.98 else ratio, interval(one["difference"]), ceiling]
    return f"| {' | '.join(cells)} | {one['steps']} ({one['best_step']}) | {one['training_s']:.0f} |"


def _mean_row(hrf: str, many: Sequence[dict[str, Any]]) -> str:
    """The mean over listeners, with the interval of Student's t over them; the ratio is that of the means."""
    model, ridge = (np.array([one[name] for one in many]) for name in ("model", "ridge"))
    difference = model - ridge
    half = float(stats.t.ppf(0.975, len(many) - 1) * difference.std(ddof=1) / np.sqrt(len(many)))
    ratio, mean = model.mean() / ridge.mean(), difference.mean()
    told = f"{ratio:.3f}" if round(ratio, 3) >= 0.98 else f"**{ratio:.3f}**"
    cells = [f"alice, mean of {len(many)}, each alone, {hrf}", f"{model.mean():.3f}", f"{ridge.mean():.3f}", told]
    cells += [f"{mean:.3f} ({mean - half:.3f} to {mean + half:.3f})", "-", "-", "-"]
    return f"| {' | '.join(cells)} |"


def decoded_table(found: Sequence[dict[str, Any]]) -> str:
    """Passages told apart by model and by ridge, those first of which the model tells fewer."""
    lines = [
        "| data, who | passages of | passages | top-1, model (95 %) | top-1, ridge (95 %) | chance | p "
        "| pairwise, model | pairwise, ridge |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    # The response that encoding assumes has no part in decoding: one of the two HRFs is enough.
    last = f"-{HRFS[0]}"
    cells_of_one = [one for one in found if one["cell"].endswith(last)]
    told = [(one["cell"].removesuffix(last), own) for one in cells_of_one for own in one.get("passages", [])]
    for name, own in sorted(told, key=lambda row: row[1]["top"]["1"]["value"] - row[1]["ridge"]["top"]["1"]["value"]):
        ours, theirs = own["top"]["1"], own["ridge"]["top"]["1"]
        less = ours["value"] < theirs["value"]
        cells = [name, f"{own['seconds']:g} s", str(own["n_passages"])]
        cells += [f"**{interval(ours)}**" if less else interval(ours), interval(theirs), f"{ours['chance']:.3f}"]
        cells += [f"{ours['p']:.4f}", f"{own['pairwise']['value']:.3f}", f"{own['ridge']['pairwise']['value']:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Compute the cells that are asked for, print the table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made on the way")
    parser.add_argument("--alice", type=Path, default=ROOT.parent / "shared" / "fmri" / "alice")
    parser.add_argument("--lebel", type=Path, nargs="*", default=[], help="folders that scripts/spoken_stories.py made")
    parser.add_argument("--cells", default="*", help="pattern of their names; --list shows them")
    parser.add_argument("--known", action="store_true", help="compute nothing: the table of the cells that are there")
    parser.add_argument("--list", action="store_true", help="print the names of cells")
    parser.add_argument("--write", action="store_true", help="put the table into docs/parity.md")
    options = parser.parse_args()
    (options.work / "cells").mkdir(parents=True, exist_ok=True)
    data = {"alice": alice(options.alice, options.work)}
    data |= {folder.name: lebel(folder.resolve(), options.work) for folder in options.lebel}
    found = []
    for name, subjects in data.items():
        for cell in (one for one in cells_of(name, subjects) if fnmatch(one.name, options.cells)):
            if options.list:
                print(cell.name)
                continue
            path = options.work / "cells" / f"{cell.name}.json"
            found += kept(path, partial(measure, cell, subjects, options.work), known=options.known)
    if options.list:
        return
    for name, text in {"real": table(found), "decoded": decoded_table(found)}.items():
        print(text)
        if options.write:
            write_table(text, name, PAGE)


if __name__ == "__main__":
    main()
