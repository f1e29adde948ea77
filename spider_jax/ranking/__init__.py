"""A list in order: losses, agreement measures, rank aggregation, the `Ranking` result."""
