"""How long does ``giblet bids`` take, beside bids2table's own listing of the same files?

    python benchmarks/bids_speed.py

The tree is made here: 10,000 derivatives in the manner of fMRIPrep 21, and the raw runs that they were made of.
bids2table lists the derivatives and gives the rows of the scans wanted; giblet also finds mask, confounds and sidecars
of each, and its clock. Each is a process of its own, they take turns, and medians are compared: of the work alone, and
of the whole process, in which giblet also starts its command line (a quarter of a second, whatever the dataset).
Times are the processor's, so that other work on the machine counts for little.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

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


LISTED = """
import sys, time, bids2table
from pyarrow import compute
started = time.process_time()
table = bids2table.index_dataset(sys.argv[1])
wanted = compute.and_(compute.equal(table["suffix"], "bold"), compute.equal(table["space"], "MNI152NLin2009cAsym"))
rows = table.filter(compute.fill_null(wanted, False)).to_pylist()
print(len(rows), time.process_time() - started)
"""
FOUND = """
import sys, time, bids2table, pyarrow.compute
from giblet.cli import main
from giblet.pipeline.bids import bids_runs
started = time.process_time()
rows = bids_runs(sys.argv[1])
print(len(rows), time.process_time() - started)
"""


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
            for run in range(1, 5):
                stem = f"sub-{subject:03d}_ses-{session}_task-film_run-{run}"
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


def timed(command: list[str]) -> tuple[float, str]:
    """Processor seconds of a process, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--most", type=float, default=1.3, help="times bids2table's own time (1.3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "study"
        runs = make_tree(root, options.files)
        query = {"root": str(root), "derivatives": "fmriprep", "space": "MNI152NLin2009cAsym"}
        config = Path(folder) / "c.yaml"
        config.write_text(json.dumps({"data": {"bids": query}}))
        commands = {
            "bids2table": [sys.executable, "-c", LISTED, str(root / "derivatives" / "fmriprep")],
            "giblet": [sys.executable, "-c", FOUND, str(config)],
            "giblet bids": [sys.executable, "-m", "giblet", "bids", str(config), "--json"],
        }
        whole: dict[str, list[float]] = {name: [] for name in commands}
        work: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.repeats):
            for name, command in commands.items():
                seconds, said = timed(command)
                whole[name].append(seconds)
                if name == "giblet bids":
                    found = len(json.loads(said)["runs"])
                else:
                    found = int(said.split()[0])
                    work[name].append(float(said.split()[1]))
                assert found == runs, (name, found, runs)
    own, theirs = (statistics.median(work[name]) for name in ("giblet", "bids2table"))
    print(f"{options.files} files, {runs} runs found")
    print(f"the work alone      bids2table {theirs:.2f} s  giblet {own:.2f} s  ratio {own / theirs:.2f}")
    command, script = (statistics.median(whole[name]) for name in ("giblet bids", "bids2table"))
    print(f"the whole process   bids2table {script:.2f} s  giblet {command:.2f} s  ratio {command / script:.2f}")
    return int(own / theirs > options.most)


if __name__ == "__main__":
    sys.exit(main())
