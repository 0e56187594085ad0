"""A run that trains the decoder alone: codes stay, files of the codec before stay readable, sound keeps its level."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from giblet.codec import load_codec
from giblet.codec.architecture import codebooks_of
from giblet.codec.encodec import CODES_OF
from giblet.codec.quantizer import rvq_quantize
from giblet.codec.training import loop
from giblet.codec.training.data import find_audio
from giblet.codec.training.loop import CodecTrainingSettings, train_codec
from giblet.codec.training.start import match_level
from giblet.data.audio import AudioProcessor
from giblet.errors import CheckpointError, CodecError, InputError
from tests.codec.training.runs import RATE, same, speech_like, stop_at, tiny, weights, write_audio

KEPT = {"keep_codes": True, "match_level": True, "gain_range_db": (-30, 2), "loss_weights": {"level": 2.0}}
KEPT["crop_seconds"] = 0.25


@pytest.fixture(scope="module")
def audio(tmp_path_factory) -> Path:
    return write_audio(tmp_path_factory.mktemp("audio"))


@pytest.fixture(scope="module")
def first(audio, tmp_path_factory) -> Path:
    """A codec in single precision, which half precision would round."""
    output = tmp_path_factory.mktemp("first")
    train_codec(tiny(audio, output, half_precision_export=False))
    return output / "final"


@pytest.fixture(scope="module")
def second(audio, first, tmp_path_factory) -> Path:
    """What became of it with its codes kept, in half precision."""
    output = tmp_path_factory.mktemp("second")
    train_codec(tiny(audio, output, start_from=first, **KEPT))
    return output / "final"


def test_only_the_decoder_learns_and_of_its_convolutions_not_the_biases(audio, first, tmp_path):
    config = tiny(audio, tmp_path, start_from=first, **{**KEPT, "match_level": False})
    before = load_file(first / "model.safetensors")
    train_codec(config)
    after = {k.removeprefix("model."): v for k, v in weights(tmp_path).items() if k.startswith("model.")}
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {k for k in after if k.startswith("decoder.") and not k.endswith("conv.bias")}


def test_codes_are_those_of_the_codec_before_even_where_it_is_not_of_half_precision(first, second):
    x = speech_like(2, 9)
    one, other = load_codec(first, bandwidth=0.6, device="cpu"), load_codec(second, bandwidth=0.6, device="cpu")
    codes = one.encode(x)
    assert len(np.unique(codes)) > 2
    np.testing.assert_array_equal(other.encode(x), codes)
    assert not np.array_equal(other.decode(codes), one.decode(codes))
    stored = load_file(second / "model.safetensors")
    assert all(v.dtype == torch.half for name, v in stored.items() if name.startswith("decoder."))


def test_codes_name_the_first_codec_with_these_codes_and_each_codec_has_its_own_fingerprint(
    audio, first, second, tmp_path
):
    train_codec(tiny(audio, tmp_path, start_from=second, seed=1, **KEPT))
    codecs = [load_codec(folder, device="cpu", bandwidth=0.6) for folder in (first, second, tmp_path / "final")]
    assert len({codec.fingerprint for codec in codecs}) == 3
    assert [codec.codes_fingerprint for codec in codecs] == [codecs[0].fingerprint] * 3


def test_features_of_the_codec_before_are_decoded_and_those_of_others_refused(first, second, tmp_path):
    import soundfile as sf

    sf.write(tmp_path / "a.wav", speech_like(3, 9), RATE)
    one, other = (AudioProcessor(use_encodec=True, codec=str(f), bandwidth=0.6, tr=1.5) for f in (first, second))
    codes, metadata = one.audio_to_features(tmp_path / "a.wav")
    other.features_to_audio(codes, tmp_path / "b.wav", metadata=metadata)
    assert sf.info(tmp_path / "b.wav").duration == pytest.approx(3, abs=0.1)
    assert other.provenance(tmp_path / "a.wav") == one.provenance(tmp_path / "a.wav")
    with pytest.raises(CodecError, match="made by codec"):
        other.features_to_audio(codes, tmp_path / "c.wav", metadata={**metadata, "codec_fingerprint": "0" * 64})


def test_a_stopped_run_resumes_bit_for_bit_and_still_knows_whose_codes_it_keeps(audio, first, second, tmp_path):
    config = tiny(audio, tmp_path / "run", start_from=first, **KEPT)
    stop_at(3, config)
    train_codec(config)
    assert same(load_file(tmp_path / "run/final/model.safetensors"), load_file(second / "model.safetensors"))
    told = [json.loads((folder / "config.json").read_text())[CODES_OF] for folder in (tmp_path / "run/final", second)]
    assert told[0] == told[1]


def test_a_run_that_let_the_encoder_learn_is_not_gone_on_with_by_the_decoder_alone(audio, first, tmp_path):
    stop_at(2, tiny(audio, tmp_path, start_from=first))
    with pytest.raises(CheckpointError, match="use its settings or a fresh output folder"):
        train_codec(tiny(audio, tmp_path, start_from=first, **KEPT))


def test_the_result_holds_a_share_of_the_decoder_it_started_from(audio, first, second, tmp_path):
    train_codec(tiny(audio, tmp_path, start_from=first, start_share=0.25, **KEPT))
    stored = [load_file(folder / "model.safetensors") for folder in (first, second, tmp_path / "final")]
    start, learnt, mean = ({k: v.float() for k, v in one.items() if v.is_floating_point()} for one in stored)
    for name, value in mean.items():
        share = 0.25 if name.startswith("decoder.") else 0
        expected = share * start[name] + (1 - share) * learnt[name]
        torch.testing.assert_close(value, expected, rtol=2e-3, atol=1e-6)
    with pytest.raises(InputError, match=r"start_share is 0\.5: .*needs keep_codes"):
        CodecTrainingSettings.make(audio="a", output="b", start_share=0.5)


@pytest.mark.parametrize("changes", [{"waken": True}, {"num_residual_layers": 2}])
def test_a_run_that_would_begin_with_other_codes_is_refused(audio, first, tmp_path, changes):
    with pytest.raises(CheckpointError, match=r"keep_codes: .* has other codes") as caught:
        train_codec(tiny(audio, tmp_path, start_from=first, **KEPT, **changes))
    assert "\n" not in str(caught.value)


def test_a_codec_that_claims_codes_it_no_longer_makes_is_refused(second, first, tmp_path):
    shutil.copytree(second, tmp_path / "claims")
    config = json.loads((tmp_path / "claims/config.json").read_text())
    for claim in ({**config[CODES_OF], "digest": "0" * 64}, {"digest": config[CODES_OF]["digest"]}, "bundled"):
        (tmp_path / "claims/config.json").write_text(json.dumps({**config, CODES_OF: claim}))
        with pytest.raises(CodecError, match=rf"take {CODES_OF} out of config\.json"):
            load_codec(tmp_path / "claims", bandwidth=0.6, device="cpu")


def test_settings_that_cannot_be_are_one_line():
    with pytest.raises(InputError, match=r"keep_codes is True: .*needs start_from"):
        CodecTrainingSettings.make(audio="a", output="b", keep_codes=True)
    with pytest.raises(InputError, match=r"gain_range_db .*write the lower gain first"):
        CodecTrainingSettings.make(audio="a", output="b", gain_range_db=[2, -30])
    with pytest.raises(InputError, match=r"crop_seconds is 0\.2: these losses need at least 0\.25 s"):
        CodecTrainingSettings.make(audio="a", output="b", crop_seconds=0.2, loss_weights={"level": 1})


def test_the_median_sound_keeps_its_level_once_it_is_matched_and_nothing_but_the_level_changes(audio, first):
    config = tiny(audio, first.parent / "never", start_from=first)
    model = loop._Run(config, *find_audio(audio, config.held_out)).model.eval()
    x = torch.from_numpy(np.stack([speech_like(0.5, s) for s in range(5)] + [np.zeros(RATE // 2, np.float32)]))[:, None]

    def decoded():
        with torch.no_grad():
            quantized = rvq_quantize(model.encoder(x).transpose(1, 2), codebooks_of(model))[0]
            return model.decoder(quantized.transpose(1, 2))[..., : x.shape[-1]]

    before = decoded()
    match_level(model, x)
    after = decoded()
    ratios = (after[:5].square().mean((1, 2)) / x[:5].square().mean((1, 2))).sqrt()
    assert float(ratios.median()) == pytest.approx(1, rel=1e-4)
    gain = float(after.norm() / before.norm())
    assert abs(gain - 1) > 0.01
    torch.testing.assert_close(after, gain * before, rtol=1e-3, atol=1e-6)
