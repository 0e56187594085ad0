"""How good an encoding or a reconstruction is, against what it could be at best and by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from giblet.lazy import lazily as _lazily

if TYPE_CHECKING:
    from giblet.statistics.rotation import RotationTest as RotationTest
    from giblet.statistics.rotation import rotation_test as rotation_test

__getattr__, __dir__, __all__ = _lazily(
    __name__,
    {
        "giblet.statistics.rotation": ("RotationTest", "rotation_test"),
    },
)
