#!/usr/bin/env bash
# FFmpeg 8.1 (PyAV 18.1.0): lossless ALAC in a CAF file, as libsndfile writes it, loses up to half a packet at its end.
#
# One would expect every sample of a lossless file. ALAC comes in packets of 4096 samples; the last one is shorter and
# says so itself, and CAF's packet table says once more how many samples the last packet lacks. FFmpeg takes that number
# off the packet that is short already: 16,000 samples become 15,616. Where the number is larger than what the last
# packet holds, nothing is cut, so that some lengths come out right. The stream's duration is right in all cases.
# FFmpeg 5.1 returned all samples, as libsndfile does.
#
# Seen with av 18.1.0, soundfile 0.14.0, numpy 2.4.6:
#   16000 samples: duration 16000, PyAV 15616, libsndfile 16000 (the same as written)
#   44100 samples: duration 44100, PyAV 43144, libsndfile 44100 (the same as written)
#   10000 samples: duration 10000, PyAV 10000, libsndfile 10000 (the same as written)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 soundfile==0.14.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path

import av
import numpy as np
import soundfile

path = Path(sys.argv[1]) / "sound.caf"
found = {}
for length in (16000, 44100, 10000):
    sound = (8000 * np.sin(2 * np.pi * 440 * np.arange(length) / 44100)).astype(np.int16)
    soundfile.write(path, sound, 44100, format="CAF", subtype="ALAC_16")
    with av.open(str(path)) as file:
        duration = file.streams.audio[0].duration
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in file.decode(audio=0)])
    assert np.array_equal(samples, sound[: len(samples)])
    same = np.array_equal(soundfile.read(path, dtype="int16")[0], sound)
    found[length] = len(samples)
    print(
        f"{length} samples: duration {duration}, PyAV {len(samples)}, "
        f"libsndfile {len(sound)} ({'the same as written' if same else 'others than written'})"
    )
    assert same and duration == length, "libsndfile or FFmpeg has changed"
assert found == {16000: 15616, 44100: 43144, 10000: 10000}, "FFmpeg has changed what it cuts"
PY
