#!/usr/bin/env bash
# rsatoolbox 0.3.2: compare() and eval_fixed() pair the conditions of two RDMs by position, not by their names.
#
# One would expect patterns of the same name to be compared, or an error where the orders differ: both matrices carry
# the names. calc_rdm keeps the order of the data, but with `descriptor=` it sorts the conditions as text, so that
# clip10 comes before clip2. A model made one way and data made the other way are then compared with their clips mixed
# up: the very same patterns with the same names correlate by -0.16 in place of 1. Nothing is said.
#
# Seen with rsatoolbox 0.3.2, numpy 2.4.6:
#   order clip1 clip2 clip3 ... against clip1 clip10 clip11 ...: correlation -0.16; after sorting by name: 1.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rsatoolbox==0.3.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np
from rsatoolbox.data import Dataset
from rsatoolbox.inference import eval_fixed
from rsatoolbox.model import ModelFixed
from rsatoolbox.rdm import calc_rdm, compare

patterns = np.random.default_rng(0).normal(size=(12, 30))
names = [f"clip{number}" for number in range(1, 13)]
data = Dataset(patterns, obs_descriptors={"clip": names})
as_given = calc_rdm(data, method="correlation")
by_name = calc_rdm(data, method="correlation", descriptor="clip")


def order(rdm):
    return " ".join(rdm.pattern_descriptors["clip"][:3])


mixed = compare(as_given, by_name, method="corr").item()
evaluated = eval_fixed(ModelFixed("same patterns", as_given), by_name, method="corr").evaluations.item()
shown = f"order {order(as_given)} ... against {order(by_name)} ...: correlation {mixed:.2f}"
as_given.sort_by(clip="alpha")
sorted_alike = compare(as_given, by_name, method="corr").item()
print(f"{shown}; after sorting by name: {sorted_alike:.2f}")
assert sorted_alike > 0.999, "the same patterns in the same order are not the same"
assert mixed == evaluated and mixed < 0.2, "rsatoolbox has changed how it pairs conditions"
PY
