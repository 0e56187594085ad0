"""The user's jobs, one function each: the command line, `scripts/` and the notebooks all call these."""

from giblet.pipeline.brain import check_alignment, simulate
from giblet.pipeline.features import (
    Decoded,
    Extracted,
    decode_features,
    demo,
    extract_features,
    extract_film,
    processor_for,
    sample_film,
)

__all__ = [
    "Decoded",
    "Extracted",
    "check_alignment",
    "decode_features",
    "demo",
    "extract_features",
    "extract_film",
    "processor_for",
    "sample_film",
    "simulate",
]
