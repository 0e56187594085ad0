"""Made-up clips: tones, glides and noises, and a cortex that hears the latents' means."""

import numpy as np

RATE = 24_000


def sounds(n: int, seed: int = 0, seconds: float = 0.4) -> list[np.ndarray]:
    """Float32 sounds of unlike pitch, timbre and loudness, and of two lengths."""
    rng, made = np.random.default_rng(seed), []
    for number in range(n):
        time = np.arange(int(RATE * seconds * (1 + number % 2 / 2))) / RATE
        pitch = rng.uniform(80, 1500) * (1 + rng.uniform(0, 0.5) * time / seconds)
        tone = sum(rng.uniform(0, 1) * np.sin(2 * np.pi * k * np.cumsum(pitch) / RATE) for k in (1, 2, 3))
        noise = np.convolve(rng.standard_normal(len(time)), np.ones(rng.integers(1, 12)), "same")
        share, beat = rng.uniform(), 1 + rng.uniform() * np.sin(2 * np.pi * rng.uniform(2, 12) * time)
        sound = (share * tone + (1 - share) * noise) * beat
        made.append((rng.uniform(0.02, 0.3) * sound / np.abs(sound).max()).astype(np.float32))
    return made
