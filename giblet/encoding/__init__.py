"""Voxelwise encoding models: from features of a film to BOLD, in scikit-learn's manner."""

from giblet.encoding.bands import SplitScores, split_scores, unique_variance
from giblet.encoding.delays import Delayer, HRFConvolver
from giblet.encoding.folds import BlockedFolds
from giblet.encoding.model import EncodingModel, mean_r

__all__ = [
    "BlockedFolds",
    "Delayer",
    "EncodingModel",
    "HRFConvolver",
    "SplitScores",
    "mean_r",
    "split_scores",
    "unique_variance",
]
