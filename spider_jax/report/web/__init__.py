"""The page of `spider-jax report`: content of our JSON in, one self-contained HTML document out."""
