"""``giblet simulate`` and ``giblet check-alignment``: a brain whose truth is known; does a scan fit its film?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from giblet.cli.shared import Device, Json, app, busy, err, for_shell, out, print_json
from giblet.errors import InputError

if TYPE_CHECKING:
    from giblet.evaluation.alignment import AlignmentCheck

Codec = Annotated[str | None, typer.Option(help="Where the file's codec is now, if it has moved.")]


@app.command()
# 23 parameters, of a Typer command: one for each option.
def simulate(
    features: Annotated[Path, typer.Argument(help="A feature file.", show_default=False)],
    out_dir: Annotated[Path, typer.Option("--out-dir", "-o", help="Folder for BOLD and truth.")] = Path(),
    snr: Annotated[float, typer.Option(help="Variance of signal over variance of noise; 0: noise alone.")] = 1.0,
    lag: Annotated[float, typer.Option(help="Seconds that the BOLD comes late; negative: early.")] = 0.0,
    n_voxels: Annotated[int, typer.Option(help="Voxels, or columns of a table.")] = 100,
    answers_to: Annotated[
        list[str] | None,
        typer.Option(
            help="What the brain answers to, once for each: features (the file itself), names (of codes), gammatone, "
            "modulation, word_frequency, random_net, or another feature file. Default: the file itself.",
        ),
    ] = None,
    film: Annotated[Path | None, typer.Option(help="The film or sound, for gammatone, modulation, random_net.")] = None,
    words: Annotated[Path | None, typer.Option(help="The words with their times, for word_frequency.")] = None,
    mapping: Annotated[str, typer.Option(help="linear, tanh or interaction.")] = "linear",
    confounds: Annotated[float, typer.Option(help="Share of head motion and global signal in the noise.")] = 0.0,
    subjects: Annotated[
        int | None, typer.Option(help="Write so many, sub-01 and on, each with noise of its own.")
    ] = None,
    own: Annotated[float, typer.Option(help="Share of the mapping in which subjects differ.")] = 0.0,
    regressor: Annotated[
        str | None,
        typer.Option(help="Answer to envelope, word_rate, luminance or luminance_change alone; default: all features."),
    ] = None,
    hrf: Annotated[str, typer.Option(help="glover or spm.")] = "glover",
    ar: Annotated[float, typer.Option(help="Correlation of the noise from one TR to the next, before drift.")] = 0.3,
    drift: Annotated[float, typer.Option(help="Share of slow drift in the noise.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Chooses mapping and noise.")] = 0,
    noise_seed: Annotated[int | None, typer.Option(help="Chooses the noise alone: one per subject.")] = None,
    table: Annotated[bool, typer.Option("--table", help="A table of columns instead of an image.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another simulation of that name.")] = False,
    codec: Codec = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Make BOLD that answers to features through a known mapping, with the truth beside it."""
    asked: dict[str, Any] = {
        "answers_to": answers_to, "film": film, "words": words, "table": table, "overwrite": overwrite, "snr": snr,
        "lag": lag, "n_voxels": n_voxels, "mapping": mapping, "hrf": hrf, "ar": ar, "drift": drift,
        "confounds": confounds, "own": own, "seed": seed, "noise_seed": noise_seed,
    }  # fmt: skip
    if subjects is not None and regressor is not None:
        raise InputError(f"regressor is {regressor!r}: several subjects answer to features, leave it out")
    with busy("simulating"):
        from giblet.pipeline import simulate as run
        from giblet.pipeline import simulate_subjects

        if subjects is None:
            scans = [run(features, out_dir, regressor=regressor, codec=codec, device=device, **asked)]
        else:
            scans = simulate_subjects(features, out_dir, n_subjects=subjects, **asked)
    n_trs, tr = len(scans[0].simulation.bold), float(scans[0].simulation.truth.attrs["tr"])
    if as_json:
        about = {"n_trs": n_trs, "n_voxels": n_voxels, "tr": tr, "snr": snr, "lag": lag, "seed": seed}
        about["circular"] = scans[0].circular
        print_json({**about, "files": [str(path) for scan in scans for path in scan.files]})
        return
    for scan in scans:
        first, *beside = scan.files
        told = f"{first}: {n_trs} TRs of {tr:g} s, {n_voxels} columns, SNR {snr:g}, lag {lag:+g} s"
        out.print(f"{told}{CIRCULAR[scan.circular]}", markup=False)
        for path in beside:
            out.print(str(path), markup=False)


