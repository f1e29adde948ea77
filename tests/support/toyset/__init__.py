"""A TFDS dataset of small pictures, made without network."""
