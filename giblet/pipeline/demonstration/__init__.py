"""``giblet demo``: the whole way on a simulated brain, and, with data at hand, on real ones."""
