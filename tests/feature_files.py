"""What tests ask of feature files."""

from pathlib import Path
from typing import Any

from giblet.errors import InputError
from giblet.features import is_current, standing


def up_to_date(path: Path, **expected: Any) -> bool:
    """As an extraction asks, where a file of other origin counts as none."""
    try:
        features = standing(path, **expected)
    except InputError:
        return False
    return features is not None and is_current(features, path)
