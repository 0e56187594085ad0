"""The LSTM in pieces and in stretches side by side equals transformers' over the whole, however long it remembers."""

import pytest
import torch
from transformers import EncodecConfig
from transformers.models.encodec import modeling_encodec as theirs

from giblet.codec import lstm as module
from giblet.codec.lstm import RUN_UP, STRETCH, SkipLSTM
from tests.codec.pieces import in_pieces

N = 4 * STRETCH + 19
LENGTH, REST = STRETCH + 4, 3
"""Of four stretches of N frames, and what is left."""


@pytest.fixture
def whole():
    torch.manual_seed(0)
    return theirs.EncodecLSTM(EncodecConfig(), 8).requires_grad_(False)


@pytest.fixture
def x():
    return torch.randn(N, 8, generator=torch.Generator().manual_seed(1))


def remembering(lstm):
    """Forget gates at 1 - 3e-7, input gates at 0.27: what comes in stays for the whole signal."""
    for name, bias in lstm.named_parameters():
        if "bias_ih" in name:
            bias[:8] = -1.0
            bias[8:16] = 15.0
    return lstm


def run(lstm, x, cuts):
    layer = SkipLSTM(lstm)
    state = layer.new_state()
    with torch.inference_mode():
        return torch.cat([layer(piece.clone(), state, False) for piece in torch.tensor_split(x, cuts)]), state


def steps(lstm):
    """How many frames the LSTM goes through one after another, counted from now on."""
    seen = []
    lstm.register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    return seen


def test_short_pieces_equal_whole():
    torch.manual_seed(0)
    whole = theirs.EncodecLSTM(EncodecConfig(), 8)
    x = torch.randn(8, 40)
    with torch.inference_mode():
        expected = whole(x[None])[0]
    torch.testing.assert_close(in_pieces(SkipLSTM(whole.lstm), x, [1, 2, 25]), expected)


@pytest.mark.parametrize("cuts", [[], [2 * STRETCH], [1, 3 * STRETCH], [2 * STRETCH + 50, 2 * STRETCH + 51]])
@pytest.mark.parametrize("remembers", [False, True])
def test_stretches_side_by_side_equal_whole_wherever_it_is_cut(whole, x, cuts, remembers):
    if remembers:
        remembering(whole.lstm)
    expected = whole(x.t()[None])[0].t()
    torch.testing.assert_close(run(whole.lstm, x, cuts)[0], expected, atol=2e-6, rtol=1e-5)


def test_forgetting_lstm_steps_through_one_stretch_and_its_run_up_only(whole, x):
    seen = steps(whole.lstm)
    _, state = run(whole.lstm, x, [])
    assert state.forgets
    assert sum(seen) == RUN_UP + LENGTH + REST


def test_longer_piece_has_longer_stretches_not_more_of_them(whole, x, monkeypatch):
    monkeypatch.setattr(module, "SIDE_BY_SIDE", 2)
    seen = steps(whole.lstm)
    y, state = run(whole.lstm, x, [])
    assert state.forgets
    assert sum(seen) == RUN_UP + N // 2 + N % 2
    torch.testing.assert_close(y, whole(x.t()[None])[0].t(), atol=2e-6, rtol=1e-5)


def test_remembering_lstm_is_detected_once_and_then_computed_in_order(whole, x):
    seen = steps(remembering(whole.lstm))
    _, state = run(whole.lstm, x, [2 * STRETCH + 5])
    assert not state.forgets
    assert sum(seen) == RUN_UP + (STRETCH + 2) + (N - (STRETCH + 2))


def test_without_the_check_a_remembering_lstm_would_be_wrong(whole, x, monkeypatch):
    """So the equality above is the check's doing."""
    expected = whole.requires_grad_(False)
    remembering(expected.lstm)
    monkeypatch.setattr(module, "AGREEMENT", float("inf"))
    y, state = run(expected.lstm, x, [])
    assert state.forgets
    assert (y - expected(x.t()[None])[0].t()).abs().max() > 0.01


def test_stretches_before_the_one_that_disagrees_are_kept(whole, x, monkeypatch):
    """The second boundary is made to disagree: two stretches stand, the rest is computed again."""
    expected = whole(x.t()[None])[0].t()
    agree = module._agree

    def second_fails(exact, after_run_up):
        good = agree(exact, after_run_up)
        assert good.tolist() == [True, True, True]
        good[1] = False
        return good

    monkeypatch.setattr(module, "_agree", second_fails)
    seen = steps(whole.lstm)
    y, state = run(whole.lstm, x, [])
    assert not state.forgets
    assert sum(seen) == RUN_UP + LENGTH + (N - 2 * LENGTH)
    torch.testing.assert_close(y, expected, atol=2e-6, rtol=1e-5)


def test_silence_agrees_with_itself(whole):
    for name, bias in whole.lstm.named_parameters():
        if "bias" in name:
            bias.zero_()
    y, state = run(whole.lstm, torch.zeros(N, 8), [])
    assert state.forgets
    assert not y.any()


@pytest.mark.parametrize("remembers", [False, True])
def test_several_signals_together_equal_each_alone(whole, remembers):
    """Some end with a piece and some go on, with stretches of their own and without; what ends later is right too."""
    if remembers:
        remembering(whole.lstm)
    lengths = [17, STRETCH, 2 * STRETCH + 50, 2 * STRETCH + 50 + 9, 2 * STRETCH + 50 + 2 * STRETCH]
    gen = torch.Generator().manual_seed(2)
    signals = [torch.randn(n, 8, generator=gen) for n in lengths]
    layer, block = SkipLSTM(whole.lstm), 2 * STRETCH + 50
    states, outputs = [layer.new_state() for _ in signals], [[] for _ in signals]
    with torch.inference_mode():
        for start in range(0, max(lengths), block):
            going = [i for i, n in enumerate(lengths) if n > start]
            pieces = [signals[i][start : start + block].clone() for i in going]
            lasts = [lengths[i] <= start + block for i in going]
            for i, y in zip(going, layer.together(pieces, [states[i] for i in going], lasts), strict=True):
                outputs[i].append(y)
    for signal, pieces in zip(signals, outputs, strict=True):
        torch.testing.assert_close(torch.cat(pieces), whole(signal.t()[None])[0].t(), atol=2e-6, rtol=1e-5)
