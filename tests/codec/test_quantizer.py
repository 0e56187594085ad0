"""The nearest entries, found in pieces and by parts of a row, are those of a plain search."""

import pytest
import torch

from giblet.codec.quantizer import SEARCHED_FRAMES, ResidualQuantizer, first_largest


@pytest.mark.parametrize("size", [1, 2, 12, 16, 17, 1000, 1024])
def test_the_first_of_equally_large_scores_is_taken(size):
    scores = torch.randint(0, 4, (500, size), generator=torch.Generator().manual_seed(size)).float()
    assert first_largest(scores).tolist() == scores.numpy().argmax(1).tolist()
    assert scores.amax() == 3


@pytest.mark.parametrize("n", [1, SEARCHED_FRAMES - 1, SEARCHED_FRAMES, 2 * SEARCHED_FRAMES + 7])
def test_codes_are_the_nearest_entries_of_what_is_left_of_each_frame(n):
    generator = torch.Generator().manual_seed(0)
    books = [torch.randn(64, 8, generator=generator) / 2**k for k in range(4)]
    latents = torch.randn(n, 8, generator=generator)
    before = latents.clone()
    with torch.inference_mode():
        codes = ResidualQuantizer(books).quantize(latents)
    left, expected = latents.double(), []
    for book in books:
        nearest = (left[:, None] - book.double()).square().sum(2).argmin(1)
        expected.append(nearest)
        left = left - book[nearest]
    # Scores are float32: among some ten thousand searches one may be nearer than they tell.
    assert (codes == torch.stack(expected)).float().mean() >= 0.9999
    assert torch.equal(latents, before)
