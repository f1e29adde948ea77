"""How many files may be open at once: a memmap keeps its file open as long as it is used."""

import os

SHARE = 2  # of the files that may still be opened, others get as many
UNKNOWN = 256


def files_at_once() -> int:
    """Half of the files that this process may still open, at least 1."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        left = limit - len(os.listdir("/dev/fd"))
    except (ImportError, OSError):  # not every system says so
        return UNKNOWN
    return max(1, left // SHARE)
