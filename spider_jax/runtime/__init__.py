"""How work runs on this machine: threads, BLAS, shape buckets, streaming, processes, progress."""
