"""The loop: windows to losses to weights, on one process or many, that can be stopped and gone on with anywhere.

Everything random in a step (the order of windows, dropout) is a function of seed, step and process, so that a run that
was stopped and went on has, on CPUs, the weights of one that was not, to the last bit.
"""

from __future__ import annotations

import json
import logging
import math
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from giblet.errors import GibletError
from giblet.files import check_writable, write_atomic
from giblet.progress import TrainingProgress, TrainingStep
from giblet.signals import SIGNALS, Stop, delayed_signals
from giblet.training.best import Best
from giblet.training.build import check_columns, model_of, windows_of
from giblet.training.checkpoint import (
    as_begun,
    check_complete,
    check_unchanged,
    followed,
    load_state,
    restore,
    save_state,
)
from giblet.training.linear import fit_linear_path
from giblet.training.linear_decoding import fit_linear_decoding
from giblet.training.log import RunLog
from giblet.training.objective import Batch, Losses, Objective
from giblet.training.processes import agree, alone, check_devices, check_launcher, ignore_signals, launch, lost
from giblet.training.result import SUMMARY, RunResult, TrainingInterrupted
from giblet.training.run_folder import write_normalisers, write_splits
from giblet.training.scored_windows import Schedule, ScoredWindows
from giblet.training.settings import FREE_TO_CHANGE, TrainSettings
from giblet.training.study import Study, build_study, with_tr
from giblet.version import __version__

log = logging.getLogger(__name__)


class Trainer:
    """Trains a multimodal autoencoder, or goes on where its output folder says it was stopped.

    Parameters
    ----------
    settings : TrainSettings
    progress : callable, optional
        Called after each step with a :class:`giblet.progress.TrainingStep`; its losses are ``train``, ``val`` (both
        weighted sums) and each by its name.
    study : Study, optional
        The data, if they are already read; by default what the settings name is read.

    Examples
    --------
    >>> Trainer(TrainSettings.from_yaml("train.yaml")).fit()  # doctest: +SKIP
    """

    def __init__(
        self, settings: TrainSettings, progress: TrainingProgress | None = None, *, study: Study | None = None
    ) -> None:
        self.settings, self.progress, self.study = settings, progress, study
        self.output = settings.output

    def fit(self, until: int | None = None) -> RunResult:
        """Train.

        Parameters
        ----------
        until : int, optional
            Pause after this step, state saved.

        Returns
        -------
        RunResult

        Raises
        ------
        GibletError
            If the data, the settings or the output folder cannot be used, or a loss is not a number.
        TrainingInterrupted
            On Ctrl-C or SIGTERM, after the state was saved.
        """
        asked, self.settings = self.settings, with_tr(self.settings)
        check_devices(self.settings)
        check_launcher(self.settings)
        check_writable(self.output)
        state = load_state(self.output / "checkpoints")
        asked, self.settings = (as_begun(one, state) for one in (asked, self.settings))
        if state is not None:  # before the data are read
            check_complete(state, self.output / "checkpoints")
            settings = self.settings.model_dump(mode="json")
            state = followed(state, settings)
            check_unchanged(state, {"settings": settings}, self._free(), self.output)
        study = self.study or build_study(asked, min_trs=self.settings.model.decode_trs)
        check_columns(self.settings, study)
        fabric = launch(self.settings)
        on_cuda = [fabric.device] if fabric.device.type == "cuda" else []
        with (
            lost(fabric, self.output), alone(fabric, self.output), torch.random.fork_rng(devices=on_cuda),
            delayed_signals() as stop,
        ):  # fmt: skip
            agree(fabric, self.output, state)
            return _Fit(self.settings, study, fabric, state, self.progress).train(until, stop)

    def _free(self) -> frozenset[str]:
        if self.settings.final_learning_rate is None:
            return FREE_TO_CHANGE
        return FREE_TO_CHANGE - {"epochs", "steps"}  # the cosine goes by the last step


