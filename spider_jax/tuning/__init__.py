"""B-Tuning and its baselines."""
