"""Speed of feature extraction beside what one would write oneself, side by side in one run.

    python benchmarks/features_speed.py              all parts
    python benchmarks/features_speed.py language     a language model's states of words with 512 words of context
    python benchmarks/features_speed.py speech       a speech model's states of windows of sound
    python benchmarks/features_speed.py picture      features of the picture of a 720p film
    python benchmarks/features_speed.py motion       its Gabor motion energy, beside pymoten's own

What they compute is compared. Of the words, a plain loop does a few, and its time is scaled to all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import features_picture
import features_speech
import numpy as np
from ratios import Ratio, agree, in_turns, run

if TYPE_CHECKING:
    from giblet.data.language_models import LanguageModel

LAYERS = (0, 8, 16, 24, 30)
VOCABULARY = (
    "the of and a to in he was that it his her with as had she for on at by which have not be from but they said so "
    "little garden rabbit river thought morning window nothing however between children something table again"
)


def running_text(n_words: int) -> list[str]:
    """Words in an order of no sense: what they are does not matter to the clock."""
    known, rng = VOCABULARY.split(), np.random.default_rng(0)
    return [known[index] for index in rng.integers(0, len(known), n_words)]


def plain_loop(
    model: LanguageModel, words: list[str], first_seen: Callable[[int], int], chosen: list[int]
) -> np.ndarray:
    """A pass of transformers for each word over it and its context, (n_words, n_layers, dim): what scripts do."""
    torch, found = model.torch, []
    begin = [model.tokenizer.bos_token_id]
    for index in chosen:
        ids, own = begin, []
        for place in range(first_seen(index), index + 1):
            own = model.tokenizer(("" if place == 0 else " ") + words[place], add_special_tokens=False)["input_ids"]
            ids = ids + own
        with torch.inference_mode():
            states = model.model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        found.append(torch.stack([states[layer][0, -len(own) :].mean(0) for layer in LAYERS]).numpy())
    return np.stack(found)


def language(options: argparse.Namespace) -> list[Ratio]:
    """Vectors of a language model, by word, beside a pass for each word."""
    from giblet.data.language_models import LanguageModel
    from giblet.data.language_tokens import windows_of

    context, step = options.context, options.context // 2
    model = LanguageModel("smollm2", device="cpu")
    words = running_text(context + 3 * step)
    first = {w: one.begin for one in windows_of(len(words), context, step) for w in range(one.start, one.stop)}
    chosen = np.linspace(context, len(words) - 1, options.words).astype(int).tolist()
    exact, same = f"a pass of {context} words for each word", "a pass of the same words for each word"
    jobs = {
        exact: lambda: plain_loop(model, words, lambda index: max(0, index - context), chosen),
        same: lambda: plain_loop(model, words, lambda index: first[index], chosen),
        "giblet": lambda: model.states(words, layers=LAYERS, context=context, context_step=step).vectors[chosen],
    }
    turns = in_turns(jobs, options.repeats)
    found, expected = turns.result("giblet"), turns.result(same)
    size = np.abs(found).max(axis=(0, 2))
    agree(
        "smollm2, share of a layer's greatest value",
        float((np.abs(found - expected).max(axis=(0, 2)) / size).max()),
        1e-4,
    )
    r = [np.corrcoef(found[:, k].ravel(), turns.result(exact)[:, k].ravel())[0, 1] for k in range(len(LAYERS))]
    print(f"smollm2, r with the vectors of exactly {context} words, by layer: {', '.join(f'{one:.5f}' for one in r)}")
    what, share = f"smollm2, {len(words):,} words, {len(LAYERS)} layers and surprisal", len(chosen) / len(words)
    return [
        turns.ratio("giblet", other, what=what, share=share, at_least=wanted)
        for other, wanted in ((exact, 5.0), (same, None))
    ]


PARTS: dict[str, Callable[[argparse.Namespace], list[Ratio]]] = {
    "language": language,
    "speech": features_speech.speech,
    "picture": features_picture.picture,
    "motion": features_picture.motion,
}


def measure(options: argparse.Namespace) -> list[Ratio]:
    return [ratio for part in options.parts for ratio in PARTS[part](options)]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}")
    made.add_argument("--repeats", type=int, default=3, help="turns of each contender (3)")
    made.add_argument("--context", type=int, default=512, help="language: words before each (512)")
    made.add_argument(
        "--words", type=int, default=6, help="language: those that the plain loop does (6): it takes long"
    )
    made.add_argument("--windows", type=int, default=14, help="speech: TRs (14); the first six windows grow one by one")
    made.add_argument("--frames", type=int, default=480, help="picture, motion: of the film (480)")
    return made


if __name__ == "__main__":
    sys.exit(run(measure, parser()))
