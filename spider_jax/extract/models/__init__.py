"""Readers of models, one file a kind."""
