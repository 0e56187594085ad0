"""OpenVINO's convolutions equal the layers', at the ends of a signal too; the choice of runtime."""

import copy
import importlib.util
import pickle
import subprocess
import sys
from itertools import zip_longest

import numpy as np
import pytest
import torch
from transformers import EncodecModel

from giblet.codec import load_codec
from giblet.codec.architecture import StoredCodec, cores
from giblet.codec.encodec import EncodecCodec
from giblet.codec.layers import build_encoder
from giblet.codec.network import build_config
from giblet.codec.openvino import (
    TILES_AT_ONCE,
    CompiledChain,
    _compile,
    decoder_with_openvino,
    encoder_with_openvino,
    pick_runtime,
)
from giblet.codec.streaming import Layer
from giblet.errors import InputError

RATE = 24_000
HOP = 40
"""Samples per row of the compiled front's output: the encoder's last stride is left to torch."""
ROWS_OUT = 40
"""And per row of the compiled back's input: so is the decoder's first."""
CPU = torch.device("cpu")
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed: pip install 'giblet[fast]'"
)


@pytest.fixture(scope="module")
def pair():
    """(torch, openvino): bundled weights, blocks of 50 frames."""
    pytest.importorskip("openvino", reason="openvino is not installed: pip install 'giblet[fast]'")
    return [load_codec("bundled", device="cpu", block_frames=50, runtime=name) for name in ("torch", "openvino")]


@pytest.fixture(scope="module")
def front_in_double(bundled_model) -> Layer:
    """What `pair` computes before the last stride, with the weights in double precision."""
    config = bundled_model.config
    weights = {key: value.detach().double() for key, value in bundled_model.state_dict().items()}
    parts = cores(StoredCodec(config, weights), "encoder")
    return build_encoder(parts, config.upsampling_ratios, config.num_residual_layers, 50).front


@needs_openvino
@pytest.mark.parametrize(
    "n", [1, 39, 10 * HOP + 1, 11 * HOP, 12 * HOP, 12 * HOP + 1, 400 * HOP, 400 * HOP + 39, 720 * HOP + 5]
)
def test_compiled_chain_equals_chain_at_any_length(pair, front_in_double, speech, n):
    """And is no less exact; PyTorch 2.6 is wrong by up to 2.2e-6 of the largest value, 2.13 by 1e-6."""
    x = torch.from_numpy(speech[RATE : RATE + n])[:, None]
    with torch.inference_mode():
        exact = front_in_double(x.double(), front_in_double.new_state(), True)
        expected, compiled = (c._encoder.front(x.clone(), c._encoder.front.new_state(), True) for c in pair)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(compiled, expected, atol=3e-6 * float(exact.abs().max()), rtol=1e-4)
    assert (compiled - exact).abs().max() < 2 * (expected - exact).abs().max()


@needs_openvino
@pytest.mark.parametrize("cuts", [[11], [11, 12, 500], [20, 21, 22], [400, 800]])
def test_compiled_chain_in_pieces_equals_whole(pair, speech, cuts):
    ours, compiled = (codec._encoder.front for codec in pair)
    x = torch.from_numpy(speech[RATE : 2 * RATE + 320 * HOP + 7])[:, None]
    with torch.inference_mode():
        expected = ours(x.clone(), ours.new_state(), True)
        state = compiled.new_state()
        pieces = torch.tensor_split(x, [cut * HOP for cut in cuts])
        joined = torch.cat([compiled(p.clone(), state, i == len(pieces)) for i, p in enumerate(pieces, 1)])
    torch.testing.assert_close(joined, expected, atol=1e-6 * float(expected.abs().max()), rtol=1e-4)


