"""Features of a model on a dataset, written block by block."""
