"""Honest comparison, whole datasets held out."""