def before_the_back(codec, speech: np.ndarray, n: int) -> torch.Tensor:
    """Rows (n, C) that a decoder's back is given for real speech."""
    decoder = codec._decoder
    rows = codec._quantizer.dequantize(torch.from_numpy(codec.encode(speech[: (n // 8 + 1) * 320])))
    for layer in (*decoder.by_frame, decoder.strided):
        rows = layer(rows, layer.new_state(), True)
    return rows[:n]


@needs_openvino
@pytest.mark.parametrize("n", [1, 8, 9, 20, 400, 401, 720])
def test_compiled_back_of_a_decoder_equals_its_chain_at_any_length(pair, speech, n):
    with torch.inference_mode():
        x = before_the_back(pair[0], speech[RATE:], n)
        expected, compiled = (c._decoder.back(x.clone(), c._decoder.back.new_state(), True) for c in pair)
    assert expected.shape == (n * ROWS_OUT, 1)
    # Sums of float32 in another order: 100 dB below the loudest sample.
    torch.testing.assert_close(compiled, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)


@needs_openvino
@pytest.mark.parametrize("cuts", [[11], [11, 12, 300], [20, 21, 22], [400]])
def test_compiled_back_in_pieces_equals_whole(pair, speech, cuts):
    ours, compiled = (codec._decoder.back for codec in pair)
    with torch.inference_mode():
        x = before_the_back(pair[0], speech[RATE:], 720)
        expected = ours(x.clone(), ours.new_state(), True)
        state = compiled.new_state()
        pieces = torch.tensor_split(x, cuts)
        joined = torch.cat([compiled(p.clone(), state, i == len(pieces)) for i, p in enumerate(pieces, 1)])
    torch.testing.assert_close(joined, expected, atol=3e-6 * float(expected.abs().max()), rtol=1e-4)


@needs_openvino
@pytest.mark.parametrize("level", [1e-4, 1.0])
def test_compiled_latents_are_as_exact_as_those_of_transformers(pair, bundled_model, speech, level):
    wave = torch.from_numpy(level * speech[: 5 * RATE])
    encoder = pair[1]._encoder
    with torch.inference_mode():
        exact = copy.deepcopy(bundled_model.encoder).double()(wave[None, None].double())[0].t()
        of_transformers = bundled_model.encoder(wave[None, None])[0].t()
        ours = encoder(wave[:, None].clone(), encoder.new_state(), True)
    assert (ours - exact).square().mean().sqrt() < 3 * (of_transformers - exact).square().mean().sqrt()


@needs_openvino
def test_compiled_elu_keeps_the_digits_of_small_values():
    """Float32 has 6e-8; exp(x) - 1 is wrong by more than 1e-3 of the smallest of these."""
    same = torch.nn.Conv1d(1, 1, 1, bias=False).requires_grad_(False)
    same.weight.fill_(1)
    x = np.concatenate([-np.logspace(-6, 2, 5000), np.logspace(-6, 2, 50), [0]]).astype(np.float32)
    request = _compile([torch.nn.ELU(), same], len(x), 1, exact=True).create_infer_request()
    request.infer([x[:, None]])
    elu, exact = request.get_output_tensor().data[:, 0], np.where(x > 0, x, np.expm1(x.astype(np.float64)))
    np.testing.assert_allclose(elu, exact, rtol=4e-7)


@needs_openvino
def test_no_row_depends_on_samples_before_the_reach_of_the_compiled_chain(pair):
    """One sample is changed: the rows from there on change, up to `reach` rows later at most."""
    reach = pair[1]._encoder.front.reach
    x = torch.randn(40 * HOP, 1, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[20 * HOP] += 1
    for encoder in (codec._encoder.front for codec in pair):
        with torch.inference_mode():
            a, b = (encoder(y.clone(), encoder.new_state(), True) for y in (x, changed))
        moved = (a - b).abs().amax(1).nonzero()[:, 0].tolist()
        assert 20 in moved
        assert 20 <= min(moved) <= max(moved) <= 20 + reach


@needs_openvino
def test_the_runtime_changes_neither_fingerprint_nor_codes_nor_sound(pair, speech):
    a, b = pair
    assert (a.runtime, b.runtime) == ("torch", "openvino")
    assert isinstance(b._encoder.front, CompiledChain) and isinstance(b._decoder.back, CompiledChain)
    assert a.fingerprint == b.fingerprint
    codes = a.encode(speech[: 10 * RATE])
    assert (b.encode(speech[: 10 * RATE]) == codes).mean() >= 0.9999
    np.testing.assert_allclose(b.decode(codes), a.decode(codes), atol=1e-5)


@needs_openvino
def test_compiled_codec_of_other_strides_and_dilations_equals_transformers(speech):
    torch.manual_seed(0)
    config = build_config(num_codebooks=2, num_filters=8, num_lstm_layers=1)
    config.num_residual_layers, config.use_conv_shortcut, config.upsampling_ratios = 2, False, [6, 3]
    model = EncodecModel(config).eval()
    codec = EncodecCodec(model, next(iter(config.target_bandwidths)), block_frames=60, runtime="openvino")
    wave = torch.from_numpy(speech[: RATE // 2 + 5])
    with torch.inference_mode():
        expected = model.encoder(wave[None, None])[0].t()
        latents = codec._encoder(wave[:, None].clone(), codec._encoder.new_state(), True)
        sound = model.decoder(expected.t()[None])[0].t()
        decoded = codec._decoder(expected.clone(), codec._decoder.new_state(), True)
    torch.testing.assert_close(latents, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)
    torch.testing.assert_close(decoded, sound, atol=1e-5 * float(sound.abs().max()), rtol=1e-4)


@needs_openvino
def test_only_the_front_of_an_encoder_and_the_back_of_a_decoder_are_replaced_and_once(pair, bundled_model):
    by_torch, compiled = (codec._encoder for codec in pair)
    other = encoder_with_openvino(by_torch, cores(bundled_model, "encoder"))
    assert isinstance(other.front, CompiledChain) and other.front.chain is by_torch.front
    assert other.strided is by_torch.strided and other.by_frame == by_torch.by_frame
    for front in other.front, compiled.front:
        assert (front.rows_in, front.rows_out, front.tile) == (HOP, 1, 50 * 8)
    with pytest.raises(TypeError, match="the place of a CompiledChain"):
        encoder_with_openvino(compiled, [])

    by_torch, compiled = (codec._decoder for codec in pair)
    other = decoder_with_openvino(by_torch, cores(bundled_model, "decoder"))
    assert isinstance(other.back, CompiledChain) and other.back.chain is by_torch.back
    assert other.strided is by_torch.strided and other.by_frame == by_torch.by_frame
    for back in other.back, compiled.back:
        assert (back.rows_in, back.rows_out, back.tile) == (1, ROWS_OUT, 50 * 8)
    with pytest.raises(TypeError, match="the place of a CompiledChain"):
        decoder_with_openvino(compiled, [])


@needs_openvino
def test_codec_that_has_computed_can_be_copied_and_pickled(pair, speech):
    codes = pair[1].encode(speech[:RATE])
    assert pair[1]._encoder.front._compiled
    for other in copy.deepcopy(pair[1]), pickle.loads(pickle.dumps(pair[1])):  # noqa: S301
        assert not other._encoder.front._compiled
        np.testing.assert_array_equal(other.encode(speech[:RATE]), codes)


def test_auto_takes_torch_where_openvino_is_absent_or_the_device_is_not_a_cpu(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert pick_runtime("auto", CPU) == "openvino"
    assert pick_runtime("auto", torch.device("cuda")) == "torch"
    assert pick_runtime("torch", CPU) == "torch"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert pick_runtime("auto", CPU) == "torch"


@needs_openvino
def test_narrow_codec_starts_openvino_for_long_sounds_only(speech):
    """And keeps it to the end of the sound, although the last block is short."""
    codec, by_torch = (load_codec("bundled", device="cpu", runtime=name) for name in ("auto", "torch"))
    assert codec.runtime == "openvino"
    repeated = np.tile(speech, 2)
    short, long = repeated[: 39 * RATE], repeated[: 70 * RATE]
    np.testing.assert_array_equal(codec.encode(short), by_torch.encode(short))
    codec.encode_many([short[:RATE], long])
    assert not codec._encoder.front._compiled
    assert (codec.encode(long) == by_torch.encode(long)).mean() >= 0.9999
    assert codec._encoder.front._compiled
    codes = by_torch.encode(short)
    np.testing.assert_array_equal(codec.decode(codes[:, :749]), by_torch.decode(codes[:, :749]))
    assert not codec._decoder.back._compiled
    np.testing.assert_allclose(codec.decode(codes), by_torch.decode(codes), atol=1e-5)
    assert codec._decoder.back._compiled


@needs_openvino
def test_wide_codec_or_explicit_runtime_takes_openvino_for_all_sounds(speech, official_model):
    for codec in EncodecCodec(official_model, 6.0), load_codec("bundled", device="cpu", runtime="openvino"):
        codec.decode(codec.encode(speech[:RATE]))
        assert codec._encoder.front._compiled and codec._decoder.back._compiled


def test_unavailable_runtime_is_refused(monkeypatch):
    with pytest.raises(InputError, match="'onnx' is not known; pass one of auto, torch, openvino"):
        load_codec("bundled", runtime="onnx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(InputError, match="device is 'cuda'"):
        pick_runtime("openvino", torch.device("cuda"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed: pip install 'giblet\[fast\]'"):
        pick_runtime("openvino", CPU)


@needs_openvino
def test_signals_are_handled_after_several_codecs_were_deleted():
    """A core of OpenVINO moves the stack of signal handlers; one core per codec would leave an unmapped stack."""
    code = """
import gc, signal
import numpy as np
from giblet.codec import load_codec

codecs = [load_codec("bundled", device="cpu", runtime="openvino") for _ in range(2)]
for codec in codecs:
    codec.encode(np.zeros(48_000, np.float32))
del codec
while codecs:
    del codecs[0]
    gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("handled"))
signal.raise_signal(signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


@needs_openvino
def test_threads_take_a_tile_each_and_change_no_bit(speech):
    codec = load_codec("bundled", device="cpu", runtime="openvino")
    before = torch.get_num_threads()
    found = {}
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            codes = codec.encode(speech[: 6 * 24_000])
            found[n_threads] = codes, codec.decode(codes)
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    for alone, shared in zip(*found.values(), strict=True):
        np.testing.assert_array_equal(alone, shared)
    for chain in (codec._encoder.front, codec._decoder.back):
        assert chain._compiled.keys() == {1, 3}


@needs_openvino
@pytest.mark.parametrize("n_threads", [1, 3])
def test_rows_come_late_where_threads_go_on_working_and_none_is_lost(pair, speech, n_threads):
    ours, compiled = (codec._decoder.back for codec in pair)
    with torch.inference_mode():
        x = before_the_back(pair[0], speech[RATE:], 720)
        expected = ours(x.clone(), ours.new_state(), True)
        state = compiled.new_state()
        state.n_threads = n_threads
        pieces = x.split(40)
        given = [compiled(piece.clone(), state, i == len(pieces)) for i, piece in enumerate(pieces, 1)]
    n_rows = torch.tensor([len(rows) for rows in given]).cumsum(0)
    late = torch.arange(1, len(pieces) + 1) * 40 * ROWS_OUT - n_rows
    assert late.max() == (0 if n_threads == 1 else TILES_AT_ONCE * 40 * ROWS_OUT) and late[-1] == 0
    torch.testing.assert_close(torch.cat(given), expected, atol=3e-6 * float(expected.abs().max()), rtol=1e-4)


@needs_openvino
def test_streams_that_take_turns_or_are_given_up_do_not_disturb_each_other(speech):
    codec = load_codec("bundled", device="cpu", block_frames=100, runtime="openvino")
    codes = [codec.encode(part) for part in np.split(speech[: 12 * RATE], 2)]
    expected = [codec.decode(part) for part in codes]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        for _ in range(3):
            next(codec.decode_stream([codes[1]]))
        pieces = [[], []]
        for both in zip_longest(*(codec.decode_stream([part]) for part in codes), fillvalue=np.empty(0, np.float32)):
            for own, piece in zip(pieces, both, strict=True):
                own.append(piece)
    finally:
        torch.set_num_threads(before)
    for own, whole in zip(pieces, expected, strict=True):
        np.testing.assert_array_equal(np.concatenate(own), whole)


@needs_openvino
@pytest.mark.parametrize("n_rows", [7, 30, 80])
@pytest.mark.parametrize(("width", "bias"), [(1, True), (7, True), (7, False), (12, True)])
def test_a_convolution_to_samples_makes_several_at_a_time_of_any_number(n_rows, width, bias):
    conv = torch.nn.Conv1d(5, 1, width, bias=bias).requires_grad_(False)
    x = torch.randn(n_rows, 5)
    expected = conv(torch.nn.functional.pad(x.t(), (width - 1, 0)))[0]
    request = _compile([conv], n_rows, 1, exact=True).create_infer_request()
    request.infer([x.numpy()])
    np.testing.assert_allclose(request.get_output_tensor().data[:, 0], expected, atol=1e-6)
