"""The ranker: parameters, folded scoring, task memory, re-ranking, on disk."""
