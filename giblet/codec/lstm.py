"""EnCodec's LSTM, exact from one piece of a signal to the next, and several stretches of a piece side by side.

An LSTM reads all its weights for each frame, and waits for them. Stretches side by side share the reading, but each has
to know the state that the one before it ends in. So each is started from nothing a little earlier; if the LSTM has
forgotten by then what came before, the state is the one wanted. Whether it is, is seen when the stretch before has
ended, and if not, the rest is computed again in order: how long an LSTM remembers changes the time, not the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from giblet.codec.streaming import Layer

# Stretches of a piece at most, as many as fill a step of the LSTM: with more, the starts from nothing cost more than
# the sharing saves. Frames of a stretch at least, and of its start from nothing: by measurement, stretches of trained
# and of random models agree to rounding after 25 to 50 frames.
SIDE_BY_SIDE, STRETCH, RUN_UP = 6, 300, 100
# How far the state after a run-up may be from the one wanted, relative to the largest in its layer. Other summation
# orders in the same products make as much of a difference.
AGREEMENT = 32 * torch.finfo(torch.float32).eps


@dataclass
class LSTMState:
    """Hidden and cell state of an LSTM, None before the first piece, and whether its run-ups have sufficed so far."""

    hidden: tuple[Tensor, Tensor] | None = None
    forgets: bool = True


class SkipLSTM(Layer):
    """``x + lstm(x)``."""

    def __init__(self, lstm: nn.LSTM) -> None:
        self.lstm = lstm

    def new_state(self) -> LSTMState:
        """A stream that has seen nothing.

        Returns
        -------
        LSTMState
        """
        return LSTMState()

    def __call__(self, x: Tensor, state: LSTMState, last: bool) -> Tensor:
        """(time, channels) rows to rows of the same shape."""
        return self.together([x], [state], [last])[0]

    def together(self, pieces: Sequence[Tensor], states: Sequence[LSTMState], lasts: Sequence[bool]) -> list[Tensor]:
        """What calling the layer on a piece of each of several signals gives, to rounding.

        Signals whose own stretches do not fill a step of the LSTM share it: the rests, and short ones.

        Parameters
        ----------
        pieces : sequence of Tensor of float32, shape (time, channels)
            One of each signal. Pieces of signals that do not end here are of one length.
        states : sequence of LSTMState
            From `new_state`, brought up to date in place; not to be used again where the signal ends here.
        lasts : sequence of bool
            Whether each signal ends here.

        Returns
        -------
        list of Tensor of float32, shape (time, channels)
        """
        done = [self._stretches(x, state) for x, state in zip(pieces, states, strict=True)]
        rests = [x[len(y) :] for x, y in zip(pieces, done, strict=True)]
        # Signals that go on are of one length but for what their stretches did, and need the state at that end; those
        # that end here need none, and can be filled up.
        groups: dict[int | None, list[int]] = {}
        for which, (rest, last) in enumerate(zip(rests, lasts, strict=True)):
            if len(rest):
                groups.setdefault(None if last else len(rest), []).append(which)
        for group in groups.values():
            answers = self._rests([rests[i] for i in group], [states[i] for i in group])
            for i, y in zip(group, answers, strict=True):
                done[i] = torch.cat([done[i], y])
        return [y + x for x, y in zip(pieces, done, strict=True)]

    def _stretches(self, x: Tensor, state: LSTMState) -> Tensor:
        """The output for the stretches of a piece that can be done side by side; for none, if there is but one."""
        n_stretches = min(SIDE_BY_SIDE, len(x) // STRETCH)
        if n_stretches > 1 and state.forgets:
            length = len(x) // n_stretches
            return self._side_by_side(x[: n_stretches * length].view(n_stretches, length, -1), state)
        return x[:0]

    def _rests(self, rests: Sequence[Tensor], states: Sequence[LSTMState]) -> list[Tensor]:
        """The output for one piece of each signal, filled up to the longest; states are right where none was."""
        x = torch.nn.utils.rnn.pad_sequence(list(rests))  # (time, signals, channels)
        zero = x.new_zeros(self.lstm.num_layers, 1, self.lstm.hidden_size)
        hidden = [torch.cat([zero if s.hidden is None else s.hidden[i] for s in states], 1) for i in (0, 1)]
        y, ends = self.lstm(x, (hidden[0], hidden[1]))
        for i, state in enumerate(states):
            state.hidden = (ends[0][:, i : i + 1].contiguous(), ends[1][:, i : i + 1].contiguous())
        return [y[: len(rest), i] for i, rest in enumerate(rests)]

    def _side_by_side(self, x: Tensor, state: LSTMState) -> Tensor:
        """The output for as many of (stretches, time, channels) as agree with the ones before, at least the first."""
        stretches = x.transpose(0, 1)
        _, run_up = self.lstm(stretches[-RUN_UP:, :-1])
        first = state.hidden or tuple(torch.zeros_like(part[:, :1]) for part in run_up)
        starts = [torch.cat(parts, 1) for parts in zip(first, run_up, strict=True)]  # (layers, stretches, units)
        y, ends = self.lstm(stretches, tuple(starts))
        agree = torch.stack([_agree(end[:, :-1], part) for end, part in zip(ends, run_up, strict=True)]).all(0)
        n_good = 1 + int(agree.int().cumprod(0).sum())
        state.forgets = n_good == stretches.shape[1]
        state.hidden = (ends[0][:, n_good - 1 : n_good].contiguous(), ends[1][:, n_good - 1 : n_good].contiguous())
        return y[:, :n_good].transpose(0, 1).reshape(-1, y.shape[2])


def _agree(wanted: Tensor, found: Tensor) -> Tensor:
    """Whether (layers, stretches, units) states are the same to rounding, for each stretch."""
    return ((wanted - found).abs().amax(2) <= AGREEMENT * wanted.abs().amax(2)).all(0)
