"""Rows in, text out: terminal, Markdown, CSV. Knows no spider and no zoo."""
