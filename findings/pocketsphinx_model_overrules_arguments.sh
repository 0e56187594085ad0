#!/usr/bin/env bash
# pocketsphinx 5.1.1: what `Decoder` is told about its features is overruled by the acoustic model, without a word.
#
# One would expect `Decoder(remove_noise=False, nfilt=40, cmn="live")` to use these values, or to refuse them. A model
# folder has a file feat.params, and what stands in it is read after the arguments of the caller and replaces them; only
# the configuration of the finished decoder shows it. Whoever tries aligning with and without the removal of noise, as for
# speech under a scanner's sound, compares a setting with itself. Another value needs a copy of the model's folder with
# another feat.params. Settings that this file does not name, such as `topn`, are taken as given.
#
# Seen with pocketsphinx 5.1.1 and the English model in its wheel:
#   remove_noise: asked for False, used True
#   nfilt: asked for 40, used 25
#   lowerf: asked for 100.0, used 130.0
#   cmn: asked for live, used batch
#   topn: asked for 16, used 16
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pocketsphinx==5.1.1
"$folder/venv/bin/python" - <<'PY'
from pocketsphinx import Decoder

asked = {"remove_noise": False, "nfilt": 40, "lowerf": 100.0, "cmn": "live", "topn": 16}
decoder = Decoder(**asked, logfn="/dev/null")
for name, value in asked.items():
    print(f"{name}: asked for {value}, used {decoder.config[name]}")
overruled = [name for name, value in asked.items() if decoder.config[name] != value]
assert overruled == ["remove_noise", "nfilt", "lowerf", "cmn"], "pocketsphinx takes what it is told"
PY
