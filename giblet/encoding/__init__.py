"""Encoding models: BOLD from the stimulus, tested in every voxel, corrected for their number, beside its ceiling."""

from giblet.encoding.ceiling import (
    IntersubjectCorrelation,
    ceiling_p,
    ceiling_ratio,
    explainable_variance,
    intersubject_correlation,
    noise_ceiling,
    normalized_correlation,
)
from giblet.encoding.group import GroupTest, rotation_test_group
from giblet.encoding.maps import Reach, reachable
from giblet.evaluation.rotation import RotationTest, false_discovery_q, rotation_test

__all__ = [
    "GroupTest",
    "IntersubjectCorrelation",
    "Reach",
    "RotationTest",
    "ceiling_p",
    "ceiling_ratio",
    "explainable_variance",
    "false_discovery_q",
    "intersubject_correlation",
    "noise_ceiling",
    "normalized_correlation",
    "reachable",
    "rotation_test",
    "rotation_test_group",
]
