"""Encoders: where each code goes, and what a missing TR is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from giblet.errors import InputError
from giblet.models import AudioEncoder, VectorEncoder, VideoEncoder
from giblet.models.encoder import principal_entries


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return AudioEncoder(use_encodec=True).eval()


def random_codes(*shape, dtype=torch.int32, seed=0):
    return torch.randint(0, 1024, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_encoder_forward(encoder):
    codes = random_codes(3, 8, 112)
    assert encoder(codes).shape == (3, 256) and encoder(codes).dtype == torch.float32
    assert encoder.embed(codes).shape == (3, 8, 112, 64)
    assert encoder.to_channels(encoder.embed(codes)).shape == (3, 512, 112)
    assert encoder.embedding.numel() == 524_288
    mel = AudioEncoder(use_encodec=False)
    assert mel(torch.randn(3, 2048, 64)).shape == mel(torch.randn(3, 2048)).shape == (3, 256)


@settings(max_examples=25, deadline=None)
@given(k=st.integers(0, 7), frame=st.integers(0, 111), new=st.integers(-1, 1023))
def test_changing_one_code_changes_exactly_its_64_channels_at_its_frame(encoder, k, frame, new):
    codes = random_codes(1, 8, 112)
    other = codes.clone()
    other[0, k, frame] = new
    before, after = (encoder.to_channels(encoder.embed(c))[0] for c in (codes, other))
    expected = torch.zeros(512, 112, dtype=torch.bool)
    expected[k * 64 : (k + 1) * 64, frame] = new != int(codes[0, k, frame])
    assert torch.equal(before != after, expected)


def test_channel_is_dimension_d_of_codebook_k(encoder):
    codes = random_codes(1, 8, 112)
    channels = encoder.to_channels(encoder.embed(codes))[0]
    for k, d, frame in [(0, 0, 0), (3, 17, 50), (7, 63, 111)]:
        assert channels[k * 64 + d, frame] == encoder.embedding[k, int(codes[0, k, frame]), d]


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_all_integer_dtypes_encode_alike(encoder, dtype):
    assert torch.equal(encoder(random_codes(2, 8, 112, dtype=dtype)), encoder(random_codes(2, 8, 112)))


def test_encoding_of_a_tr_does_not_depend_on_its_batch(encoder):
    codes = random_codes(4, 8, 112)
    torch.testing.assert_close(encoder(codes)[2:3], encoder(codes[2:3]))


def test_absent_codes_have_their_own_vector(encoder):
    absent = encoder.embed(torch.full((1, 8, 1), -1))[0, :, 0]
    assert torch.equal(absent, encoder.absent)
    assert not (encoder.embedding == absent[:, None]).all(-1).any()


MAKE = {
    "codes": (lambda: AudioEncoder(features=32), lambda seed: random_codes(2, 8, 112, seed=seed)),
    "mel": (lambda: AudioEncoder(False, features=32, n_mels=20), lambda seed: seeded(seed, 2, 20, 9)),
    "vector": (lambda: VectorEncoder(7, 32), lambda seed: seeded(seed, 2, 7)),
    "video": (lambda: VideoEncoder((18, 32, 3), 32), lambda seed: seeded(seed, 2, 18, 32, 3)),
}


def seeded(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", MAKE)
def test_absent_tr_ignores_its_data_and_differs_from_zeros(kind):
    make, data = MAKE[kind]
    torch.manual_seed(0)
    encoder = make().eval()
    x, mask = data(1), torch.tensor([True, False])
    whole, masked = encoder(x), encoder(x, mask)
    other = x.clone()
    other[1] = float("nan") if x.is_floating_point() else 5000
    assert torch.equal(masked[0], whole[0])
    assert torch.equal(masked, encoder(other, mask)) and masked.isfinite().all()
    zeros = encoder(torch.zeros_like(x))
    assert not torch.allclose(masked[1], zeros[1], atol=1e-3) and not torch.allclose(masked[1], whole[1], atol=1e-3)


@pytest.mark.parametrize("kind", MAKE)
def test_nan_in_an_absent_tr_does_not_reach_the_gradients(kind):
    make, data = MAKE[kind]
    encoder, x = make(), data(1)
    x[1] = float("nan") if x.is_floating_point() else -7
    encoder(x, torch.tensor([True, False])).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_embeddings_start_as_codebook_entries_on_shared_principal_axes(codebooks):
    n = codebooks.shape[2]
    centred = codebooks - codebooks.mean(1, keepdim=True)
    entries = principal_entries(codebooks, (8, 1024, n))
    # A rotation and one scale: all distances keep their proportion, across codebooks too.
    ratio = torch.pdist(entries.flatten(0, 1)[::97]) / torch.pdist(centred.flatten(0, 1)[::97])
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)
    few = principal_entries(codebooks, (8, 1024, 20))
    cosine = torch.nn.functional.cosine_similarity(few.flatten(), entries[..., :20].flatten(), dim=0)
    assert cosine > 0.9999 and abs(float(few[0].std()) - 1) < 1e-4
    # The oracle for "principal": no 20 directions hold more of the variance than those of the SVD.
    share = torch.linalg.svdvals(centred.flatten(0, 1)).square()
    kept = entries[..., :20].square().sum() / entries.square().sum()
    torch.testing.assert_close(kept, share[:20].sum() / share.sum(), rtol=1e-3, atol=0)
    torch.manual_seed(0)
    encoder = AudioEncoder(codebooks=codebooks)
    assert torch.equal(encoder.embedding.detach(), principal_entries(codebooks, (8, 1024, 64)))
    wider = principal_entries(codebooks, (8, 1024, n + 3))
    assert torch.equal(wider[..., :n], entries) and wider[..., n:].any()


@pytest.mark.parametrize(
    ("codes", "says"),
    [
        (torch.full((1, 8, 112), 1024), "1024 is outside"),
        (torch.full((1, 8, 112), -2), "-2 is outside"),
        (torch.zeros(1, 8, 112), "float32"),
        (torch.zeros(1, 8, 112, dtype=torch.bool), "bool"),
        (torch.zeros(1, 4, 112, dtype=torch.int32), r"\(1, 4, 112\)"),
        (torch.zeros(8, 112, dtype=torch.int32), r"\(8, 112\)"),
    ],
)
def test_wrong_codes_are_refused_by_value(encoder, codes, says):
    with pytest.raises(InputError, match=says):
        encoder(codes)


def test_mel_encoder_refuses_codes_and_other_numbers_of_bands():
    mel = AudioEncoder(use_encodec=False, n_mels=20)
    with pytest.raises(InputError, match="int32: a mel"):
        mel(torch.zeros(1, 20, 9, dtype=torch.int32))
    with pytest.raises(InputError, match=r"B, 20, 9"):
        mel(torch.zeros(1, 21, 9))


def test_codebooks_of_another_codec_are_refused(codebooks):
    with pytest.raises(InputError, match=r"\(8, 1024, D\)"):
        AudioEncoder(codebooks=codebooks[:4])


def test_a_mask_of_another_length_or_type_is_refused(encoder):
    for mask in (torch.ones(3, dtype=torch.bool), torch.ones(2)):
        with pytest.raises(InputError, match="mask"):
            encoder(random_codes(2, 8, 112), mask)
