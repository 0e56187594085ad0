"""Speed of features of the picture: parts of features_speed.py, which runs them.

``picture``: ``giblet extract --video`` of a 720p film beside the same loop in one thread, as it was, and beside
FFmpeg's decoding alone, below which nothing goes. ``motion``: ``giblet extract --motion`` beside pymoten's own reader
and plain projection of the same film.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from ratios import Ratio, Turns, agree, in_turns

SAMPLE = Path(__file__).parents[1] / "samples" / "sintel_trailer.mp4"
RATE, SIZE = 24, (72, 128)
TOLERANCE = 1e-3


def film_of_720p(folder: Path, frames: int) -> Path:
    """The sample film, from its first light scenes on, at 1280 x 720 in H.264."""
    path = folder / "film.mp4"
    with av.open(str(SAMPLE)) as source, av.open(str(path), "w") as made:
        stream = made.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for k, frame in enumerate(source.decode(video=0)):
            if k < 240:
                continue
            large = frame.reformat(1280, 720, format="yuv420p")
            large.pts, large.time_base = k - 240, Fraction(1, RATE)
            made.mux(stream.encode(large))
            if k == 240 + frames - 1:
                break
        made.mux(stream.encode(None))
    return path


def speeds(turns: Turns, frames: int) -> None:
    """Print how many frames each does in a second, of the clock and of the processor."""
    for name in turns.runs:
        clock, processor = (frames / turns.seconds(name, time) for time in ("clock", "processor"))
        print(f"  {name:44}{clock:8.0f} frames/s{processor:8.0f} per second of the processor")


def decoded(film: Path) -> int:
    """Frames that FFmpeg decodes, with all its threads, and nobody looks at."""
    with av.open(str(film)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(1 for _ in container.decode(video=0))


def in_one_thread(film: Path) -> dict[str, Any]:
    """The features of the picture as they were made: each frame is scaled when the one before is done with."""
    from giblet.data.picture import PictureReader
    from giblet.data.rows import Rows
    from giblet.data.video import _ByTR

    by_tr = _ByTR(Fraction(3, 2), (90, 160), "mean", Rows())
    reader = PictureReader(film)
    for shown in reader:
        by_tr.add(shown, shown.pixels((90, 160)))
    return by_tr.variables(math.ceil(reader.film_duration / Fraction(3, 2)))


def picture(options: argparse.Namespace) -> list[Ratio]:
    """The features of a 720p film."""
    from giblet.data.video import VideoProcessor

    before, floor = "one thread", "FFmpeg's decoding alone"
    with tempfile.TemporaryDirectory() as folder:
        film = film_of_720p(Path(folder), options.frames)
        jobs = {
            floor: lambda: decoded(film),
            before: lambda: in_one_thread(film),
            "giblet": lambda: VideoProcessor().extract(film),
        }
        turns = in_turns(jobs, options.repeats)
    print("picture features of a 720p film")
    speeds(turns, options.frames)
    new = turns.result("giblet")
    agree("picture", max(
        float(np.abs(new[name].values.astype(float) - np.asarray(one[1], float)).max())
        for name, one in turns.result(before).items()
    ), TOLERANCE)  # fmt: skip
    what = f"picture of {options.frames} frames in 720p"
    return [turns.ratio("giblet", other, what=what, time="clock") for other in (before, floor)]


def motion(options: argparse.Namespace) -> list[Ratio]:
    """Motion energy of a 720p film."""
    import moten

    from giblet.data.gabors import GaborPyramid
    from giblet.data.motion import MotionProcessor

    pyramid = moten.pyramids.MotionEnergyPyramid(SIZE, RATE)
    moten.core.iterator_func = lambda items, *args, **kwargs: items  # no bars
    moten.io.iterator_func = moten.core.iterator_func

    def theirs(film: Path) -> tuple[np.ndarray, np.ndarray]:
        frames = moten.io.video2luminance(str(film), size=SIZE)
        return frames, pyramid.project_stimulus(frames)

    pymoten = "pymoten, its reader and plain projection"
    with tempfile.TemporaryDirectory() as folder:
        film = film_of_720p(Path(folder), options.frames)
        jobs = {
            pymoten: lambda: theirs(film),
            "giblet": lambda: MotionProcessor(size=SIZE, rate=RATE).extract(film),
        }
        turns = in_turns(jobs, options.repeats)
    print(f"motion energy of a 720p film, {pyramid.nfilters} filters, {SIZE[0]} x {SIZE[1]} at {RATE} per second")
    speeds(turns, options.frames)
    frames, expected = turns.result(pymoten)
    own = GaborPyramid(SIZE, RATE, keep_mean=True)
    answers = np.concatenate([one.energy for one in own.answers(frames)])
    first = -(-own.width // 2) - 1
    agree(
        "motion, on the same frames",
        float(np.abs(np.log(answers[first : first + len(frames)] + 1e-5) - expected).max()),
        TOLERANCE,
    )
    what = f"motion energy of {options.frames} frames in 720p"
    return [turns.ratio("giblet", pymoten, what=what, at_least=5.0)]
