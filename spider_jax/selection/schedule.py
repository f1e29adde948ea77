"""How many models the noise-aware policy keeps."""

SHARE = 1 / 3


def kept(models: int, share: float = SHARE) -> int:
    """How many of the models that start get a second epoch.

    Args:
        models: that start.
        share: of them; at least one is kept.
    """
    return max(1, round(models * share))
