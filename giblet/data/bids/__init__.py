"""BIDS: which scans of a dataset are meant, the files that belong to them, and their clock."""
