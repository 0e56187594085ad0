"""What is on the clock of a scan, by name: the same word in configurations, feature files, models and scores."""

AUDIO, VIDEO, TEXT, BOLD = "audio", "video", "text", "bold"
STIMULI = (AUDIO, VIDEO, TEXT)
"""What a run can name a feature file for."""
