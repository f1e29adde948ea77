"""A million models on disk and one stream over them."""
