"""Past fine-tuning results with holes, and what is learned from them: clusters, trends, noise."""
