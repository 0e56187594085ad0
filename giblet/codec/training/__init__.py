"""Training of the package's own codec: what one person runs once a year."""
