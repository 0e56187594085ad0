"""Timed text: cues and tables of words, read into one checked form, and laid on the TRs."""
