"""Correlations, intervals and chance for series by TR, whose neighbours are alike."""

from giblet.statistics.rotation import RotationTest, rotation_test

__all__ = ["RotationTest", "rotation_test"]