CIRCULAR = {
    "yes": "; circular: it answers to what a model of these features is given",
    "in part": "; circular in part: it answers also to what a model of these features is given",
    "no": "",
}
"""What is said of a simulation beside its size."""


@app.command("check-alignment")
# 28 parameters, 82 lines, of a Typer command: one for each option.
def check_alignment(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FEATURES... BOLD",
            help="Feature files, and last one run of BOLD; or one YAML file of training or encoding settings.",
            show_default=False,
        ),
    ],
    subject: Annotated[
        str | None, typer.Option(help="One subject of the YAML file; default: all.", show_default=False)
    ] = None,
    run: Annotated[
        int | None, typer.Option(help="One run of each subject of the YAML file, from 1.", show_default=False)
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Mask in the space of the scan; NIfTI needs it, or --atlas.", show_default=False)
    ] = None,
    atlas: Annotated[
        Path | None,
        typer.Option(help="Labels in the space of the scan: the means of regions are scanned.", show_default=False),
    ] = None,
    background_label: Annotated[
        int | None, typer.Option(help="What the atlas holds where there is no region; default: 0.", show_default=False)
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Columns of a table, as a,b; default: all.")] = None,
    decimal: Annotated[str, typer.Option(help="Decimal sign of tables, . or a comma.")] = ".",
    tr: Annotated[float | None, typer.Option(help="Repetition time, s; default: the sidecar's or the image's.")] = None,
    overrule_tr: Annotated[bool, typer.Option("--overrule-tr", help="--tr holds; header or sidecar is wrong.")] = False,
    slice_time_ref: Annotated[
        float | None,
        typer.Option(help="Part of the TR, 0 to 1, that slices were brought to; default: the sidecar's StartTime."),
    ] = None,
    stimulus_time_at_volume_0: Annotated[
        float, typer.Option(help="Second of the stimulus at the onset of volume 0.")
    ] = 0.0,
    lags: Annotated[str, typer.Option(help="First and last lag, s.")] = "-15..15",
    hrf: Annotated[str, typer.Option(help="glover or spm.")] = "glover",
    n_surrogates: Annotated[
        int, typer.Option("--surrogates", help="Phase-randomised regressors of the null (n_surrogates in Python).")
    ] = 1000,
    high_pass: Annotated[float, typer.Option(help="Take out drifts slower than this, Hz.")] = 1 / 128,
    no_high_pass: Annotated[bool, typer.Option("--no-high-pass", help="Take out lines and parabolas only.")] = False,
    confounds: Annotated[Path | None, typer.Option(help="fMRIPrep's confounds table.", show_default=False)] = None,
    confound_columns: Annotated[str | None, typer.Option(help="Confounds to remove, as a,b or trans_?.")] = None,
    bad: Annotated[str, typer.Option(help="NaN and constant voxels: error or mask.")] = "error",
    trim: Annotated[bool, typer.Option("--trim", help="Accept a scan that ended before the stimulus.")] = False,
    seed: Annotated[int, typer.Option(help="Chooses the surrogates.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw it, as this file: .png, .pdf or .svg.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that stands at --plot.")] = False,
    codec: Codec = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Say by how many seconds a scan follows its stimulus, and whether that could be chance."""
    if len(files) == 1 and files[0].suffix.lower() in (".yaml", ".yml"):
        _check_configured(context, files[0], as_json)
        return
    if len(files) < 2:
        raise InputError(f"one file was given, {files[0]}: name feature files, and the BOLD last")
    if subject is not None or run is not None:
        raise InputError("--subject and --run choose from a YAML file of settings, and none was given: leave them out")
    asked: dict[str, Any] = {
        "mask": mask, "atlas": atlas, "background_label": background_label, "columns": _names(columns),
        "decimal": decimal, "tr": tr, "overrule_tr": overrule_tr, "slice_time_ref": slice_time_ref,
        "stimulus_time_at_volume_0": stimulus_time_at_volume_0, "lags": _range(lags), "hrf": hrf,
        "n_surrogates": n_surrogates, "high_pass": None if no_high_pass else high_pass, "confounds": confounds,
        "confound_columns": _names(confound_columns), "bad": bad, "trim": trim, "seed": seed, "plot": plot,
        "overwrite": overwrite, "codec": codec, "device": device,
    }  # fmt: skip
    with busy("checking the alignment"):
        from giblet.pipeline import check_alignment as job

        checks = job(files[:-1], files[-1], **asked)
    if as_json:
        rows = [{**checked.row(), "advice": for_shell(checked.advice)} for checked in checks]
        print_json({"regressors": rows, "plot": None if plot is None else str(plot)})
    for checked in checks:
        _tell(checked, as_json)


OF_SETTINGS = ("subject", "run", "lags", "hrf", "n_surrogates", "high_pass", "no_high_pass", "seed", "codec", "device")
"""Options of ``check-alignment`` that go with a YAML file of settings; the others stand in it."""


def _check_configured(context: typer.Context, config: Path, as_json: bool) -> None:
    """The check for the runs that settings name."""
    given = context.params
    for name, value in given.items():
        said = context.get_parameter_source(name)
        if name not in (*OF_SETTINGS, "files", "as_json") and said is not None and said.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} ({value}) is for files named one by one: with {config.name} it stands there")
    runs = []
    with busy("checking the alignment"):
        from giblet.pipeline.brain_study import check_configured

        for one in check_configured(
            config, lags=_range(given["lags"]), high_pass=None if given["no_high_pass"] else given["high_pass"],
            **{name: given[name] for name in ("subject", "run", "hrf", "n_surrogates", "seed", "codec", "device")},
        ):  # fmt: skip
            if not as_json:
                out.print(f"subject {one.subject}, run {one.number} ({one.bold.name})", markup=False)
            for checked in one.checks:
                _tell(checked, as_json)
            rows = [{**checked.row(), "advice": for_shell(checked.advice)} for checked in one.checks]
            runs.append({"subject": one.subject, "run": one.number, "bold": str(one.bold), "regressors": rows})
    if as_json:
        print_json({"runs": runs})


def _tell(checked: AlignmentCheck, as_json: bool) -> None:
    if not as_json:
        out.print(_one_line(checked), markup=False)
    if checked.verdict != "aligned":
        err.print(f"giblet: warning: {for_shell(checked.advice)}", markup=False)


def _one_line(one: AlignmentCheck) -> str:
    scan = one.scan
    text = f"{one.name}: best lag {scan.mean_best_lag:+g} s ({one.interval}), r = {one.r:.3f}, p = {scan.mean_p:.3g}"
    text += f", 95 % null {scan.mean_threshold:.3f}; {scan.n_volumes} of {one.n_trs} volumes of {one.tr:g} s"
    slow = None if one.high_pass is None else f"drifts slower than {1 / one.high_pass:.4g} s out, prewhitened"
    text += f", {slow or 'lines and parabolas out'}"
    return text + (f", read {one.slice_time_ref:.4g} TR after their onset" if one.slice_time_ref else "")


def _names(given: str | None) -> list[str] | None:
    return None if given is None else [name.strip() for name in given.split(",")]


def _range(given: str) -> tuple[float, float]:
    try:
        low, high = map(float, given.split(".."))
    except ValueError as exc:
        raise InputError(f"--lags is {given!r}; expected first and last lag in seconds, as in -15..15") from exc
    return low, high
