"""How fast giblet's codec is beside transformers' own, on the published model's architecture with random weights.

Both are timed in turns, in one process with the same threads, and medians are compared; a ratio is worth more than a
time, and neither means much while another process wants the same cores. Memory is the peak of a process that streams
--film-seconds of sound through the codec and back, less what the imports took (Linux):

    python benchmarks/codec_speed.py --seconds 60 --repeats 3 --threads 2
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import soxr
import torch

from giblet.codec import load_codec
from giblet.codec.encodec import BLOCK_FRAMES, EncodecCodec, build_config, build_model

DATA = Path(__file__).parents[1] / "samples"
CLIPS = (3.0, 8.0, 20.0)
"""Seconds of the clips that are encoded side by side."""
STREAM = """
import sys
from pathlib import Path
import numpy as np
from giblet.codec import load_codec
if sys.argv[2] == "openvino":
    import openvino
import torch

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

folder, runtime, seconds, threads, sound = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
torch.set_num_threads(threads)
wave = np.load(sound, mmap_mode="r")
before = peak()
codec = load_codec(folder, bandwidth=6.0, device="cpu", runtime=runtime)
pieces = (np.array(wave[: 24_000 * 10]) for _ in range(round(seconds / 10)))
encoded = list(codec.encode_stream(pieces))
middle = peak()
for _ in codec.decode_stream(encoded):
    pass
print(f"{middle - before:.0f} {peak() - before:.0f}")
"""


def sound(seconds: float) -> np.ndarray:
    """Speech and music of the samples, over and over."""
    parts = [soxr.resample(*_read(name), 24_000) for name in ("speech.flac", "music.flac")]
    return np.resize(np.concatenate(parts), int(seconds * 24_000)).astype(np.float32)


def _read(name: str) -> tuple[np.ndarray, int]:
    return soundfile.read(DATA / name, dtype="float32")


def lifelike(config: Any, wave: np.ndarray) -> Any:
    """A codec with random weights that uses its codebooks as a trained one does.

    As drawn, the weights let the biases drown the sound, so that all frames get nearly the same codes and equal codes
    prove nothing. So each convolution is set to zero mean and unit variance, as training would, and each codebook is
    filled with what the ones before leave of the sound.
    """
    torch.manual_seed(0)
    model = build_model(config).eval()
    hooks = [module.register_forward_hook(_standardise) for module in model.modules() if hasattr(module, "conv")]
    with torch.no_grad():
        latents = model.encoder(torch.from_numpy(wave)[None, None])
        left = latents[0].t()
        for layer in model.quantizer.layers:
            book = 0.3 * left[torch.randint(len(left), (config.codebook_size,))]
            layer.codebook.embed.copy_(book + 0.3 * left.std() * torch.randn_like(book))
            left = left - layer.codebook.embed[layer.codebook.quantize(left)]
        model.decoder(latents[..., :750])
    for hook in hooks:
        hook.remove()
    return model


def _standardise(module: Any, _: Any, output: torch.Tensor) -> torch.Tensor:
    """Scale and shift a convolution so that this output has zero mean and unit variance, and answer that."""
    mean, scale = output.mean((0, 2)), output.std((0, 2)).mean()
    module.conv.parametrizations.weight.original0.div_(scale)
    module.conv.bias.sub_(mean).div_(scale)
    return (output - mean[:, None]) / scale


def in_turns(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> tuple[float, float, Any, Any]:
    """Median seconds of both, and what they gave. The turn before the first is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        start = time.perf_counter()
        a = first()
        middle = time.perf_counter()
        b = second()
        times[0].append(middle - start)
        times[1].append(time.perf_counter() - middle)
    return median(times[0][1:]), median(times[1][1:]), a, b


