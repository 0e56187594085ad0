"""Voxelwise encoding models in scikit-learn's manner, tested beside their ceiling, and linear decoding models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from giblet.lazy import lazily as _lazily

if TYPE_CHECKING:
    from giblet.encoding.bands import SplitScores as SplitScores
    from giblet.encoding.bands import split_scores as split_scores
    from giblet.encoding.bands import unique_variance as unique_variance
    from giblet.encoding.ceiling import IntersubjectCorrelation as IntersubjectCorrelation
    from giblet.encoding.ceiling import ceiling_p as ceiling_p
    from giblet.encoding.ceiling import ceiling_ratio as ceiling_ratio
    from giblet.encoding.ceiling import explainable_variance as explainable_variance
    from giblet.encoding.ceiling import intersubject_correlation as intersubject_correlation
    from giblet.encoding.ceiling import noise_ceiling as noise_ceiling
    from giblet.encoding.ceiling import normalized_correlation as normalized_correlation
    from giblet.encoding.clip_scores import ClipScores as ClipScores
    from giblet.encoding.clip_scores import clip_folds as clip_folds
    from giblet.encoding.clip_scores import permutation_test_cv as permutation_test_cv
    from giblet.encoding.clip_scores import score_clips as score_clips
    from giblet.encoding.decoding import DecodingModel as DecodingModel
    from giblet.encoding.delays import Delayer as Delayer
    from giblet.encoding.delays import HRFConvolver as HRFConvolver
    from giblet.encoding.folds import BlockedFolds as BlockedFolds
    from giblet.encoding.group import GroupTest as GroupTest
    from giblet.encoding.group import rotation_test_group as rotation_test_group
    from giblet.encoding.maps import Reach as Reach
    from giblet.encoding.maps import reachable as reachable
    from giblet.encoding.model import EncodingModel as EncodingModel
    from giblet.encoding.model import mean_r as mean_r
    from giblet.encoding.permutation import PermutationTest as PermutationTest
    from giblet.encoding.permutation import permutation_test as permutation_test
    from giblet.encoding.refits import FoldFit as FoldFit
    from giblet.encoding.rotation_cv import CrossValidatedGroupTest as CrossValidatedGroupTest
    from giblet.encoding.rotation_cv import CrossValidatedTest as CrossValidatedTest
    from giblet.encoding.rotation_cv import rotation_test_cv as rotation_test_cv
    from giblet.encoding.rotation_cv import rotation_test_group_cv as rotation_test_group_cv
    from giblet.encoding.rotation_cv import rotation_test_refitted as rotation_test_refitted
    from giblet.encoding.scan_ridge import RidgeFit as RidgeFit
    from giblet.encoding.scan_ridge import fit_ridge as fit_ridge
    from giblet.statistics.correction import false_discovery_q as false_discovery_q
    from giblet.statistics.rotation import RotationTest as RotationTest
    from giblet.statistics.rotation import rotation_test as rotation_test

__getattr__, __dir__, __all__ = _lazily(
    __name__,
    {
        "giblet.encoding.bands": ("SplitScores", "split_scores", "unique_variance"),
        "giblet.encoding.ceiling": (
            "IntersubjectCorrelation",
            "ceiling_p",
            "ceiling_ratio",
            "explainable_variance",
            "intersubject_correlation",
            "noise_ceiling",
            "normalized_correlation",
        ),
        "giblet.encoding.clip_scores": ("ClipScores", "clip_folds", "permutation_test_cv", "score_clips"),
        "giblet.encoding.decoding": ("DecodingModel",),
        "giblet.encoding.delays": ("Delayer", "HRFConvolver"),
        "giblet.encoding.folds": ("BlockedFolds",),
        "giblet.encoding.group": ("GroupTest", "rotation_test_group"),
        "giblet.encoding.maps": ("Reach", "reachable"),
        "giblet.encoding.model": ("EncodingModel", "mean_r"),
        "giblet.encoding.permutation": ("PermutationTest", "permutation_test"),
        "giblet.encoding.refits": ("FoldFit",),
        "giblet.encoding.rotation_cv": (
            "CrossValidatedGroupTest",
            "CrossValidatedTest",
            "rotation_test_cv",
            "rotation_test_group_cv",
            "rotation_test_refitted",
        ),
        "giblet.encoding.scan_ridge": ("RidgeFit", "fit_ridge"),
        "giblet.statistics.correction": ("false_discovery_q",),
        "giblet.statistics.rotation": ("RotationTest", "rotation_test"),
    },
)
