"""Each convolution, piece by piece, gives what transformers' gives for the whole signal."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode, mm_flop
from transformers import EncodecConfig
from transformers.models.encodec import modeling_encodec as theirs

from giblet.codec import convolutions
from giblet.codec.convolutions import ResidualBlock, Taps, TransposedConv, causal_conv
from tests.codec.pieces import in_pieces


def draw_cuts(data, n, lead, stride):
    """Places to cut n rows at, the first piece no shorter than the layer needs."""
    places = range(-(-lead // stride) * stride, n, stride)
    return sorted(data.draw(st.sets(st.sampled_from(places), max_size=4))) if places else []


def pairing(on):
    """Rows in pairs however few they are, or never; to be in force while a layer is made and while it is called."""
    least = 2 if on else 10**9
    return patch.multiple(convolutions, PAIRED_SIZE=least, PAIRED_ROWS=least)


CONVS = [(1, 4, 7, 1, 1), (4, 1, 7, 1, 1), (4, 6, 7, 1, 1), (4, 2, 3, 1, 1), (4, 2, 3, 1, 4), (2, 6, 1, 1, 1)]
CONVS += [(4, 8, 2 * stride, stride, 1) for stride in (2, 4, 5, 8)]


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize(("channels", "out", "width", "stride", "dilation"), CONVS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_convolution_in_pieces_equals_whole_at_any_length(channels, out, width, stride, dilation, paired, data):
    torch.manual_seed(0)
    whole = theirs.EncodecConv1d(EncodecConfig(), channels, out, width, stride, dilation)
    n = data.draw(st.integers(1, 60))
    x = torch.randn(channels, n)
    with torch.inference_mode():
        expected = whole(x[None])[0]
    with pairing(paired):
        layer = causal_conv(whole.conv)
        in_order = in_pieces(layer, x, draw_cuts(data, n, layer.lead, stride))
    torch.testing.assert_close(in_order, expected)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("stride", [2, 4, 5, 8])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_transposed_convolution_in_pieces_equals_whole(stride, paired, data):
    torch.manual_seed(0)
    whole = theirs.EncodecConvTranspose1d(EncodecConfig(), 6, 3, 2 * stride, stride)
    n = data.draw(st.integers(1, 20))
    x = torch.randn(6, n)
    with torch.inference_mode():
        expected = whole(x[None])[0]
    with pairing(paired):
        in_order = in_pieces(TransposedConv(whole.conv), x, draw_cuts(data, n, 1, 1))
    torch.testing.assert_close(in_order, expected)


def test_rows_in_pairs_take_three_products_instead_of_four_and_are_as_exact():
    """Quiet rows beside loud ones too: an output depends on its own two rows only."""
    gen = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 512, 128, generator=gen) / 32
    x = torch.randn(401, 512, generator=gen)
    x[::7] *= 1e-4
    x[1::7] *= 1e-4
    taps, bias, context = Taps([a, b], torch.zeros(128)), torch.zeros(128), torch.randn(1, 512, generator=gen)
    exact = x.double() @ a.double() + torch.cat([context, x[:-1]]).double() @ b.double()
    in_place = {torch.ops.aten.addmm_: lambda _, *factors, **__: mm_flop(*factors)}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        paired = taps(x, context)
    product = 2 * 512 * 128
    assert counter.get_total_flops() == 600 * product + 2 * product  # 200 pairs, and the odd row
    direct = torch.addmm(bias, x, a) + torch.cat([context, x[:-1]]) @ b
    errors = [(y - exact).norm(dim=1) / exact.norm(dim=1) for y in (paired, direct)]
    assert errors[0].max() < 3 * errors[1].max()
    assert errors[0][1::7].max() < 3 * errors[1][1::7].max()


@pytest.mark.parametrize("shortcut", [True, False])
def test_residual_block_in_pieces_equals_whole(shortcut):
    torch.manual_seed(0)
    whole = theirs.EncodecResnetBlock(EncodecConfig(use_conv_shortcut=shortcut), 8, [2, 1])
    layer = ResidualBlock(whole.block[1].conv, whole.block[3].conv, whole.shortcut.conv if shortcut else None)
    x = torch.randn(8, 40)
    with torch.inference_mode():
        expected = whole(x[None])[0]
    torch.testing.assert_close(in_pieces(layer, x, [9, 10, 25]), expected)


def test_first_piece_too_short_for_its_mirror_raises():
    layer = causal_conv(torch.nn.Conv1d(2, 2, 7))
    with pytest.raises(ValueError, match="pass at least 7"):
        layer(torch.zeros(6, 2), layer.new_state(), False)