def together(codec: EncodecCodec, wave: np.ndarray, seconds: float, args: argparse.Namespace) -> None:
    """Clips side by side against one after another."""
    clips = np.array_split(wave, max(1, round(args.seconds / seconds)))
    alone, joint, codes, joint_codes = in_turns(
        lambda: [codec.encode(clip) for clip in clips], lambda: codec.encode_many(clips), args.repeats
    )
    same = np.mean(np.concatenate([(a == b).ravel() for a, b in zip(codes, joint_codes, strict=True)]))
    print(f"{len(clips)} clips of {seconds:g} s, {codec.runtime}: together {alone / joint:.2f} x as fast as one after "
          f"another, {100 * same:.3f} % of codes identical")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bandwidth", type=float, default=6.0)
    parser.add_argument("--block-frames", type=int, default=BLOCK_FRAMES)
    parser.add_argument("--film-seconds", type=float, default=1380, help="for the memory; 0: leave it out")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    wave = sound(args.seconds)
    theirs = lifelike(build_config(num_codebooks=32), wave[: 60 * 24_000])
    tensor = torch.from_numpy(wave)[None, None]
    print(f"{args.seconds:g} s of sound, {args.threads} threads, {args.repeats} repeats, torch {torch.__version__}")
    there = ["torch", *(["openvino"] if importlib.util.find_spec("openvino") else [])]
    for runtime in there:
        compare(theirs, wave, tensor, runtime, args)
    if "openvino" not in there:
        print("openvino is not installed: pip install 'giblet[fast]'")

    for runtime in there:
        bundled = load_codec("bundled", bandwidth=6.0, device="cpu", runtime=runtime)
        codes = bundled.encode(wave)
        encode, decode, _, _ = in_turns(partial(bundled.encode, wave), partial(bundled.decode, codes), args.repeats)
        speeds = f"encodes {args.seconds / encode:.0f} x, decodes {args.seconds / decode:.0f} x"
        print(f"bundled codec, {runtime}: {speeds} as fast as real time")
        for seconds in CLIPS:
            together(EncodecCodec(theirs, args.bandwidth, runtime=runtime), wave, seconds, args)
    if args.film_seconds:
        memory(theirs, wave, there, args)


def memory(model: Any, wave: np.ndarray, runtimes: list[str], args: argparse.Namespace) -> None:
    """Peak of a process of its own for each runtime, less its imports."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        np.save(f"{folder}/wave.npy", wave)
        for runtime in runtimes:
            values = [folder, runtime, args.film_seconds, args.threads, f"{folder}/wave.npy"]
            command = [sys.executable, "-c", STREAM, *map(str, values)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            encode, both = done.stdout.split()
            print(
                f"{runtime}, memory over import for {args.film_seconds:g} s: {encode} MiB to encode, {both} MiB"
                " to decode again"
            )


def compare(theirs: Any, wave: np.ndarray, tensor: torch.Tensor, runtime: str, args: argparse.Namespace) -> None:
    ours = EncodecCodec(
        theirs, bandwidth=args.bandwidth, name="official", block_frames=args.block_frames, runtime=runtime
    )
    with torch.inference_mode():
        t, o, their_codes, our_codes = in_turns(
            lambda: theirs.encode(tensor, None, bandwidth=args.bandwidth).audio_codes,
            lambda: ours.encode(wave),
            args.repeats,
        )
        used = min(len(np.unique(row)) for row in our_codes)
        same = (their_codes[0, 0].numpy() == our_codes).mean()
        print(f"{runtime}, encode: transformers {t:.2f} s, giblet {o:.2f} s, {t / o:.2f} x; ", end="")
        print(f"{same:.4%} of the codes identical, at least {used} of 1024 in use in each codebook")
        t, o, their_wave, our_wave = in_turns(
            lambda: theirs.decode(their_codes, [None]).audio_values,
            lambda: ours.decode(their_codes[0, 0].numpy()),
            args.repeats,
        )
    apart = np.abs(their_wave[0, 0].numpy() - our_wave).max()
    print(f"{runtime}, decode: transformers {t:.2f} s, giblet {o:.2f} s, {t / o:.2f} x; largest difference {apart:.1e}")


if __name__ == "__main__":
    main()
