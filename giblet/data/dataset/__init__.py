"""Rows of TRs for training: series read from disk, means of training TRs, splits of a stimulus, windows."""
