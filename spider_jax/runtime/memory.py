"""How much memory the machine has."""

import os

UNKNOWN = 1 << 31  # bytes, where the system does not say


def free_pages() -> int:
    """Bytes that nobody uses, not even as a cache of files."""
    return _bytes("SC_AVPHYS_PAGES")


def machine_memory() -> int:
    """Bytes that the machine has."""
    return _bytes("SC_PHYS_PAGES")


def _bytes(pages: str) -> int:
    try:
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not every system says so
        return UNKNOWN
