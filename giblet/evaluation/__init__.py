"""How good an encoding or a reconstruction is, against what it could be at best and by chance."""

from giblet.statistics.rotation import RotationTest, rotation_test

__all__ = ["RotationTest", "rotation_test"]
