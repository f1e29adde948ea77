"""Readers of datasets, one file a kind."""
