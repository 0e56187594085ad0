"""What each way of moving codes in time, or convolving them, leaves of the sound and of the features.

On samples/speech.flac and the bundled codec; prints two tables, and with ``--write`` puts them into docs/codes.md:

    python benchmarks/codes_are_categories.py --write
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import soundfile
import soxr
from pystoi import stoi
from scipy.signal import correlate, correlation_lags

from giblet.alignment import convolve_hrf, convolve_hrf_latents, resample_features
from giblet.codec import load_codec
from giblet.codec.base import AudioCodec
from giblet.evaluation.reconstruction import level_error, si_sdr
from giblet.timing import group_codes_by_tr

ROOT = Path(__file__).parents[1]
START, END = "<!-- codes_are_categories: start -->", "<!-- codes_are_categories: end -->"
TR = 1.5
SHIFTS = {"0.4 frame": 0.4, "3.3 frames": 3.3, "half a TR": TR * 75 / 2}
RISE = 22
"""Volumes (32 s, one response) before the correlation of HRF features begins."""


def envelope(sound: np.ndarray, rate: int) -> np.ndarray:
    """Root mean square over 10 ms around every sample."""
    width = rate // 100
    return np.sqrt(np.maximum(np.convolve(sound.astype(np.float64) ** 2, np.full(width, 1 / width), "same"), 0))


def recovered_shift(before: np.ndarray, after: np.ndarray, rate: int) -> float:
    """Seconds by which `after` is ahead of `before`, where their envelopes correlate best, within 1 s.

    NaN where the best correlation is below 0.5: a place is found in any sound, but not the place of this one.
    """
    a, b = (envelope(sound, rate) for sound in (before, after))
    r = correlate(a - a.mean(), b - b.mean(), method="fft")
    lags = correlation_lags(len(a), len(b))
    near = np.abs(lags) <= rate
    if r[near].max() < 0.5 * np.linalg.norm(a - a.mean()) * np.linalg.norm(b - b.mean()):
        return float("nan")
    return float(lags[near][np.argmax(r[near])] / rate)


def shift_rows(codec: AudioCodec, codes: np.ndarray) -> list[str]:
    rate, hop = codec.sample_rate, codec.hop_length
    before = codec.decode(codes)
    times = np.arange(codes.shape[1]) * hop / rate
    rows = []
    for name, frames in SHIFTS.items():
        samples = round(frames * hop)
        n = codes.shape[1] - int(np.ceil(frames))
        ideal = before[samples : samples + n * hop]
        whole = before[round(frames) * hop :][: n * hop]
        for method in ("round", "nearest", "latent"):
            moved = resample_features(
                codes.T, times, times[:n] + samples / rate, kind="codes", method=method, codec=codec
            )
            sound = codec.decode(np.ascontiguousarray(moved.T))
            error = (recovered_shift(before, sound, rate) - samples / rate) * 1000
            lag = "not found" if np.isnan(error) else f"{error:+.1f}"
            kept = np.mean(moved == codes.T[round(frames) :][:n])
            rows.append(
                f"| {name} | `{method}` | {si_sdr(ideal, sound):.1f} | {si_sdr(whole, sound):.1f} |"
                f" {level_error(ideal, sound):+.1f} | {stoi(ideal, sound, rate):.3f} | {lag} | {kept:.1%} |"
            )
    return rows


def by_tr(codec: AudioCodec, grouped: np.ndarray) -> np.ndarray:
    n, k, width = grouped.shape
    latents = codec.latents(np.ascontiguousarray(grouped.transpose(1, 0, 2)).reshape(k, -1))
    return latents.reshape(len(latents), n, width).mean(-1).T


def loudness(codec: AudioCodec, grouped: np.ndarray) -> np.ndarray:
    n, k, _ = grouped.shape
    sound = codec.decode(np.ascontiguousarray(grouped.transpose(1, 0, 2)).reshape(k, -1))
    return np.sqrt(np.mean(sound.reshape(n, -1).astype(np.float64) ** 2, axis=1))


def correlation(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    a, b = (x[RISE:].reshape(len(x) - RISE, -1) - x[RISE:].reshape(len(x) - RISE, -1).mean(0) for x in (truth, found))
    norms = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    if not (norms > 0).all():
        raise SystemExit("a feature is constant after the convolution: its correlation is not defined")
    return (a * b).sum(0) / norms


def hrf_rows(codec: AudioCodec, codes: np.ndarray) -> list[str]:
    grouped = group_codes_by_tr(codes, tr=TR, frame_rate=75)
    truth, loud = (
        convolve_hrf(by_tr(codec, grouped), tr=TR, kind="continuous"),
        convolve_hrf(loudness(codec, grouped), tr=TR, kind="continuous"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that codes are convolved as numbers is what is measured
        on_codes = convolve_hrf(grouped, tr=TR, kind="codes")
    ways = {
        'on codes (`convolve_hrf`, kind="codes")': on_codes,
        "on latents, requantized (`convolve_hrf_latents`)": convolve_hrf_latents(grouped, codec, tr=TR),
        'on latents, requantized, `clock="frame"`': convolve_hrf_latents(grouped, codec, tr=TR, clock="frame"),
        "none (untouched codes)": grouped,
    }
    rows = []
    for name, found in ways.items():
        r, r_loud = correlation(truth, by_tr(codec, found)), correlation(loud, loudness(codec, found))
        low, middle, high = np.percentile(r, [25, 50, 75])
        kept = np.mean(found == grouped)
        rows.append(f"| {name} | {middle:.2f} ({low:.2f} to {high:.2f}) | {r_loud[0]:.2f} | {kept:.1%} |")
    return rows


def tables(codec: AudioCodec, path: Path) -> str:
    sound, rate = soundfile.read(path, dtype="float32")
    codes = codec.encode(soxr.resample(sound, rate, codec.sample_rate))
    n_trs = len(group_codes_by_tr(codes, tr=TR, frame_rate=75))
    head = "| shift | method | SI-SDR, exact place (dB) | SI-SDR, nearest whole frame (dB) | level error (dB) | STOI |"
    return "\n".join(
        [
            f"Codec {codec.fingerprint[:8]}, {path.name}, {len(sound) / rate:.1f} s, {len(codes)} codebooks.",
            "",
            f"{head} lag error (ms) | codes unchanged |",
            "|---|---|--:|--:|--:|--:|--:|--:|",
            *shift_rows(codec, codes),
            "",
            f"| HRF | r of latents, median (quartiles), TRs {RISE} to {n_trs - 1} | r of loudness | codes unchanged |",
            "|---|--:|--:|--:|",
            *hrf_rows(codec, codes),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/codes.md")
    write = parser.parse_args().write
    text = tables(load_codec("bundled", device="cpu"), ROOT / "samples/speech.flac")
    print(text)
    if write:
        page = ROOT / "docs/codes.md"
        before, rest = page.read_text(encoding="utf-8").split(START)
        page.write_text(f"{before}{START}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
