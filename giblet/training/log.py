"""What a run writes down as it goes: ``log.csv``, one row per validation, and TensorBoard's files if asked."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from giblet.errors import InputError
from giblet.files import write_atomic

FIRST = ("step", "epoch", "seconds", "learning_rate", "gradient", "train", "val")


class RunLog:
    """Rows of a training run. They are part of its saved state, so that a run that goes on has no row twice.

    Parameters
    ----------
    folder : Path
        Of the run.
    tensorboard : bool
        Also write ``tensorboard/``.
    after : int, optional
        The run goes on after this step: what TensorBoard was told of later ones, before the stop, is hidden.

    Raises
    ------
    InputError
        If TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, *, tensorboard: bool = False, after: int | None = None) -> None:
        self.path, self.rows = folder / "log.csv", list[dict[str, Any]]()
        self._board: Any = None
        if tensorboard:
            from lightning_fabric.loggers import TensorBoardLogger

            try:
                self._board = TensorBoardLogger(
                    folder, name="tensorboard", version="", purge_step=None if after is None else after + 1
                )
            except ModuleNotFoundError as exc:
                raise InputError(
                    "log is 'tensorboard', which is not installed: pip install tensorboard, or choose 'csv'"
                ) from exc

    def add(self, row: Mapping[str, Any]) -> None:
        """Put down one row, and write the file whole.

        Parameters
        ----------
        row : mapping of str to number
            By column; TensorBoard needs ``step`` among them.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        self.rows.append(dict(row))
        if self._board is not None:
            values = {k: v for k, v in row.items() if isinstance(v, (int, float)) and k not in ("step", "epoch")}
            self._board.log_metrics(values, step=int(row["step"]))
            self._board.save()
        self.write()

    def write(self) -> None:
        """Write ``log.csv`` as the rows are now.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        names = sorted({name for row in self.rows for name in row}, key=_place)
        text = io.StringIO()
        writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(self.path, text.getvalue())


def _place(name: str) -> tuple[int, str]:
    return (FIRST.index(name) if name in FIRST else len(FIRST), name)
