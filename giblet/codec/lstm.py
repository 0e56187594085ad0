"""EnCodec's LSTM, exact from one piece of a signal to the next, and several stretches of a piece side by side.

An LSTM reads all its weights for each frame, so memory sets its speed. Stretches computed side by side share the
reading, but each needs the state that the one before it ends in. So each is started from zeros a little earlier, its
run-up: if the LSTM forgets within the run-up what came before, the state is the right one. Whether it is can be checked
when the stretch before has ended; if not, the rest is computed again in order. How long an LSTM remembers therefore
changes the time, not the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from giblet.codec.streaming import Layer, State

# The most stretches per piece (with more, the run-ups cost more than the sharing saves), the fewest frames per stretch,
# and the frames of a run-up. By measurement, stretches of trained and random models agree to rounding after 25 to 50.
SIDE_BY_SIDE, STRETCH, RUN_UP = 6, 300, 100
# How far the state after a run-up may be from the right one, relative to the largest in its layer. Another order of
# summation in the same products makes as much of a difference.
AGREEMENT = 32 * torch.finfo(torch.float32).eps


@dataclass
class LSTMState(State):
    """Hidden and cell state, each (layers, 1, units), None before the first piece; whether run-ups have sufficed."""

    hidden: tuple[Tensor, Tensor] | None = None
    forgets: bool = True


class SkipLSTM(Layer[LSTMState]):
    """``x + lstm(x)``.

    Parameters
    ----------
    lstm : nn.LSTM
        With as many units as channels.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        self.lstm = lstm

    def new_state(self) -> LSTMState:
        """The state of a stream that has seen nothing yet.

        Returns
        -------
        LSTMState
        """
        return LSTMState()

    def __call__(self, x: Tensor, state: LSTMState, last: bool) -> Tensor:
        """(time, channels) rows to rows of the same shape."""
        return self.together([x], [state], [last])[0]

    def together(self, pieces: Sequence[Tensor], states: Sequence[LSTMState], lasts: Sequence[bool]) -> list[Tensor]:
        """Next pieces of several signals: what calling the layer on each gives, up to rounding.

        What is left of each signal after its own stretches, and signals too short for stretches, go through the LSTM
        together.

        Parameters
        ----------
        pieces : sequence of Tensor of float32, shape (time, channels)
            One per signal. Pieces of signals that do not end here have the same length.
        states : sequence of LSTMState
            One per signal, from `new_state`, brought up to date in place; not to be used again where the signal ends.
        lasts : sequence of bool
            Whether each signal ends with its piece.

        Returns
        -------
        list of Tensor of float32, shape (time, channels)
        """
        done = [self._stretches(x, state) for x, state in zip(pieces, states, strict=True)]
        rests = [x[len(y) :] for x, y in zip(pieces, done, strict=True)]
        # A signal that goes on needs the state at the end of its piece, so it is only grouped with rests of its length.
        # One that ends here needs no state, and may be padded.
        groups: dict[int | None, list[int]] = {}
        for i, (rest, last) in enumerate(zip(rests, lasts, strict=True)):
            if len(rest):
                groups.setdefault(None if last else len(rest), []).append(i)
        for group in groups.values():
            outputs = self._rests([rests[i] for i in group], [states[i] for i in group])
            for i, y in zip(group, outputs, strict=True):
                done[i] = torch.cat([done[i], y])
        return [y + x for x, y in zip(pieces, done, strict=True)]

    def _stretches(self, x: Tensor, state: LSTMState) -> Tensor:
        """The output for the stretches of a piece that can be computed side by side; empty if there is only one."""
        n_stretches = min(SIDE_BY_SIDE, len(x) // STRETCH)
        if n_stretches > 1 and state.forgets:
            length = len(x) // n_stretches
            return self._side_by_side(x[: n_stretches * length].view(n_stretches, length, -1), state)
        return x[:0]

    def _rests(self, rests: Sequence[Tensor], states: Sequence[LSTMState]) -> list[Tensor]:
        """The output for one piece per signal, padded to the longest; states are right for those not padded."""
        x = torch.nn.utils.rnn.pad_sequence(list(rests))  # (time, signals, channels)
        zero = x.new_zeros(self.lstm.num_layers, 1, self.lstm.hidden_size)
        hidden = [torch.cat([zero if s.hidden is None else s.hidden[i] for s in states], 1) for i in (0, 1)]
        y, ends = self.lstm(x, (hidden[0], hidden[1]))
        for i, state in enumerate(states):
            state.hidden = (ends[0][:, i : i + 1].contiguous(), ends[1][:, i : i + 1].contiguous())
        return [y[: len(rest), i] for i, rest in enumerate(rests)]

    def _side_by_side(self, x: Tensor, state: LSTMState) -> Tensor:
        """The output (time', channels) for as many of the (stretches, time, channels) as agree with the one before."""
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


def _agree(exact: Tensor, after_run_up: Tensor) -> Tensor:
    """Whether (layers, stretches, units) states are the same to rounding, for each stretch."""
    return ((exact - after_run_up).abs().amax(2) <= AGREEMENT * exact.abs().amax(2)).all(0)
