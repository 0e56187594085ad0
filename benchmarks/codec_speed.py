"""How fast giblet's codec is beside transformers' own: the published architecture with random weights, and the bundled.

Both are timed in turns, in one process with the same threads; a ratio is worth more than a time, and
neither means much while another process wants the same cores. Memory is the peak of a process that streams
--film-seconds of sound through the codec and back, less what the imports took (Linux):

    python benchmarks/codec_speed.py --seconds 60 --repeats 3 --threads 2
"""

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from ratios import Measured, Ratio, agree, in_own_process, in_turns, peak_mib, run, time_of, timed
from transformers import EncodecConfig, EncodecModel

from giblet.codec import load_codec
from giblet.codec.encodec import BLOCK_FRAMES, EncodecCodec
from giblet.codec.loading import find_codec
from giblet.codec.network import build_config, build_model

DATA = Path(__file__).parents[1] / "samples"
TRANSFORMERS = "transformers"


def sound(seconds: float) -> np.ndarray:
    """Speech and music of the samples, over and over."""
    parts = [soxr.resample(*_read(name), 24_000) for name in ("speech.flac", "music.flac")]
    return np.resize(np.concatenate(parts), int(seconds * 24_000)).astype(np.float32)


def _read(name: str) -> tuple[np.ndarray, int]:
    return soundfile.read(DATA / name, dtype="float32")


def lifelike(config: EncodecConfig, wave: np.ndarray) -> EncodecModel:
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


def compare(
    name: str, theirs: EncodecModel, ours: EncodecCodec, wave: np.ndarray, args: argparse.Namespace
) -> list[Ratio]:
    """Encoding and decoding by giblet and by the transformers model of the same weights."""
    tensor, bandwidth = torch.from_numpy(wave)[None, None], args.bandwidth
    with torch.inference_mode():
        encoders = {
            TRANSFORMERS: lambda: theirs.encode(tensor, None, bandwidth=bandwidth),
            "giblet": lambda: ours.encode(wave),
        }
        encoded = in_turns(encoders, args.repeats)
        expected, own = encoded.result(TRANSFORMERS), encoded.result("giblet")
        codes = expected.audio_codes[0, 0].numpy()
        used = min(len(np.unique(row)) for row in own)
        print(f"{name}, {ours.runtime}: at least {used} of 1024 entries in use in each codebook")
        agree(f"{name}, {ours.runtime}, share of codes", float((codes != own).mean()), 1e-3)
        decoders = {
            TRANSFORMERS: lambda: theirs.decode(expected.audio_codes, expected.audio_scales),
            "giblet": lambda: ours.decode(codes),
        }
        decoded = in_turns(decoders, args.repeats)
        apart = np.abs(decoded.result(TRANSFORMERS).audio_values[0, 0].numpy() - decoded.result("giblet")).max()
        agree(f"{name}, {ours.runtime}, decoded sound", float(apart), 1e-3)
    done = {"encode": encoded, "decode": decoded}
    for what, turns in done.items():
        speed = args.seconds / turns.seconds("giblet", "clock")
        print(f"{name}, {ours.runtime}: {what}s {speed:.0f} x as fast as real time")
    return [
        turns.ratio("giblet", TRANSFORMERS, what=f"{what}, {name} codec, {ours.runtime}", time=time_of(args.threads))
        for what, turns in done.items()
    ]


def together(codec: EncodecCodec, wave: np.ndarray, seconds: float, args: argparse.Namespace) -> Ratio:
    """Clips side by side against one after another."""
    clips = np.array_split(wave, max(1, round(args.seconds / seconds)))
    other = "one after another"
    jobs = {other: lambda: [codec.encode(clip) for clip in clips], "together": lambda: codec.encode_many(clips)}
    turns = in_turns(jobs, args.repeats)
    pairs = zip(turns.result(other), turns.result("together"), strict=True)
    apart = float(np.mean(np.concatenate([(a != b).ravel() for a, b in pairs])))
    what = f"{len(clips)} clips of {seconds:g} s together, {codec.runtime}"
    agree(f"{what}, share of codes", apart, 1e-3)
    return turns.ratio("together", other, what=what, time=time_of(args.threads))


def stream(folder: str, runtime: str, seconds: float, threads: int, sound: str) -> Measured:
    """Sound through a codec and back, in blocks: the most memory of encoding and of both, over what imports took."""
    if runtime == "openvino":
        import openvino  # noqa: F401
    torch.set_num_threads(threads)
    wave = np.load(sound, mmap_mode="r")

    def through() -> list[float]:
        before = peak_mib(begin=True)
        codec = load_codec(folder, bandwidth=6.0, device="cpu", runtime=runtime)
        pieces = (np.array(wave[: 24_000 * 10]) for _ in range(round(seconds / 10)))
        encoded = list(codec.encode_stream(pieces))
        middle = peak_mib()
        for _ in codec.decode_stream(encoded):
            pass
        return [middle - before, peak_mib() - before]

    return timed(through)


def memory(model: EncodecModel, wave: np.ndarray, runtimes: list[str], args: argparse.Namespace) -> None:
    """Peak of a process of its own for each runtime, less its imports."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        np.save(f"{folder}/wave.npy", wave)
        for runtime in runtimes:
            values = (folder, runtime, args.film_seconds, args.threads, f"{folder}/wave.npy")
            encode, both = in_own_process(stream, *values).result
            film = f"{runtime}, memory over import for {args.film_seconds:g} s"
            print(f"{film}: {encode:.0f} MiB to encode, {both:.0f} MiB to decode again")


def measure(args: argparse.Namespace) -> list[Ratio]:
    torch.set_num_threads(args.threads)
    wave = sound(args.seconds)
    published = lifelike(build_config(num_codebooks=32), wave[: 60 * 24_000])
    bundled = EncodecModel.from_pretrained(find_codec("bundled")[0].parent).eval()
    print(f"{args.seconds:g} s of sound, {args.threads} threads, {args.repeats} repeats, torch {torch.__version__}")
    there = ["torch", *(["openvino"] if importlib.util.find_spec("openvino") else [])]
    found = []
    for runtime in there:
        how = {"bandwidth": args.bandwidth, "block_frames": args.block_frames, "runtime": runtime}
        for name, model in (("published", published), ("bundled", bundled)):
            found += compare(name, model, EncodecCodec(model, name=name, **how), wave, args)
        found += [together(EncodecCodec(published, **how), wave, seconds, args) for seconds in args.clips]
    if "openvino" not in there:
        print("openvino is not installed: pip install 'giblet[fast]'")
    if args.film_seconds:
        memory(published, wave, there, args)
    return found


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seconds", type=float, default=60)
    made.add_argument("--clips", type=float, nargs="*", default=[3.0, 8.0, 20.0], help="seconds of clips side by side")
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--threads", type=int, default=torch.get_num_threads())
    made.add_argument("--bandwidth", type=float, default=6.0)
    made.add_argument("--block-frames", type=int, default=BLOCK_FRAMES)
    made.add_argument("--film-seconds", type=float, default=1380, help="for the memory; 0: leave it out")
    return made


if __name__ == "__main__":
    sys.exit(run(measure, parser()))
