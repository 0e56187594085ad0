"""Films, sound, picture, words and BOLD, read on one clock."""
