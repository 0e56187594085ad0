"""Speed of features of the picture: parts of features_speed.py, which runs them.

``picture``: ``giblet extract --video`` of a 720p film beside the same loop in one thread, as it was, and beside
FFmpeg's decoding alone, below which nothing goes. ``motion``: ``giblet extract --motion`` beside pymoten's own reader
and plain projection of the same film. Times are of the clock and of the processor, threads together, which neighbours
on a busy machine disturb less.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np

SAMPLE = Path(__file__).parents[1] / "samples" / "sintel_trailer.mp4"
N_FRAMES, RATE, SIZE = 480, 24, (72, 128)
TOLERANCE = 1e-3


def film_of_720p(folder: Path) -> Path:
    """The sample film, its first 20 s of light scenes, at 1280 x 720 in H.264."""
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
            if k == 240 + N_FRAMES - 1:
                break
        made.mux(stream.encode(None))
    return path


def took(run: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds of the clock, of the processor, and what came of it."""
    clock, processor = time.perf_counter(), time.process_time()
    found = run()
    return time.perf_counter() - clock, time.process_time() - processor, found


def compare(contenders: dict[str, Callable[[], Any]], repeats: int) -> tuple[dict[str, tuple[float, float]], dict]:
    """Median seconds of each, which take turns, and what came of the last turn."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    found: dict[str, Any] = {}
    for _ in range(repeats):
        for name, run in contenders.items():
            clock, processor, found[name] = took(run)
            times[name].append((clock, processor))
    medians = {name: (median(t[0] for t in one), median(t[1] for t in one)) for name, one in times.items()}
    for name, (clock, processor) in medians.items():
        print(f"  {name:44}{N_FRAMES / clock:8.0f} frames/s{N_FRAMES / processor:8.0f} per second of the processor")
    return medians, found


def decoded(film: Path) -> int:
    """Frames that FFmpeg decodes, with all its threads, and nobody looks at."""
    with av.open(str(film)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(1 for _ in container.decode(video=0))


def in_one_thread(film: Path) -> dict[str, Any]:
    """The features of the picture as they were made: each frame is scaled when the one before is done with."""
    from giblet.data.picture import PictureReader
    from giblet.data.video import _ByTR

    by_tr = _ByTR(Fraction(3, 2), (90, 160), "mean", None)
    reader = PictureReader(film)
    for shown in reader:
        by_tr.add(shown, shown.pixels((90, 160)))
    return by_tr.variables(int(np.ceil(reader.film_duration / Fraction(3, 2))))


def picture(repeats: int) -> int:
    """Frames per second of the features of a 720p film; 1 if the numbers differ from those of one thread."""
    from giblet.data.video import VideoProcessor

    with tempfile.TemporaryDirectory() as folder:
        film = film_of_720p(Path(folder))
        print("picture features of a 720p film")
        times, found = compare(
            {
                "decoding alone": lambda: decoded(film),
                "one thread, as before": lambda: in_one_thread(film),
                "giblet": lambda: VideoProcessor().extract(film),
            },
            repeats,
        )
    old, new = found["one thread, as before"], found["giblet"]
    difference = max(
        float(np.abs(new[name].values.astype(float) - np.asarray(one[1], float)).max()) for name, one in old.items()
    )
    (before, _), (now, _), (floor, _) = times["one thread, as before"], times["giblet"], times["decoding alone"]
    print(
        f"  {before / now:.2f} x as fast; decoding alone would be {before / floor:.2f} x; difference {difference:.1e}"
    )
    return int(difference > TOLERANCE)


def motion(repeats: int) -> int:
    """Frames per second of motion energy; 1 if it is less than 5 x as fast as pymoten, or not the same."""
    import moten

    from giblet.data.gabors import GaborPyramid
    from giblet.data.motion import MotionProcessor

    pyramid = moten.pyramids.MotionEnergyPyramid(SIZE, RATE)
    moten.core.iterator_func = lambda items, *args, **kwargs: items  # no bars
    moten.io.iterator_func = moten.core.iterator_func

    def theirs(film: Path) -> tuple[np.ndarray, np.ndarray]:
        frames = moten.io.video2luminance(str(film), size=SIZE)
        return frames, pyramid.project_stimulus(frames)

    with tempfile.TemporaryDirectory() as folder:
        film = film_of_720p(Path(folder))
        print(f"motion energy of a 720p film, {pyramid.nfilters} filters, {SIZE[0]} x {SIZE[1]} at {RATE} per second")
        times, found = compare(
            {
                "pymoten, its reader and plain projection": lambda: theirs(film),
                "giblet": lambda: MotionProcessor(size=SIZE, rate=RATE).extract(film),
            },
            repeats,
        )
    frames, expected = found["pymoten, its reader and plain projection"]
    own = GaborPyramid(SIZE, RATE, keep_mean=True)
    answers = np.concatenate([one.energy for one in own.answers(frames)])
    first = -(-own.width // 2) - 1
    difference = float(np.abs(np.log(answers[first : first + len(frames)] + 1e-5) - expected).max())
    (before, before_cpu), (now, now_cpu) = times.values()
    ratio = before / now
    print(
        f"  {ratio:.1f} x as fast, {before_cpu / now_cpu:.1f} x by the processor; on the same frames {difference:.1e}"
    )
    return int(ratio < 5 or difference > TOLERANCE)


if __name__ == "__main__":
    parts = {"picture": picture, "motion": motion}
    sys.exit(max(parts[name](3) for name in sys.argv[1:] or parts))
