"""How long does ``giblet bids`` take, beside bids2table's own listing of the same files?

    python benchmarks/bids_speed.py

The tree is made here: 10,000 derivatives in the manner of fMRIPrep 21, and the raw runs that they were made of.
bids2table lists the derivatives and gives the rows of the scans wanted; giblet also finds mask, confounds and sidecars
of each, and its clock. Each is a process of its own, and they take turns. Compared are the work alone, and the whole
process, in which giblet also starts its command line (a quarter of a second, whatever the dataset).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ratios import Measured, Ratio, in_own_process, in_turns, run, timed

IN_A_SPACE = (
    "boldref.nii.gz", "desc-aseg_dseg.nii.gz", "desc-aparcaseg_dseg.nii.gz", "desc-brain_mask.nii.gz",
    "desc-brain_mask.json", "desc-preproc_bold.nii.gz", "desc-preproc_bold.json",
)  # fmt: skip
NAMES = (
    *(f"space-{space}_{name}" for space in ("T1w", "MNI152NLin2009cAsym_res-2") for name in IN_A_SPACE),
    *IN_A_SPACE[3:],
    *(f"space-MNI152NLin6Asym_desc-smoothAROMAnonaggr_bold.{ending}" for ending in ("nii.gz", "json")),
    *(f"hemi-{side}_space-fsaverage5_bold.{ending}" for side in "LR" for ending in ("func.gii", "json")),
    *(f"space-fsLR_den-91k_bold.{ending}" for ending in ("dtseries.nii", "dtseries.json", "json")),
    "from-scanner_to-T1w_mode-image_xfm.txt", "from-T1w_to-scanner_mode-image_xfm.txt", "desc-MELODIC_mixing.tsv",
    "AROMAnoiseICs.csv", "desc-confounds_timeseries.json",
)  # fmt: skip
"""What fMRIPrep 21.0.2 wrote of each run of OpenNeuro's ds000102, beside the table of confounds."""
SPACE, N_FILES = "MNI152NLin2009cAsym", 10_000


def make_tree(root: Path, n_files: int) -> int:
    """Files of derivatives until there are so many; how many runs they are of."""
    described = {"BIDSVersion": "1.10.0", "DatasetType": "raw", "Name": "film"}
    derivatives = root / "derivatives" / "fmriprep"
    derivatives.mkdir(parents=True)
    (root / "dataset_description.json").write_text(json.dumps(described))
    (derivatives / "dataset_description.json").write_text(json.dumps({**described, "DatasetType": "derivative"}))
    made, runs, subject = 1, 0, 0
    while made < n_files:
        subject += 1
        for session in ("01", "02"):
            for number in range(1, 5):
                stem = f"sub-{subject:03d}_ses-{session}_task-film_run-{number}"
                raw, func = (top / f"sub-{subject:03d}" / f"ses-{session}" / "func" for top in (root, derivatives))
                raw.mkdir(parents=True, exist_ok=True)
                func.mkdir(parents=True, exist_ok=True)
                (raw / f"{stem}_bold.nii.gz").touch()
                (raw / f"{stem}_bold.json").write_text(json.dumps({"RepetitionTime": 1.5}))
                for name in NAMES:
                    content = '{"SliceTimingCorrected": false}' if name.endswith("bold.json") else "{}"
                    (func / f"{stem}_{name}").write_text(content if name.endswith(".json") else "")
                table = func / f"{stem}_desc-confounds_timeseries.tsv"
                table.write_text("trans_x\tnon_steady_state_outlier00\nn/a\t1\n0.1\t0\n")
                made, runs = made + len(NAMES) + 1, runs + 1
    return runs


def listed(derivatives: str) -> Measured:
    """bids2table's rows of the scans wanted; how many there are."""
    import bids2table
    from pyarrow import compute

    def rows() -> int:
        table = bids2table.index_dataset(derivatives)
        is_bold, in_mni = compute.equal(table["suffix"], "bold"), compute.equal(table["space"], SPACE)
        return len(table.filter(compute.fill_null(compute.and_(is_bold, in_mni), False)).to_pylist())

    return timed(rows)


def found(config: str) -> Measured:
    """giblet's rows of them, with all that is imported late there before; how many there are."""
    import bids2table  # noqa: F401
    import pyarrow.compute  # noqa: F401

    from giblet.cli import main  # noqa: F401
    from giblet.pipeline.bids import bids_runs

    return timed(lambda: len(bids_runs(config)))


def told(config: str) -> int:
    """How many rows the command tells of."""
    command = [sys.executable, "-m", "giblet", "bids", config, "--json"]
    return len(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["runs"])


def measure(options: argparse.Namespace) -> list[Ratio]:
    with tempfile.TemporaryDirectory() as folder:
        root, config = Path(folder) / "study", Path(folder) / "c.yaml"
        runs = make_tree(root, options.files)
        query = {"root": str(root), "derivatives": "fmriprep", "space": SPACE}
        config.write_text(json.dumps({"data": {"bids": query}}))
        theirs = partial(in_own_process, listed, str(root / "derivatives" / "fmriprep"))
        # The time of a whole process is taken from outside: what it measured within is left out.
        jobs: dict[str, Callable[[], object]] = {
            "bids2table": theirs,
            "giblet": partial(in_own_process, found, str(config)),
            "bids2table, the whole process": lambda: theirs().result,
            "giblet, the whole process": partial(told, str(config)),
        }
        turns = in_turns(jobs, options.repeats, warm_up=False)
    for name in jobs:
        if turns.result(name) != runs:
            raise ValueError(f"{name} found {turns.result(name)} runs in place of {runs}")
    what = f"{runs} runs among {options.files:,} files"
    whole = turns.ratio("giblet, the whole process", "bids2table, the whole process", what=f"{what}, the whole process")
    wanted = None if options.files < N_FILES else round(1 / options.most, 2)
    return [turns.ratio("giblet", "bids2table", what=what, at_least=wanted), whole]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--files", type=int, default=N_FILES)
    made.add_argument("--repeats", type=int, default=5)
    made.add_argument("--most", type=float, default=1.3, help="times bids2table's own time (1.3)")
    return made


if __name__ == "__main__":
    sys.exit(run(measure, parser()))
