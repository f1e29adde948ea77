"""Models added, removed, renamed without training."""
