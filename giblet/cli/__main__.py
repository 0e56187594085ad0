"""``python -m giblet.cli``."""

from giblet.cli import main

main()
