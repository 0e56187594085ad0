"""Voxelwise encoding models in scikit-learn's manner, tested beside their ceiling, and linear decoding models."""

from giblet.encoding.bands import SplitScores, split_scores, unique_variance
from giblet.encoding.ceiling import (
    IntersubjectCorrelation,
    ceiling_p,
    ceiling_ratio,
    explainable_variance,
    intersubject_correlation,
    noise_ceiling,
    normalized_correlation,
)
from giblet.encoding.clip_scores import ClipScores, clip_folds, permutation_test_cv, score_clips
from giblet.encoding.decoding import DecodingModel
from giblet.encoding.delays import Delayer, HRFConvolver
from giblet.encoding.folds import BlockedFolds
from giblet.encoding.group import GroupTest, rotation_test_group
from giblet.encoding.maps import Reach, reachable
from giblet.encoding.model import EncodingModel, mean_r
from giblet.encoding.permutation import PermutationTest, permutation_test
from giblet.encoding.refits import FoldFit
from giblet.encoding.rotation_cv import (
    CrossValidatedGroupTest,
    CrossValidatedTest,
    rotation_test_cv,
    rotation_test_group_cv,
    rotation_test_refitted,
)
from giblet.encoding.scan_ridge import RidgeFit, fit_ridge
from giblet.statistics.correction import false_discovery_q
from giblet.statistics.rotation import RotationTest, rotation_test

__all__ = [
    "BlockedFolds",
    "ClipScores",
    "CrossValidatedGroupTest",
    "CrossValidatedTest",
    "DecodingModel",
    "Delayer",
    "EncodingModel",
    "FoldFit",
    "GroupTest",
    "HRFConvolver",
    "IntersubjectCorrelation",
    "PermutationTest",
    "Reach",
    "RidgeFit",
    "RotationTest",
    "SplitScores",
    "ceiling_p",
    "ceiling_ratio",
    "clip_folds",
    "explainable_variance",
    "false_discovery_q",
    "fit_ridge",
    "intersubject_correlation",
    "mean_r",
    "noise_ceiling",
    "normalized_correlation",
    "permutation_test",
    "permutation_test_cv",
    "reachable",
    "rotation_test",
    "rotation_test_cv",
    "rotation_test_group",
    "rotation_test_group_cv",
    "rotation_test_refitted",
    "score_clips",
    "split_scores",
    "unique_variance",
]
