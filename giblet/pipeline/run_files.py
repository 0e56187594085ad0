"""What lies in the folder of a training run, as far as it came: each file, or None where it is not there."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from giblet.config import options_in
from giblet.errors import reading
from giblet.files import sha256_of
from giblet.training.result import LAST, SUMMARY

if TYPE_CHECKING:
    import pandas as pd

CONFIG, LOG, SPLITS = "config.yaml", "log.csv", "splits.json"
CARD = "_scorecard.json"
DAMAGED = "it is damaged or was edited: copy the run again"


@dataclass(frozen=True)
class Card:
    """A scorecard on disk, and what was written with it."""

    path: Path
    content: dict[str, Any]

    @property
    def whose(self) -> str:
        """Subject and part, in words."""
        about = self.content
        who = (
            f"subject {about['subject']}"
            if "subject" in about
            else f"mean of {len(about.get('subjects', []))} subjects"
        )
        brain = [f"{name} {_name(about[name])}" for name in ("bold", "lesion") if about.get(name)]
        return ", ".join([who, f"{about.get('split', 'scored')} part", *brain])

    @property
    def is_group(self) -> bool:
        """Whether it is of the mean of several subjects."""
        return "subjects" in self.content

    @property
    def stretches(self) -> list[tuple[dict[str, Any], str]]:
        """Each stretch that was decoded, and how the names of its files begin."""
        stem = self.path.name.removesuffix(CARD)
        found = list(self.content.get("stretches", []))
        return [(one, stem + (f"_rows-{one['first_row']}" if len(found) > 1 else "")) for one in found]

    def file(self, name: str) -> Path | None:
        """A file beside the scorecard.

        Parameters
        ----------
        name : str

        Returns
        -------
        Path or None
            None where it is not there.
        """
        path = self.path.with_name(name)
        return path if path.is_file() else None


@dataclass(frozen=True)
class RunFiles:
    """The folder of a training run, which may have failed or been stopped at any moment."""

    folder: Path

    def _json(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        if not path.is_file():
            return None
        with reading(path, DAMAGED):
            return dict(json.loads(path.read_text(encoding="utf-8")))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration, as the file has it."""
        return options_in(self.folder / CONFIG)

    @cached_property
    def log(self) -> pd.DataFrame | None:
        """Losses, one row for each validation; None where there was none yet."""
        import pandas as pd

        path = self.folder / LOG
        if not path.is_file():
            return None
        with reading(path, DAMAGED):
            table = pd.read_csv(io.StringIO(path.read_text(encoding="utf-8")))
            return table if "step" in table and len(table) else None

    @cached_property
    def splits(self) -> dict[str, Any] | None:
        """By subject the rows of each part, and the run of each row."""
        return self._json(SPLITS)

    @cached_property
    def summary(self) -> dict[str, Any] | None:
        """How it ended; None where it did not end by itself."""
        return self._json(SUMMARY)

    @cached_property
    def state(self) -> dict[str, Any] | None:
        """The last saved state, without its tensors."""
        return self._json(f"checkpoints/{LAST}")

    @property
    def best_steps(self) -> dict[str, int]:
        """The step of the best validation, of encoding and of decoding; empty where none is known."""
        best = (self.summary or {}).get("best_steps")
        if best is None:
            saved = (self.state or {}).get("best", {})
            best = {way: one["step"] for way, one in saved.items() if isinstance(one, Mapping) and "step" in one}
        return {str(way): int(step) for way, step in best.items()}

    @property
    def model_sha256(self) -> str | None:
        """Of the best model; None where there is none."""
        path = self.folder / "best" / "model.safetensors"
        return sha256_of(path) if path.is_file() else None

    @property
    def subjects(self) -> list[str]:
        """Their names, in the order of the configuration."""
        data = self.settings.get("data") or {}
        return [str(one.get("name")) for one in data.get("subjects") or []]

    @property
    def modalities(self) -> list[str]:
        """What of the stimulus any run has features of."""
        runs = self._runs
        return [name for name in ("audio", "video", "text") if any(run.get(name) for run in runs)]

    @property
    def simulated(self) -> bool:
        """Whether BOLD of it is named as `giblet simulate` names it."""
        return any("_simulated_bold" in str(run.get("bold")) for run in self._runs)

    @property
    def _runs(self) -> list[dict[str, Any]]:
        data = self.settings.get("data") or {}
        return [run for one in data.get("subjects") or [] for run in one.get("runs") or []]

    @cached_property
    def results(self) -> list[Card]:
        """Scorecards of `giblet reconstruct` in the run: groups first, lesions and other scans last."""
        found = []
        for path in sorted(self.folder.glob(f"reconstruction*/*{CARD}")):
            with reading(path, "reconstruct again (overwrite=True)"):
                found.append(Card(path, dict(json.loads(path.read_text(encoding="utf-8")))))
        return sorted(
            found, key=lambda one: (one.path.parent.name, not one.is_group, one.content.get("split") != "test")
        )

    def audio_of(self, subject: str, run: int) -> Path | None:
        """The feature file of the sound of a run.

        Parameters
        ----------
        subject : str
        run : int
            Counted from 1, as the scorecards do.

        Returns
        -------
        Path or None
            None where the run has no sound; the file need not be there.
        """
        for one in (self.settings.get("data") or {}).get("subjects") or []:
            runs = one.get("runs") or []
            if str(one.get("name")) == subject and 1 <= run <= len(runs) and runs[run - 1].get("audio"):
                return Path(str(runs[run - 1]["audio"]))
        return None


def _name(one: Any) -> str:
    if isinstance(one, list):
        return ", ".join(map(_name, one))
    return str(one.get("name", one)) if isinstance(one, Mapping) else str(one)
