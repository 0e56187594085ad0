"""Encoding models: BOLD from the stimulus, tested in every voxel."""
