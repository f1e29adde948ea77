"""What a belief says, as sentences."""

NEAR, FAR = 0.6, 0.3  # shares explained of which words change


def distance_in_words(explained: float) -> str:
    """How near a task is to those that were learned from.

    Args:
        explained: share of what tasks differ in that these explain.

    >>> distance_in_words(0.1)
    'the task is unlike all known tasks (they explain 10 % of it): near the constant order'
    """
    share = f"{100 * explained:.0f} %"
    if explained >= NEAR:
        return f"the task is like known tasks: they explain {share} of what tasks differ in"
    if explained >= FAR:
        return (
            f"the task is somewhat like known tasks: they explain {share} of what tasks differ in"
        )
    return (
        f"the task is unlike all known tasks (they explain {share} of it): near the constant order"
    )
