"""What lies on disk: names, atomic writes, versioned JSON, .npy, run folders, cache, TOML pages."""
