"""Speed of feature extraction beside what one would write oneself, side by side in one run.

    python benchmarks/features_speed.py              all parts
    python benchmarks/features_speed.py language     a language model's states of words with 512 words of context
    python benchmarks/features_speed.py speech       a speech model's states of windows of sound
    python benchmarks/features_speed.py picture      features of the picture of a 720p film
    python benchmarks/features_speed.py motion       its Gabor motion energy, beside pymoten's own

Contenders take turns, and ratios are of medians; what they compute is compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import features_picture
import features_speech
import numpy as np

CONTEXT, STEP, LAYERS = 512, 256, (0, 8, 16, 24, 30)
N_PLAIN = 6
"""Words that the plain loop does: it takes about a second for each."""
VOCABULARY = (
    "the of and a to in he was that it his her with as had she for on at by which have not be from but they said so "
    "little garden rabbit river thought morning window nothing however between children something table again"
)


def running_text(n_words: int) -> list[str]:
    """Words in an order of no sense: what they are does not matter to the clock."""
    known, rng = VOCABULARY.split(), np.random.default_rng(0)
    return [known[index] for index in rng.integers(0, len(known), n_words)]


def plain_loop(model: Any, words: list[str], first_seen: Callable[[int], int], chosen: list[int]) -> np.ndarray:
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


def language(repeats: int) -> int:
    """Seconds per word, and the greatest difference between both; 1 if it is too slow or not the same."""
    from giblet.data.language_models import LanguageModel
    from giblet.data.language_tokens import windows_of

    model = LanguageModel("smollm2", device="cpu")
    words = running_text(CONTEXT + 3 * STEP)
    first = {w: one.begin for one in windows_of(len(words), CONTEXT, STEP) for w in range(one.start, one.stop)}
    chosen = np.linspace(CONTEXT, len(words) - 1, N_PLAIN).astype(int).tolist()
    took: dict[str, list[float]] = {"plain": [], "plain, at least": [], "giblet": []}
    for _ in range(repeats):
        started = time.perf_counter()
        exact = plain_loop(model, words, lambda index: max(0, index - CONTEXT), chosen)
        took["plain"].append((time.perf_counter() - started) / N_PLAIN)
        started = time.perf_counter()
        same = plain_loop(model, words, lambda index: first[index], chosen)
        took["plain, at least"].append((time.perf_counter() - started) / N_PLAIN)
        started = time.perf_counter()
        found = model.states(words, layers=LAYERS, context=CONTEXT, context_step=STEP).vectors
        took["giblet"].append((time.perf_counter() - started) / len(words))
    size = np.abs(found[chosen]).max(axis=(0, 2))
    difference = float((np.abs(found[chosen] - same).max(axis=(0, 2)) / size).max())
    r = [np.corrcoef(found[chosen][:, k].ravel(), exact[:, k].ravel())[0, 1] for k in range(len(LAYERS))]
    seconds = {name: statistics.median(one) for name, one in took.items()}
    ratio = seconds["plain"] / seconds["giblet"]
    layers, last = ", ".join(map(str, LAYERS)), CONTEXT + STEP - 1
    print(f"smollm2, layers {layers}, and surprisal; {len(words)} words, ms per word:")
    print(f"  plain loop, {CONTEXT} words before each: {1000 * seconds['plain']:.0f}")
    print(f"  plain loop, {CONTEXT} to {last} words, as giblet has them: {1000 * seconds['plain, at least']:.0f}")
    print(f"  giblet: {1000 * seconds['giblet']:.1f}, {ratio:.0f} times as fast as the first")
    print(f"  greatest difference from the second, as a share of the layer's greatest value: {difference:.1e}")
    print(f"  r with the first, by layer: {', '.join(f'{one:.5f}' for one in r)}")
    return int(ratio < 5 or difference > 1e-4)


PARTS: dict[str, Callable[[int], int]] = {
    "language": language,
    "speech": features_speech.speech,
    "picture": features_picture.picture,
    "motion": features_picture.motion,
}


def main() -> int:
    """Run the parts; 1 if one misses what it should reach."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each contender (3)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: known are {', '.join(PARTS)}")
    return max(PARTS[part](options.repeats) for part in options.parts)


if __name__ == "__main__":
    sys.exit(main())
