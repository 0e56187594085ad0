"""giblet: a film's sound, picture and words on the clock of the scanner, and predicted audio codes back into sound."""

__version__ = "0.1.0"
