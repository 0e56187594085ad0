#!/usr/bin/env bash
# soundfile 0.13.1 with libsndfile 1.2.2: Ctrl-C while a sound is written to a Python file object is never Ctrl-C.
#
# Sounds go to memory, to archives and to cloud storage through file objects, and soundfile takes those. It hands
# libsndfile functions of Python for that, and a signal that arrives while one of them runs is raised in it. There it is
# printed ("Exception ignored from cffi callback") and dropped. One would expect KeyboardInterrupt where write() was
# called. What comes is an AssertionError without a word, an error of libsndfile about its encoder, or nothing: a batch
# job that was asked to stop goes on with the next file. By path instead of by file object the interrupt comes through,
# as soundfile then calls nothing of Python.
#
# Seen, SIGINT within each of the writes of a file of 3 seconds, one at a time; none gave KeyboardInterrupt:
#   WAV: 3 went on to the end, 12 raised AssertionError
#   FLAC: 4 went on to the end, 11 raised AssertionError, 3 LibsndfileError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet soundfile==0.13.1 numpy==2.3.5
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import collections
import io
import signal

import numpy as np
import soundfile

sound = 0.1 * np.random.default_rng(0).standard_normal(3 * 16_000)


class Memory(io.BytesIO):
    def __init__(self, at):
        super().__init__()
        self.writes, self.at = 0, at

    def write(self, content):
        self.writes += 1
        if self.writes == self.at:
            signal.raise_signal(signal.SIGINT)
        return super().write(content)


def outcome(kind, at):
    memory = Memory(at)
    try:
        with soundfile.SoundFile(memory, "w", 16_000, 1, subtype="PCM_16", format=kind) as file:
            for second in np.split(sound, 3):
                file.write(second)
    except BaseException as error:
        return type(error).__name__
    return "went on" if memory.writes >= at else "was over"


print("soundfile", soundfile.__version__, "libsndfile", soundfile.__libsndfile_version__)
for kind in ("WAV", "FLAC"):
    found = collections.Counter()
    at = 1
    while (told := outcome(kind, at)) != "was over":
        found[told] += 1
        at += 1
    print(kind, dict(found))
    assert found["KeyboardInterrupt"] == 0 and found["AssertionError"] > 0
    assert found["went on"] > 0 and (found["LibsndfileError"] > 0) == (kind == "FLAC")
PY
