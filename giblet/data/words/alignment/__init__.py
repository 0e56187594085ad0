"""Where in a sound each word of its transcript is spoken."""
