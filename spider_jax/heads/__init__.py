"""Small heads on frozen features, and the measures of their predictions."""
