"""What encoding models are fitted and tested with where nothing else is said, apart from what computes with it."""

from __future__ import annotations

import numpy as np

ALPHAS = tuple(float(a) for a in np.logspace(-1, 7, 17))
"""Penalties that are tried, on features of variance 1."""
DELAYS = (1.5, 3.0, 4.5, 6.0, 7.5, 9.0)
"""Seconds; the response of each voxel may have a shape of its own."""
N_ROTATIONS = 200
"""Of the BOLD, that by nothing included."""
LEAST_ROTATIONS = 20
"""From which a spread can be told."""
