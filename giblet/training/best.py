"""The best validation so far of each way: encoding and decoding share no weights, and overfit at different times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from giblet.checkpoints import read_tensors
from giblet.modalities import BOLD
from giblet.models import MultimodalAutoencoder
from giblet.models.checkpoint import WEIGHTS

WAYS = ("encoding", "decoding")
BELOW = 1.001
"""Times the loss of the linear path from which the model's own is called worse, and not equal but for rounding."""


class Best:
    """Which step was best for each way, its losses and its weights.

    A way that no validation TR can be scored in goes with the other.

    Parameters
    ----------
    model : MultimodalAutoencoder
        In training.
    total : callable
        The weighted sum of losses by name.

    Attributes
    ----------
    ways : dict of str to dict
        For ``"encoding"`` and ``"decoding"``: ``step``, ``total`` (the weighted sum of its losses; None where there are
        none), ``val`` (each of them), ``whole`` (the least total with the whole of the network's part) and ``since``
        (validations in which neither total was better: a network may learn long before it surely adds something).
    tensors : dict of str to Tensor
        By name, the weights of both at their best, on the CPU.
    """

    def __init__(self, model: MultimodalAutoencoder, total: Callable[[Mapping[str, float]], float]) -> None:
        self.model, self._total = model, total
        self.ways: dict[str, dict[str, Any]] = {
            way: {"step": 0, "total": None, "val": {}, "whole": None, "since": 0} for way in WAYS
        }  # fmt: skip
        self.tensors: dict[str, Tensor] = {}

    def better(self, step: int, val: Mapping[str, float], whole: Mapping[str, float]) -> bool:
        """Take note of a validation, and keep the weights of what is better now.

        Parameters
        ----------
        step : int
        val : mapping of str to float
            Each loss, by name.
        whole : mapping of str to float
            The same with the whole of the network's part.

        Returns
        -------
        bool
            Whether anything is.
        """
        own = {way: {name: loss for name, loss in val.items() if (name == BOLD) == (way == "encoding")} for way in WAYS}
        scored = [way for way in WAYS if own[way]]
        improved = []
        for way in scored:
            best, total = self.ways[way], self._total(own[way])
            learned = self._total({name: whole[name] for name in own[way]})
            best["since"] += 1
            if best["whole"] is None or learned < best["whole"]:
                best |= {"whole": learned, "since": 0}
            if best["total"] is None or total < best["total"]:
                best |= {"step": step, "total": total, "val": own[way], "since": 0}
                improved.append(way)
        for way in WAYS:
            if way in scored:
                continue
            if improved:
                self.ways[way] |= {"step": step, "since": 0}
                improved.append(way)
            else:
                self.ways[way]["since"] += 1
        for way in improved:
            self.tensors |= {name: value.detach().cpu().clone() for name, value in self.model.chosen(way).items()}
        return bool(improved)

    def restore(self, ways: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path) -> None:
        """Go on from a saved state.

        Parameters
        ----------
        ways : mapping
            As `ways`; or of a state of before each way kept its own, with one step for both.
        tensors : mapping of str to Tensor
            As `tensors`; empty in such a state.
        folder : Path
            With the best model, for such a state.

        Raises
        ------
        CheckpointError
            If that model cannot be read.
        """
        if "step" not in ways:
            self.ways = {way: {"whole": None, **ways[way]} for way in WAYS}
            self.tensors = dict(tensors)
            return
        whole = read_tensors(folder / WEIGHTS, "put the best model of the run back, or use another output folder")
        for way in WAYS:
            own = {name: loss for name, loss in ways["val"].items() if (name == BOLD) == (way == "encoding")}
            total = self._total(own) if own else None
            self.ways[way] = {
                "step": ways["step"], "total": total, "val": own, "whole": total, "since": ways["since"],
            }  # fmt: skip
            self.tensors |= {name: whole[name] for name in self.model.chosen(way)}

    @property
    def since(self) -> int:
        """Validations since either way was better."""
        return min(int(best["since"]) for best in self.ways.values())

    @property
    def steps(self) -> dict[str, int]:
        """The step of each way."""
        return {way: int(best["step"]) for way, best in self.ways.items()}

    @property
    def total(self) -> float:
        """The weighted sum of all losses, each way at its best."""
        return float(sum(best["total"] or 0.0 for best in self.ways.values()))

    @property
    def val(self) -> dict[str, float]:
        """Each loss, at the best of its way."""
        return {name: loss for best in self.ways.values() for name, loss in best["val"].items()}

    def notes(self, folder: Path, linear_val: Mapping[str, float]) -> list[str]:
        """What is to be said of a run at its end, in sentences.

        Parameters
        ----------
        folder : Path
            With the best model.
        linear_val : mapping of str to float
            Losses of the linear path alone, of what it predicts.

        Returns
        -------
        list of str
        """
        found, poor = [], list(self.no_better_than_mean)
        for way, best in self.ways.items():
            names = ", ".join(best["val"])
            if best["step"] > 0 or not best["val"]:
                continue
            if all(linear_val.get(name, 1.0) < 1 for name in best["val"]):
                told = ", ".join(f"{loss:.4g}" for loss in best["val"].values())
                found.append(
                    f"the network added nothing to {way} that carries over: no validation of {names} was better than "
                    f"that of the linear path alone ({told}), which is what {folder} holds for it"
                )
                continue
            poor = [name for name in poor if name not in best["val"]]
            found.append(
                f"no validation was better than that of the untrained model (step 0) in {way} ({names}), which is what "
                f"{folder} holds for it: nothing that carries over was learned"
            )
        below = [name for name, loss in self.val.items() if loss > BELOW * linear_val.get(name, loss)]
        if below:
            told = ", ".join(f"{name} ({self.val[name]:.4g}, ridge {linear_val[name]:.4g})" for name in below)
            found.append(
                f"below ridge: the best validation of {told} is worse than that of the linear path alone; train with "
                "more data or a lower learning_rate"
            )
        if poor:
            told = ", ".join(f"{name} ({self.val[name]:.4g})" for name in poor)
            found.append(
                f"the best validation is no better than the training mean (1) in {told}: nothing that carries over was "
                "learned of it"
            )
        return found

    @property
    def no_better_than_mean(self) -> tuple[str, ...]:
        """What the best model says no better than the training mean does."""
        return tuple(name for name, loss in self.val.items() if loss >= 1)
