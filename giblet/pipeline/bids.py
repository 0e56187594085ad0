"""What the section ``bids`` of a configuration finds, before anything is read of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from giblet.config import options_in
from giblet.data.bids.files import KEYS
from giblet.data.bids.query import BidsRun
from giblet.data.bids.settings import BidsSettings
from giblet.data.bold.strategies import strategy_confounds
from giblet.data.study_settings import SubjectSettings
from giblet.encoding.settings import EncodeSubjectSettings
from giblet.errors import InputError


def bids_runs(config: str | Path) -> list[dict[str, Any]]:
    """The runs that a configuration takes from a BIDS dataset.

    Parameters
    ----------
    config : str or Path
        YAML file of a training or an encoding run.

    Returns
    -------
    list of dict
        For each run its ``entities`` by name; ``bold``, ``mask`` and ``confounds``, paths or None, and ``right``, of a
        pair of hemispheres the second; ``tr`` in seconds and ``tr_source``, the sidecar that says it, or ``"given"``;
        ``slice_time_ref`` and ``slice_time_source``, the same or None; ``discarded``, volumes that are not in the file;
        ``stimulus_time_at_volume_0`` in seconds; ``dummy_scans``, first volumes that are left out; and ``scrubbed``,
        further ones that a strategy of confounds leaves out, or None where there is no strategy.

    Raises
    ------
    InputError
        If the file cannot be read, has no such section, or the dataset does not fit it.
    """
    query = bids_settings(config)
    kind = EncodeSubjectSettings if "bands" in options_in(config) else SubjectSettings
    for subject in query.subjects():  # finds what does not fit each other
        kind.make(**subject)
    return [_row(query, run) for runs in query.found.values() for run in runs]


def bids_settings(config: str | Path) -> BidsSettings:
    """The section ``bids`` of a configuration.

    Parameters
    ----------
    config : str or Path
        A YAML file; where its ``data`` names another configuration, that one is read.

    Returns
    -------
    BidsSettings

    Raises
    ------
    InputError
        If it cannot be read, or has none.
    """
    data = options_in(config).get("data")
    if isinstance(data, str):
        data = options_in(data).get("data")
    found = data.get("bids") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise InputError(f"{config} has no section data.bids: its scans are named one by one, or not at all")
    try:
        return BidsSettings.make(**found)
    except InputError as exc:
        raise InputError(f"data.bids: {exc}") from exc


def _row(query: BidsSettings, run: BidsRun) -> dict[str, Any]:
    clock, options = run.clock, query.each_subject
    dummies = query.dummy_scans(run)
    strategy, scrubbed = options.get("confound_strategy"), None
    if strategy is not None and run.confounds is not None:
        table, kept = strategy_confounds(run.confounds, run.bold, strategy, options.get("confound_options"), dummies)
        scrubbed = len(table) - len(kept) - dummies
    used = strategy is not None or bool(options.get("confound_columns"))
    own_ref = options.get("slice_time_ref") is not None
    return {
        "entities": {name: run.entities[key] for name, key in KEYS.items() if run.entities.get(key)},
        "bold": str(run.bold), "right": _text(run.right), "mask": _text(None if options.get("mask") else run.mask),
        "confounds": _text(run.confounds if used else None), "tr": clock.tr,
        "tr_source": "given" if clock.tr_source is None else str(clock.tr_source),
        "slice_time_ref": clock.slice_time_ref,
        "slice_time_source": "given" if own_ref else _text(clock.slice_time_source), "discarded": clock.discarded,
        "stimulus_time_at_volume_0": query.stimulus_time(run), "dummy_scans": dummies, "scrubbed": scrubbed,
    }  # fmt: skip


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
