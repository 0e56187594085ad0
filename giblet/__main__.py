"""``python -m giblet`` is the ``giblet`` command."""

from giblet.cli import main

main()
