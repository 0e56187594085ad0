"""Killed jobs, full disks, read-only folders: the old file or the new one stands, and never half of one.

``python -m tests.faults --points 30 --write`` tries many points, and writes the table of docs/robustness.md.
"""
