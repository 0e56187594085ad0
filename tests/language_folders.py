"""Folders with small language models of random weights, as transformers saves them, and a text that they can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

TEXT = (
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or "
    "twice she had peeped into the book her sister was reading, but it had no pictures or conversations in it, “and "
    "what is the use of a book,” thought Alice “without pictures or conversations?” So she was considering in her own "
    "mind (as well as she could, for the hot day made her feel very sleepy and stupid), whether the pleasure of making "
    "a daisy-chain would be worth the trouble of getting up and picking her sister's daisies."
)
WORDS = TEXT.split()
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 192},
    "llama": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
              "num_key_value_heads": 2, "max_position_embeddings": 256},
    "qwen2": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
              "num_key_value_heads": 2, "max_position_embeddings": 256},
    "gpt_neox": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
                 "max_position_embeddings": 256},
    "opt": {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
            "word_embed_proj_dim": 32, "max_position_embeddings": 256},
}  # fmt: skip
"""Causal ones, by model_type: options of their configuration."""


def tokenizer(family: str) -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE as GPT-2 has it; for Llama with spaces as part of pieces and a beginning of text."""
    own = Tokenizer(models.BPE(unk_token="<unk>"))
    special = ["<unk>", "<s>", "</s>"]
    if family == "llama":
        own.pre_tokenizer = pre_tokenizers.Metaspace()
        own.decoder = decoders.Metaspace()
    else:
        own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        own.decoder = decoders.ByteLevel()
    alphabet = [] if family == "llama" else pre_tokenizers.ByteLevel.alphabet()
    own.train_from_iterator(
        [TEXT],
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    if family == "llama":
        own.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    begin = {} if family == "qwen2" else {"bos_token": "<s>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=own, unk_token="<unk>", eos_token="</s>", **begin)


def saved(folder: Path, family: str, *, dtype: torch.dtype = torch.float32, seed: int = 0, **options: Any) -> Path:
    """A folder with a causal language model of that family, large weights, and its tokenizer."""
    tokens = tokenizer(family)
    config = transformers.AutoConfig.for_model(
        family, **{"vocab_size": len(tokens), "initializer_range": 0.3, "init_std": 0.3, "bos_token_id": 1,
                   "eos_token_id": 2, "pad_token_id": 2, **FAMILIES.get(family, {}), **options}
    )  # fmt: skip
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config).to(dtype)
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def plainly(
    folder: Path, words: list[str], layers: tuple[int, ...], context: int, *, seen_by: Any = None
) -> tuple[Any, Any]:
    """What a plain loop finds: a pass for each word over it and the words before it, cut from the whole text's tokens.

    `seen_by` gives the first word that each word sees; by default `context` before it. Returned are the means over the
    tokens of each word (n_words, n_layers, dim) and bits; for words without punctuation.
    """
    tokens = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    before = [] if tokens.bos_token_id is None else [tokens.bos_token_id]
    pieces = [
        tokens((" " if index else "") + word if "llama" not in str(model.config.model_type) else word,
               add_special_tokens=False)["input_ids"]
        for index, word in enumerate(words)
    ]  # fmt: skip
    vectors, bits = [], []
    for index, own in enumerate(pieces):
        first = max(0, index - context) if seen_by is None else seen_by(index)
        ids = before + [i for piece in pieces[first : index + 1] for i in piece]
        with torch.no_grad():
            out = model(torch.tensor([ids]), output_hidden_states=True)
        vectors.append(torch.stack([out.hidden_states[layer][0, -len(own) :].mean(0) for layer in layers]))
        told = torch.log_softmax(out.logits[0, :-1].double(), -1)
        n = min(len(own), len(ids) - 1)
        value = -sum(told[-k, ids[len(ids) - k]] for k in range(1, n + 1)) / torch.log(torch.tensor(2.0).double())
        bits.append(float(value) if n == len(own) else float("nan"))
    return torch.stack(vectors).numpy(), torch.tensor(bits).numpy()
