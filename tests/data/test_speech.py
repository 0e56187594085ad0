"""Speech models by layer: equal to plain calls of transformers on the same window, and causal."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers

import giblet as gb
from giblet.data.speech import SpeechProcessor, SpeechSettings, Windows
from giblet.data.speech_models import SpeechModel
from giblet.errors import InputError
from giblet.features import load_features
from tests.speech_folders import FAMILIES, speech_folder

RATE = 16_000


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("speech")
    return {family: speech_folder(root / family, family) for family in FAMILIES}


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes, float32."""
    n = round(seconds * RATE)
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 0.7 * np.arange(n) / RATE)
    return (0.1 * np.random.default_rng(seed).standard_normal(n) * swell).astype(np.float32)


def written(path: Path, waveform: np.ndarray) -> Path:
    soundfile.write(path, waveform, RATE, subtype="FLOAT")
    return path


def plain(folder: Path, window: np.ndarray) -> list[np.ndarray]:
    """Hidden states of a window by a plain call of transformers, each (n_positions, dim); the last is the output."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    given = extractor(window, sampling_rate=RATE, return_tensors="pt")
    encoder = model.get_encoder() if hasattr(model, "decoder") else model
    with torch.no_grad():
        made = encoder(**{name: given[name] for name in given if name != "attention_mask"}, output_hidden_states=True)
    return [one[0].numpy() for one in (*made.hidden_states[:-1], made.last_hidden_state)]


@pytest.mark.parametrize("family", FAMILIES)
def test_features_equal_a_plain_call_on_the_same_window(family, folders, tmp_path):
    waveform = sound(8)
    processor = SpeechProcessor(str(folders[family]), tr=1.5, layers=(0, 1, 3), context=2.0, device="cpu")
    found = processor.extract(written(tmp_path / "a.wav", waveform), n_trs=5)
    for k in range(5):
        start, stop = max(0, int((k * 1.5 - 2.0) * RATE)), int((k + 1) * 1.5 * RATE)
        states = plain(folders[family], waveform[start:stop])
        # Seconds of the film at which positions stand: Whisper's k at 0.02 k, those of the others at 0.02 k + 0.0125.
        at = start / RATE + 0.02 * np.arange(len(states[0])) + (0 if family == "whisper" else 0.0125) + 1e-9
        own = (at >= k * 1.5) & (at < (k + 1) * 1.5)
        assert own.sum() in (74, 75)
        for layer in (0, 1, 3):
            np.testing.assert_allclose(found[f"layer_{layer}"][k], states[layer][own].mean(0), atol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layer", [0, 1])
def test_blocks_that_no_layer_needs_are_not_run_and_are_not_missed(layer, family, folders):
    model = SpeechModel(str(folders[family]), device="cpu")
    blocks = model.model.layers if family == "whisper" else model.model.encoder.layers
    ran = []
    for number, block in enumerate(blocks):
        block.register_forward_pre_hook(lambda *_, number=number: ran.append(number))
    found = model.states([sound(1)], (layer,))[0, 0]
    assert ran == list(range(layer + 1))
    np.testing.assert_allclose(found, plain(folders[family], sound(1))[layer][: len(found)], atol=2e-5)
    ran.clear()
    model.states([sound(1)], (3,))
    assert ran == [0, 1, 2]


@pytest.mark.parametrize("family", ["wav2vec2-layer", "hubert-layer"])
def test_the_last_layer_has_the_final_norm(family, folders):
    model = SpeechModel(str(folders[family]), device="cpu")
    last = model.states([sound(1)], (3,))[0, 0]
    norm = model.model.encoder.layer_norm  # weights of 1 and 0, as they were drawn
    np.testing.assert_allclose(last.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(last.var(axis=-1), 1, atol=1e-2)
    assert torch.all(norm.weight == 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_impulse_changes_most_the_position_that_is_said_to_be_there(family, folders):
    model = SpeechModel(str(folders[family]), device="cpu")
    # As loud all along: where a sound falls silent, layer norms make the most of a change of the whole sound's scale.
    waveform = (0.1 * np.random.default_rng(0).standard_normal(3 * RATE)).astype(np.float32)
    changed = waveform.copy()
    changed[round(1.2125 * RATE) : round(1.2125 * RATE) + 8] += 0.5
    change = np.abs(model.states([waveform], (0,)) - model.states([changed], (0,)))[0, 0].sum(axis=-1)
    assert abs(model.centres(len(waveform))[change.argmax()] - 1.2125) <= 0.0126
    assert change.max() > 3 * np.partition(change, -3)[-3], "no more than two positions share it"


@pytest.mark.parametrize("window", [1.5, 0.5])
def test_sound_after_a_tr_changes_nothing_in_it(window, folders, tmp_path):
    waveform = sound(9)
    later = waveform.copy()
    later[round(4.5 * RATE) :] = sound(4.5, seed=1) * 3
    processor = SpeechProcessor(str(folders["wav2vec2-group"]), tr=1.5, window=window, context=3.0, device="cpu")
    one, other = (
        processor.extract(written(tmp_path / f"{name}.wav", given)).layer_1.values
        for name, given in (("a", waveform), ("b", later))
    )
    np.testing.assert_array_equal(one[:3], other[:3])
    assert (np.abs(one[3:] - other[3:]).max(axis=1) > 1e-3).all()


def test_what_is_not_causal_hears_as_much_after_the_window_and_says_so(folders, tmp_path):
    waveform = sound(8)
    folder = folders["hubert-layer"]
    processor = SpeechProcessor(str(folder), tr=2, layers=(2,), context=1.0, causal=False, device="cpu")
    found = processor.extract(written(tmp_path / "a.wav", waveform))
    assert found.attrs["causal"] == "no: the model hears 1 s after each window" == f"no: {processor.looks_ahead}"
    for k, (start, stop) in enumerate([(0, 3), (1, 5), (3, 7), (5, 8)]):
        states = plain(folder, waveform[start * RATE : stop * RATE])[2]
        at = start + 0.02 * np.arange(len(states)) + 0.0125
        own = (at >= 2 * k) & (at < 2 * k + 2)
        np.testing.assert_allclose(found.layer_2[k], states[own].mean(0), atol=2e-5)


def test_blocks_of_sound_make_no_difference(folders):
    processor = SpeechProcessor(str(folders["wav2vec2-group"]), tr=0.72, window=0.24, context=1.1, device="cpu")
    waveform = sound(7.2)
    whole = np.stack(list(processor.vectors(iter([waveform]))))
    parts = np.stack(list(processor.vectors(iter(np.array_split(waveform, 37)))))
    assert len(whole) == 30
    np.testing.assert_allclose(whole, parts, atol=1e-6)


def test_blocks_make_no_difference_where_windows_are_no_whole_number_of_samples(folders):
    processor = SpeechProcessor(str(folders["wav2vec2-layer"]), tr=0.7200312, context=0, device="cpu")
    waveform = sound(7)
    edges = [processor.windows.edges(number) for number in range(9)]
    assert {stop - start for start, stop in edges} == {11_520, 11_521}
    blocks = [waveform[start:stop] for start, stop in edges]
    found = list(processor.vectors(iter(blocks)))
    whole = list(processor.vectors(iter([waveform])))
    assert len(found) == len(whole) == 9
    np.testing.assert_allclose(found, whole, atol=1e-6)


@pytest.mark.parametrize("family", ["whisper", "wav2vec2-group", "hubert-layer"])
@pytest.mark.parametrize("tr", [0.72, 1.5, 2.0])
def test_a_click_is_first_heard_in_its_tr(tr, family, folders, tmp_path):
    processor = SpeechProcessor(str(folders[family]), tr=tr, context=1.0, layers=(0, 3), device="cpu")
    waveform = sound(9)
    quiet = processor.extract(written(tmp_path / "quiet.wav", waveform))
    for time in (0.3, 4.5005, 7.19, 8.0):
        clicked = waveform.copy()
        clicked[round(time * RATE) :][:32] += 0.8
        found = processor.extract(written(tmp_path / "click.wav", clicked))
        for name in ("layer_0", "layer_3"):
            change = np.abs(found[name].values - quiet[name].values).max(axis=1)
            assert np.flatnonzero(change)[0] == int(time // tr), (time, name)


def test_windows_end_where_their_part_of_the_tr_does_for_hours():
    windows = Windows(Fraction("0.72"), 3, 2.0, RATE, True)
    number = 3 * 10_000 - 1
    assert windows.edges(number)[1] == windows.heard(number)[1] == 7200 * RATE
    odd = Windows(Fraction("0.7199999"), 1, 2.0, RATE, True)
    lengths = {stop - start for start, stop in map(odd.heard, range(5, 20_000))}
    assert lengths == {2 * RATE + 11_520}


def test_half_precision_is_computed_in_float32(tmp_path, caplog):
    folder = speech_folder(tmp_path / "half", "wav2vec2-layer", dtype=torch.float16)
    model = SpeechModel(str(folder), device="cpu")
    assert model.saved_as == "float16" and "computed in float32" in caplog.text
    assert {one.dtype for one in model.model.parameters()} == {torch.float32}
    single = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    given = model.extractor(sound(1), sampling_rate=RATE, return_tensors="pt").input_values
    with torch.no_grad():
        wanted = single(given).last_hidden_state[0].numpy()
    np.testing.assert_allclose(model.states([sound(1)], (3,))[0, 0], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "head"),
    [("wav2vec2-group", "ForCTC"), ("hubert-group", "ForCTC"), ("whisper", "ForConditionalGeneration")],
)
def test_checkpoints_with_a_head_are_read(family, head, tmp_path):
    model = SpeechModel(str(speech_folder(tmp_path / "head", family, head=head)), device="cpu")
    assert model.n_blocks == 3 and model.dim == 32 and not model.model.training


def test_the_file_says_what_made_it_and_another_model_is_seen(folders, tmp_path):
    path = written(tmp_path / "a.wav", sound(6))
    settings = SpeechSettings.make(model=str(folders["wav2vec2-group"]), tr=1.5, context=3, window=0.75, device="cpu")
    done = gb.extract(path, settings, tmp_path)
    assert done.path.name == "a_desc-speech_features.nc"
    about = load_features(done.path).attrs
    assert about["variable"] == about["model_layers"].join(("layer_", "")) == "layer_1"
    assert (about["model_window"], about["model_context"], about["model_dtype"]) == (0.75, 3, "float32")
    assert about["causal"] == "yes" and len(about["model_fingerprint"]) == 64
    assert gb.extract(path, settings, tmp_path).status == "up to date"
    other = settings.model_copy(update={"model": str(folders["hubert-group"])})
    with pytest.raises(InputError, match=r"model fingerprint \(SpeechSettings.model\)"):
        gb.extract(path, other, tmp_path)


def test_a_model_of_another_family_is_one_clear_error(tmp_path):
    transformers.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="of the family bert: those of whisper, wav2vec2, hubert, wavlm can be used"):
        SpeechModel(str(tmp_path))


def test_lacking_weights_are_one_clear_error(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = speech_folder(tmp_path / "cut", "wav2vec2-group")
    weights = load_file(folder / "model.safetensors")
    name = next(key for key in weights if "layers.1.attention.k_proj.weight" in key)
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 weights \(first .*layers.1.attention.k_proj.weight"):
        SpeechModel(str(folder))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"layers": (4,)}, r"layers is 4: .* has layers 0 \(the embeddings\) to 3"),
        ({"window": 0.4}, "window is 0.4 s and the TR 1.5 s: a TR must hold whole windows; 0.375 s would do"),
        ({"window": 0.03}, "needs at least 0.04"),
        ({"context": 29}, "context is 29 s and the window 1.5 s: .* hears 30 s at once"),
        ({"context": 15, "causal": False}, "context is 15 s before and after"),
    ],
)
def test_what_the_model_cannot_do_is_refused_before_the_film(options, match, folders):
    with pytest.raises(InputError, match=match):
        SpeechProcessor(str(folders["whisper"]), tr=1.5, device="cpu", **options)
