"""Codes encoded by tables: the numbers and the gradients of the plain way."""

import pytest
import torch
from torch import nn

from giblet.errors import InputError
from giblet.models import AudioEncoder
from giblet.models.code_tables import distinct_rows, frames_after, mean_and_convolution
from giblet.models.latents import rows_of

K, V, D = 3, 5, 4
SHAPES = [(7, 3, 2, 1), (8, 3, 2, 1), (1, 3, 2, 1), (2, 3, 2, 1), (6, 5, 2, 2), (5, 4, 3, 0), (9, 1, 1, 0)]
"""Frames, and kernel, stride and padding of the convolution."""


def drawn(n, n_frames, seed=0, absent=0.1):
    """Codes (n, K, F), a share of them absent."""
    gen = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, V, (n, K, n_frames), generator=gen, dtype=torch.int32)
    return torch.where(torch.rand(codes.shape, generator=gen) < absent, -1, codes)


def plainly(rows, table, convolution):
    """The mean and the convolution by way of all channels."""
    channels = table.flatten(0, 1)[rows].transpose(2, 3).flatten(1, 2)
    return channels.mean(2), convolution(channels).transpose(1, 2)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("n_frames", "kernel", "stride", "padding"), SHAPES)
def test_tables_give_the_numbers_and_gradients_of_embedding_and_convolving(n_frames, kernel, stride, padding, bias):
    torch.manual_seed(0)
    convolution = nn.Conv1d(K * D, 6, kernel, stride=stride, padding=padding, bias=bias).double()
    table = torch.randn(K, V + 1, D, dtype=torch.float64, requires_grad=True)
    rows = rows_of(drawn(6, n_frames), V)
    expected, found = plainly(rows, table, convolution), mean_and_convolution(rows, table, convolution)
    assert found[1].shape[1] == frames_after(n_frames, convolution)
    learned = [table, *convolution.parameters()]
    towards = [torch.randn_like(one) for one in expected]
    gradients = [torch.autograd.grad(way, learned, towards) for way in (expected, found)]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients[1], gradients[0])


def test_gradients_of_tables_are_those_of_finite_differences():
    torch.manual_seed(0)
    rows = rows_of(drawn(2, 5), V)
    table = torch.randn(K, V + 1, D, dtype=torch.float64, requires_grad=True)
    weight, bias = torch.randn(2, K * D, 3, dtype=torch.float64), torch.randn(2, dtype=torch.float64)

    def both(table, weight, bias):
        convolution = nn.Conv1d(K * D, 2, 3, stride=2, padding=1)
        del convolution.weight, convolution.bias
        convolution.weight, convolution.bias = weight, bias
        return mean_and_convolution(rows, table, convolution)

    assert torch.autograd.gradcheck(both, (table, weight.requires_grad_(), bias.requires_grad_()))


def trained(encoder, codes, mask, by_tables, monkeypatch):
    """Features and gradients in training, with the same draws of dropout."""
    monkeypatch.setattr(encoder, "with_tables", lambda _: by_tables)
    encoder.zero_grad()
    torch.manual_seed(3)
    features = encoder(codes, mask)
    (features * torch.linspace(-1, 2, features.numel()).view_as(features)).sum().backward()
    return features.detach(), {name: p.grad.clone() for name, p in encoder.named_parameters()}


@pytest.mark.parametrize("n_frames", [112, 75, 3])
@pytest.mark.parametrize("with_codebooks", [True, False])
def test_an_encoder_learns_the_same_with_tables_and_without(monkeypatch, n_frames, with_codebooks):
    torch.manual_seed(0)
    books = torch.randn(K, V, 7) if with_codebooks else None
    encoder = AudioEncoder(True, K, V, 112, D, features=16, codebooks=books, dropout=0.3)
    codes = drawn(40, n_frames)
    codes[7] = codes[30]  # as in windows that overlap
    codes[9] = -1
    mask = torch.rand(40, generator=torch.Generator().manual_seed(1)) > 0.2
    (plain, before), (tabled, after) = (trained(encoder, codes, mask, way, monkeypatch) for way in (False, True))
    torch.testing.assert_close(tabled, plain, rtol=1e-4, atol=1e-5)
    assert before.keys() == after.keys() and "embedding" in after
    for name, gradient in before.items():
        assert float((after[name] - gradient).norm()) <= 1e-4 * float(gradient.norm()), name


def test_the_same_step_gives_the_same_gradients_to_the_last_bit(monkeypatch):
    torch.manual_seed(0)
    encoder = AudioEncoder(True, K, V, 112, D, features=16)
    codes, mask = drawn(50, 112), torch.ones(50, dtype=torch.bool)
    one, two = (trained(encoder, codes, mask, True, monkeypatch) for _ in range(2))
    assert torch.equal(one[0], two[0]) and all(torch.equal(one[1][name], two[1][name]) for name in one[1])


def test_dropout_differs_between_trs_that_are_alike():
    torch.manual_seed(0)
    encoder = AudioEncoder(True, K, V, 112, D, features=16, dropout=0.5)
    codes = drawn(1, 112).expand(30, -1, -1)
    assert len(torch.unique(encoder(codes), dim=0)) == 30
    assert len(torch.unique(encoder.eval()(codes), dim=0)) == 1


def test_tables_are_used_where_there_are_more_frames_than_entries():
    encoder = AudioEncoder(True, 2, 100, 112, D, features=16)
    assert [encoder.with_tables(torch.zeros(n, 2, 112, dtype=torch.int32)) for n in (1, 2)] == [False, True]


@pytest.mark.parametrize("n", [3, 60])
def test_encoding_in_bfloat16_is_near_that_in_float32(n):
    torch.manual_seed(0)
    encoder = AudioEncoder(True, K, V, 112, D, features=16, codebooks=torch.randn(K, V, 7))
    codes = drawn(n, 112)
    exact = encoder(codes).detach()
    with torch.autocast("cpu", torch.bfloat16):
        features = encoder(codes)
    features.float().sum().backward()
    assert float((features.detach() - exact).norm()) < 0.05 * float(exact.norm())
    assert all(bool(p.grad.isfinite().all()) for p in encoder.parameters())


def test_distinct_rows_stand_once_in_the_order_of_their_first():
    codes = torch.tensor([[4, 1], [2, 2], [4, 1], [0, 3], [2, 2]], dtype=torch.int32)
    rows, inverse = distinct_rows(codes)
    assert rows.tolist() == [[4, 1], [2, 2], [0, 3]] and inverse.tolist() == [0, 1, 0, 2, 1]
    rows, inverse = distinct_rows(codes[1:2])
    assert torch.equal(rows, codes[1:2]) and inverse.tolist() == [0]


def test_wide_codes_do_not_come_round_into_range():
    codes = torch.full((2, K, 4), 2**32 + 1)
    with pytest.raises(InputError, match=f"code {2**32 + 1} is outside"):
        AudioEncoder(True, K, V, 4, D, features=16)(codes)
