"""A zoo on disk: opened, checked, inspected, split, scored; the embedded zoo."""
