"""What a step minimises and a validation measures: means over TRs, of however many pieces and processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from giblet.errors import GibletError
from giblet.modalities import BOLD
from giblet.models import MultimodalAutoencoder, Scales, combined_loss
from giblet.models.losses import losses_by_row, mean_loss, scored_mask
from giblet.models.scales import CONSTANT
from giblet.training.gains import FOLDS, folds_of_windows, gain_of
from giblet.training.scored_windows import ScoredWindows

Batch = dict[str, Any]


class Losses(nn.Module):
    """A model together with its losses: what DDP wraps, as it must see in the outputs which parameters were used.

    Parameters
    ----------
    model : MultimodalAutoencoder
    scales : Scales
    """

    def __init__(self, model: MultimodalAutoencoder, scales: Scales) -> None:
        super().__init__()
        self.model, self.scales = model, scales

    def forward(self, batch: Batch, counts: Mapping[str, float]) -> tuple[Tensor, dict[str, Tensor]]:
        """The losses of a batch; sums over TRs are divided by `counts`.

        Parameters
        ----------
        batch : dict
            Windows of one subject: a DataLoader's, of :class:`giblet.training.scored_windows.ScoredWindows`.
        counts : mapping of str to float
            By modality, ``"bold"`` too.

        Returns
        -------
        total : Tensor, shape ()
            The weighted sum, with gradients.
        parts : dict of str to Tensor, shape ()
            Each loss by itself, without its weight; detached.

        Raises
        ------
        InputError
            As the model and :func:`giblet.models.losses.combined_loss`.
        """
        outputs = self._outputs(batch, waiting=True)
        books = self.model.decoder.codebooks
        return combined_loss(batch, outputs, self.model.settings, self.scales, books, counts)

    def at_gains(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of each row with nothing, half and all of the network's part beside the linear path.

        Parameters
        ----------
        batch : dict
            As for :meth:`forward`.

        Returns
        -------
        dict of str to Tensor, shape (B, W, 3)
            By modality, 0 in rows that do not count; three times the same where there is no linear path. Detached.
        """
        outputs, model = self._outputs(batch), self.model
        linear, whole = outputs["linear"], {BOLD: outputs["bold"], **outputs["decoded"]}
        half = {name: part + (whole[name] - part) / 2 for name, part in linear.items()}
        at_0, at_half, at_1 = (
            losses_by_row(batch, said, outputs["scored"], model.settings, self.scales, model.decoder.codebooks)
            for said in (linear, half, whole)
        )
        return {
            name: torch.stack([at_0.get(name, loss), at_half.get(name, loss), loss], dim=2)
            for name, loss in at_1.items()
        }

    def _outputs(self, batch: Batch, *, waiting: bool = False) -> dict[str, Any]:
        """What the model answers, its rows those that are the windows' own."""
        scored = own_rows(self.model, batch)
        # What no scored volume depends on need not be encoded, nor decoded what is not scored.
        needed = self.model.rows_before(scored[BOLD])
        mask = {name: rows if name == BOLD else rows & needed for name, rows in batch["mask"].items()}
        subject = int(batch["subject"][0])
        outputs = self.model(batch["data"], mask, subject, batch["trs"], batch.get("linear"), waiting=waiting)
        return outputs | {"scored": scored}


def own_rows(model: MultimodalAutoencoder, batch: Batch) -> dict[str, Tensor]:
    """Of the rows that can be scored, those that are these windows' own.

    Parameters
    ----------
    model : MultimodalAutoencoder
    batch : dict
        As for :meth:`Losses.forward`.

    Returns
    -------
    dict of str to Tensor of bool, shape (B, W)
        ``"bold"`` and ``"decode"``, as :meth:`giblet.models.MultimodalAutoencoder.scored_rows` has them.
    """
    scored = model.scored_rows(batch["mask"], batch["trs"])
    return {way: rows & batch["own"] for way, rows in scored.items()}


