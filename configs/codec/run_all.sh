#!/bin/sh
# Remakes the bundled codec: its six stages in order, each starting where the one before ends. The first five took 5.2
# hours on two cores, and the sixth 7 minutes.
# The sound of its card (giblet/codec/assets/bundled/README.md) must lie in the folder audio, with a manifest.csv.
# After Ctrl-C, start it again to continue from the last checkpoint; finished stages are skipped.
set -eu
cd "$(dirname "$0")/../.."
for stage in configs/codec/[1-6]-*.yaml; do
    giblet codec train "$stage"
done
giblet codec info runs/codec/6-level/final