class _Fit:
    """One call of fit, after the processes have started."""

    def __init__(
        self, settings: TrainSettings, study: Study, fabric: Fabric, state: dict[str, Any] | None,
        progress: TrainingProgress | None,
    ) -> None:  # fmt: skip
        self.settings, self.fabric, self.output = settings, fabric, settings.output
        self.main = fabric.global_rank == 0
        self.progress = progress if self.main else None
        self.now = {
            "n_voxels": study.n_voxels, "codec_fingerprint": {"codec": study.codec_fingerprint},
            "sources": study.sources,
            # States of runs whose volumes are read at their onset have none.
            "slice_time_ref": {name: ref for name, ref in study.slice_time_ref.items() if ref},
        }  # fmt: skip
        if state is not None:
            check_unchanged(state, self.now, frozenset(), self.output)
        share = {"rank": fabric.global_rank, "world": fabric.world_size, "accumulate": settings.accumulate}
        self.train_windows, self.val_windows = (windows_of(settings, study, part) for part in ("train", "val"))
        self.schedule = Schedule(self.train_windows, settings.batch_size, settings.seed, **share)
        self.val_schedule = Schedule(self.val_windows, settings.batch_size, settings.seed, **share)
        self.last = settings.steps or settings.epochs * self.schedule.steps_per_epoch
        self.model, scales = model_of(settings, study)
        centre = settings.data.centre_runs
        self.train_windows.linear = fit_linear_path(self.model, self.train_windows, centre_runs=centre)
        fit_linear_decoding(self.model, self.train_windows, centre_runs=centre, moments=study.moments)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay,
            # One pass over the weights where the default takes ten; on GPUs torch chooses.
            fused=True if fabric.device.type == "cpu" else None,
        )  # fmt: skip
        losses = Losses(self.model, scales)
        with warnings.catch_warnings():
            # torch 2.13 speaks of broadcast_buffers, for which it has nothing yet that leaves out the first sending.
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)
            self.network, wrapped = fabric.setup(losses, self.optimizer)
        self.step_optimizer = wrapped.step
        self.objective = Objective(fabric, losses)
        after = None if state is None else int(state["step"])
        self.log = RunLog(self.output, tensorboard=settings.log == "tensorboard", after=after) if self.main else None
        self.step, self.seconds, self.rows = 0, 0.0, list[dict[str, Any]]()
        self.best = Best(self.model, self.objective.total)
        self.knowing_nothing, self.courses = dict[str, float](), dict[str, list[Any]]()
        self.running = {name: [0.0, 0.0] for name in ("gradient", *self.objective.names)}
        if state is not None:
            self._restore(state)
        elif self.main:
            for name, told in study.split_notes.items():
                for note in told:
                    log.warning("%s%s", f"subject {name}: " if name else "", note)
            write_splits(study, self.output / "splits.json")
            write_normalisers(study.normalisers, self.output)
            write_atomic(self.output / "config.yaml", settings.to_yaml())

    def train(self, until: int | None, stop: Stop) -> RunResult:
        began, first = time.monotonic() - self.seconds, self.step
        self.model.train()
        if not self.rows:
            self.knowing_nothing = self.objective.know_nothing(self._val_batches())
            self._validate({})
        loader = iter(self._loader())
        status = "up to date"
        steps = self.schedule.steps(self.step, self.last)
        while self.step < self.last and not self._out_of_patience():
            signalled = self._signalled(stop)
            if signalled is not None or (until is not None and self.step >= until):
                status = "paused"
                break
            self._one_step([next(loader) for _ in next(steps)])
            self.seconds = time.monotonic() - began
            if (
                self.step % (self.schedule.steps_per_epoch * self.settings.validate_every) == 0
                or self.step == self.last
            ):
                self._validate(self._means())
            if self.step % self.settings.checkpoint_every == 0 and self.step < self.last:
                self._save()
        # The summary is written last: without it a run was killed between its last step and its end.
        complete = self.fabric.broadcast(self._is_summarised())
        if self.step > first or not complete:
            self._save()
        if status != "paused" and (self.step > first or not complete):
            status = "finished" if self.step >= self.last else "stopped early"
            for note in self.best.notes(self.output / "best", self._linear_val()) if self.main else []:
                log.warning("%s; the documentation, How to train, says what that means", note)
        result = self._result(status)
        if self.main and status != "up to date":
            about = {**result.as_dict(), "giblet_version": __version__, "device": str(self.fabric.device)}
            text = json.dumps({**about, "processes": self.fabric.world_size}, indent=1)
            write_atomic(self.output / SUMMARY, text + "\n")
        if status == "paused" and signalled is not None:
            raise TrainingInterrupted(self.step, self.fabric.global_rank, signalled)
        return result

    def _is_summarised(self) -> bool:
        """Whether the summary of the run is that of the state that it is in."""
        try:
            return bool(json.loads((self.output / SUMMARY).read_text(encoding="utf-8"))["step"] == self.step)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _signalled(self, stop: Stop) -> int | None:
        """The signal that asked one of the processes to stop, the same one in all of them."""
        counts = torch.tensor([float(stop.signal == number) for number in SIGNALS], dtype=torch.float64)
        asked = self.objective.sum_over_processes(counts)
        return int(SIGNALS[int(asked.argmax())]) if float(asked.sum()) > 0 else None

    def _one_step(self, pieces: list[Batch]) -> None:
        objective, names, world = self.objective, self.objective.names, self.fabric.world_size
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(_seed(self.settings.seed, self.step, self.fabric.global_rank))
        own = [objective.counts(piece) for piece in pieces]
        counts = objective.sum_over_processes(
            torch.tensor([sum(c[name] for c in own) for name in names], dtype=torch.float64)
        ).tolist()
        # DDP takes the mean over processes, where the sum is meant.
        divisors = {name: n / world if n else 1.0 for name, n in zip(names, counts, strict=True)}
        sums = torch.zeros(len(names), dtype=torch.float64)
        for i, piece in enumerate(pieces):
            with self.fabric.no_backward_sync(self.network, enabled=world > 1 and i < len(pieces) - 1):
                loss, parts = self.network(self.fabric.to_device(piece), divisors)
                self.fabric.backward(loss)
            sums += torch.tensor([float(parts[name]) for name in names]) / world
        norm = self._clipped()
        objective.check_finite(norm, self.step, pieces, self.train_windows)
        self.step_optimizer()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        losses = dict(zip(names, objective.sum_over_processes(sums).tolist(), strict=True))
        for name, n in zip(names, counts, strict=True):
            self.running[name][0] += losses[name] * n
            self.running[name][1] += n
        self.running["gradient"][0] += norm
        self.running["gradient"][1] += 1
        if self.progress is not None:
            scored = {name: losses[name] for name, n in zip(names, counts, strict=True) if n}
            told = {"train": objective.total(scored), **scored, **self._last_val()}
            self.progress(TrainingStep(self.step, self.last, told, done=self.step / self.last))

    def _clipped(self) -> float:
        """Norm of the gradient; that of each way, as they share no weights, is brought to the largest allowed."""
        ways: dict[str, list[torch.nn.Parameter]] = {"encoding": [], "decoding": []}
        for name, parameter in self.model.named_parameters():
            ways[self.model.way_of(name)].append(parameter)
        norms = [torch.nn.utils.clip_grad_norm_(own, self.settings.clip_gradient) for own in ways.values()]
        return math.hypot(*(float(norm) for norm in norms))

    def _means(self) -> dict[str, float]:
        """Losses over the TRs since the last row, which begin anew."""
        means = {name: total / n for name, (total, n) in self.running.items() if n}
        self.running = {name: [0.0, 0.0] for name in self.running}
        return means

    def _last_val(self) -> dict[str, float]:
        return {"val": self.rows[-1]["val"]} if self.rows else {}

    def _validate(self, train: dict[str, float]) -> None:
        val, alone = self.objective.validate(self._val_batches(), self.knowing_nothing, self.courses)
        total = self.objective.total(val)
        row: dict[str, Any] = {
            "step": self.step, "epoch": self.step / self.schedule.steps_per_epoch, "seconds": round(self.seconds, 3),
            "learning_rate": self._rate(), "val": total, **{f"val_{name}": loss for name, loss in val.items()},
        }  # fmt: skip
        if train:
            losses = {name: loss for name, loss in train.items() if name != "gradient"}
            row |= {"gradient": train["gradient"], "train": self.objective.total(losses)}
            row |= {f"train_{name}": loss for name, loss in losses.items()}
        if not math.isfinite(total):
            self.model.eval()
            where = "; ".join(self.objective.not_finite(self._val_batches(), self.val_windows))
            raise GibletError(
                f"the validation loss is {total} at step {self.step}: {where or 'in windows of another process'}; look "
                "at these data, or train with a lower learning_rate in another output folder"
            )
        self.rows.append(row)
        if self.best.better(self.step, val, alone) and self.main:
            self.model.save(self.output / "best", self.best.tensors)
        if self.log is not None:
            self.log.add(row)

    def _out_of_patience(self) -> bool:
        return self.settings.patience is not None and self.best.since >= self.settings.patience

    def _rate(self) -> float:
        """A warm-up from 0, and a cosine down to the final rate if there is one."""
        s, high = self.settings, self.settings.learning_rate
        low = high if s.final_learning_rate is None else s.final_learning_rate
        cosine = low + (high - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / max(1, self.last - 1))))
        return cosine * min(1.0, (self.step + 1) / max(1, s.warmup_steps))

    def _loader(self) -> Iterator[Batch]:
        return self._batches(
            self.train_windows, (piece for step in self.schedule.steps(self.step, self.last) for piece in step)
        )

    def _batches(self, windows: ScoredWindows, sampler: Any) -> Iterator[Batch]:
        """Batches of the windows that `sampler` names; its own generator leaves the training's as it is."""
        loader = DataLoader(
            windows, batch_sampler=sampler, num_workers=self.settings.num_workers, worker_init_fn=ignore_signals,
            generator=torch.Generator().manual_seed(self.settings.seed),
        )  # fmt: skip
        return iter(loader)

    def _val_batches(self) -> Iterator[Batch]:
        return self._batches(self.val_windows, self.val_schedule.in_order())

    def _save(self) -> None:
        if self.main:
            state = {
                "settings": self.settings.model_dump(mode="json"), **self.now, "giblet_version": __version__,
                "seconds": self.seconds, "rows": self.rows, "best": self.best.ways, "running": self.running,
                "knowing_nothing": self.knowing_nothing, "courses": self.courses,
            }  # fmt: skip
            save_state(self.output / "checkpoints", self.model, self.optimizer, self.step, state, self.best.tensors)
            # With the state, so that both speak of the same files.
            write_atomic(self.output / "config.yaml", self.settings.to_yaml())
        self.fabric.barrier()

    def _restore(self, state: dict[str, Any]) -> None:
        self.best.restore(state["best"], restore(state, self.model, self.optimizer), self.output / "best")
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.rows, self.running = state["rows"], state["running"]
        self.knowing_nothing, self.courses = state["knowing_nothing"], state.get("courses", {})
        if self.log is not None:
            self.log.rows = list(self.rows)
            self.log.write()
        log.info("going on after step %d", self.step)

    def _linear_val(self) -> dict[str, float]:
        """Losses of what a linear path predicts before the first step, when the network adds nothing."""
        path, first = self.model.linear_path, self.rows[0] if self.rows else {}
        names = () if path is None else path.fitted
        return {name: float(first[f"val_{name}"]) for name in names if f"val_{name}" in first}

    def _result(self, status: str) -> RunResult:
        return RunResult(
            self.output, status, self.step, self.step / self.schedule.steps_per_epoch, self.best.steps,
            self.best.total, self.best.val, sum(p.numel() for p in self.model.parameters()),
            round(self.seconds, 3), self.fabric.global_rank, self.settings.model.tr, self.model.slice_time_ref,
            self.best.no_better_than_mean, self._linear_val(), self.settings.data.split,
            self.settings.data.centre_runs,
        )  # fmt: skip


def _seed(seed: int, step: int, rank: int) -> int:
    """Of the random numbers of a step on a process."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, "uint64")[0] >> 1)