@dataclass(frozen=True)
class Objective:
    """The losses of a model over the pieces of a step and over processes.

    A mean over the TRs of a step is a sum over the pieces of all processes, divided by the TRs of all of them. Were
    each piece's own mean averaged instead, the TRs of a piece with few of them would count more, and two processes
    would not learn what one learns.
    """

    fabric: Fabric
    losses: Losses

    @property
    def model(self) -> MultimodalAutoencoder:
        """Whose losses they are."""
        return self.losses.model

    @property
    def names(self) -> list[str]:
        """Of the losses."""
        return [BOLD, *self.model.modalities]

    def counts(self, batch: Batch) -> dict[str, int]:
        """TRs of a batch that count for each loss.

        Parameters
        ----------
        batch : dict
            As for :meth:`Losses.forward`.

        Returns
        -------
        dict of str to int
            By the names of the losses.
        """
        scored = own_rows(self.model, batch)
        return {name: int(scored_mask(name, scored, batch).sum()) for name in self.names}

    def total(self, losses: Mapping[str, float]) -> float:
        """The weighted sum of losses.

        Parameters
        ----------
        losses : mapping of str to float
            By name; one that is left out adds nothing.

        Returns
        -------
        float
        """
        return sum(self.model.settings.modality_weights.get(name, 1.0) * loss for name, loss in losses.items())

    @torch.no_grad()
    def validate(
        self, batches: Iterable[Batch], knowing_nothing: Mapping[str, float], before: dict[str, list[Any]]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Mean of each loss over all TRs of all processes; a loss that no TR counts for is left out.

        Where there is a linear path, the network's part beside it gets the gain of
        :func:`giblet.training.gains.gain_of`, and the loss is with it.

        Parameters
        ----------
        batches : iterable of dict
            Those of this process, each as for :meth:`Losses.forward`.
        knowing_nothing : mapping of str to float
            What :meth:`know_nothing` found for the same TRs: the unit of the losses. Validation TRs may be louder, or
            easier to guess, than the training TRs that the losses are scaled by.
        before : dict of str to list
            What the validations before this one found, by the names of the losses, to which this one is added: lists of
            plain numbers (n_folds, 4), as :func:`giblet.training.gains.gain_of` takes them. While it is empty nothing
            was learned, and the gain is 0.

        Returns
        -------
        losses : dict of str to float
            By the names of the losses; 1 is no better than the training mean.
        whole : dict of str to float
            The same with the whole of the network's part, whatever the gain.
        """
        self.model.eval()
        courses = self._courses(batches)
        self.model.train()
        path = self.model.linear_path
        means = {name: course[:, :3].sum(0) / course[:, 3].sum() for name, course in courses.items()}
        whole = {name: float(at_gain[2]) / knowing_nothing[name] for name, at_gain in means.items()}
        found = dict(whole)
        if path is None:
            return found, whole
        for name in found.keys() & path.fitted:
            known = before.setdefault(name, [])
            known.append(courses[name].tolist())
            gain, loss = gain_of(np.array(known)) if len(known) > 1 else (0.0, float(means[name][0]))
            path.gain(name).fill_(gain)
            found[name] = loss / knowing_nothing[name]
        return found, whole

    def _courses(self, batches: Iterable[Batch]) -> dict[str, np.ndarray]:
        """Sums of each loss at three gains, and how many TRs, by fold of validation TRs; of what any TR counts for."""
        sums = torch.zeros(len(self.names), FOLDS, 4, dtype=torch.float64)
        for batch in batches:
            scored = own_rows(self.model, batch)
            on_device = self.fabric.to_device(batch)
            with self.fabric.autocast():
                losses = self.losses.at_gains(on_device)
            fold = folds_of_windows(batch["item"], batch["own"].shape[1])
            for place, name in enumerate(self.names):
                counted = scored_mask(name, scored, batch)
                rows = torch.cat([losses[name].double().cpu(), counted[..., None].double()], dim=2)
                sums[place].index_add_(0, fold.flatten(), rows.flatten(0, 1))
        courses = zip(self.names, self.sum_over_processes(sums).numpy(), strict=True)
        return {name: course for name, course in courses if course[:, 3].any()}

    @torch.no_grad()
    def know_nothing(self, batches: Iterable[Batch]) -> dict[str, float]:
        """What predicting the training mean costs, as `validate` would measure it; 1 where even that is never wrong.

        Parameters
        ----------
        batches : iterable of dict
            Those of this process, each as for :meth:`Losses.forward`.

        Returns
        -------
        dict of str to float
            By the names of the losses, mean over all TRs of all processes, on the scale of the training losses.
        """
        settings, scales, books = self.model.settings, self.losses.scales, self.model.decoder.codebooks

        def parts(batch: Batch) -> dict[str, Tensor]:
            scored = own_rows(self.model, batch)
            return mean_loss(scored, batch, settings, scales, books)

        return {name: loss if loss > CONSTANT else 1.0 for name, loss in self._means(batches, parts).items()}

    def _parts(self, batch: Batch) -> dict[str, Tensor]:
        """Sum of each loss over the rows that count."""
        with self.fabric.autocast():
            return self.losses(batch, dict.fromkeys(self.names, 1.0))[1]

    def _means(self, batches: Iterable[Batch], parts_of: Callable[[Batch], Mapping[str, Tensor]]) -> dict[str, float]:
        sums = torch.zeros(2, len(self.names), dtype=torch.float64)
        for batch in batches:
            counts = self.counts(batch)
            parts = parts_of(self.fabric.to_device(batch))
            sums += torch.tensor([[float(parts[n]) for n in self.names], [counts[n] for n in self.names]])
        sums = self.sum_over_processes(sums)
        return {name: float(s / n) for name, s, n in zip(self.names, *sums, strict=True) if n > 0}

    def sum_over_processes(self, values: Tensor) -> Tensor:
        """Sums over processes.

        Parameters
        ----------
        values : Tensor of float64, on the CPU
            Of this process; of the same shape on all.

        Returns
        -------
        Tensor of float64, on the CPU
            The same in all processes, of the shape of `values`.
        """
        if self.fabric.world_size == 1:
            return values
        summed: Any = self.fabric.all_reduce(values.to(self.fabric.device), reduce_op="sum")
        return summed.cpu()

    def check_finite(self, norm: float, step: int, pieces: Sequence[Batch], windows: ScoredWindows) -> None:
        """Stop on a gradient that is no number, naming the windows that it comes from.

        Parameters
        ----------
        norm : float
            Of the gradient.
        step : int
            Steps that were finished before this one.
        pieces : sequence of dict
            The batches of the step on this process.
        windows : ScoredWindows
            The windows of which they are made.

        Raises
        ------
        GibletError
            If `norm` is NaN or infinite.
        """
        if math.isfinite(norm):
            return
        names = "; ".join(windows.name_of(item) for batch in pieces for item in batch["item"].tolist())
        where = "; ".join(self.not_finite(pieces, windows)) or f"the gradient is {norm} in one of {names}"
        raise GibletError(
            f"the loss is not a number at step {step + 1}: {where}; "
            "look at these data, or train with a lower learning_rate in another output folder"
        )

    def not_finite(self, pieces: Iterable[Batch], windows: ScoredWindows) -> list[str]:
        """The windows whose loss is no number, each with the names of those losses.

        Parameters
        ----------
        pieces : iterable of dict
            Batches on this process.
        windows : ScoredWindows
            The windows of which they are made.

        Returns
        -------
        list of str
            One per window, such as ``"subject 01, run 1, TRs 0 to 99 (bold)"``.
        """
        found = []
        for batch in pieces:
            for row, item in enumerate(batch["item"].tolist()):
                one = {**_row(batch, row), "subject": batch["subject"]}
                with torch.no_grad():
                    parts = self._parts(self.fabric.to_device(one))
                bad = [name for name, loss in parts.items() if not math.isfinite(float(loss))]
                if bad:
                    found.append(f"{windows.name_of(item)} ({', '.join(bad)})")
        return found


def _row(value: Any, row: int) -> Any:
    """One window of a batch, as a batch of one."""
    return {k: _row(v, row) for k, v in value.items()} if isinstance(value, Mapping) else value[row : row + 1]
