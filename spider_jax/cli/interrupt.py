"""Ctrl-C before and after the command line can answer it: one line and exit code 130, no traceback.

Importing JAX takes a second or more, and leaving waits for threads. The package calls this module
first, so it imports nothing but the standard library's smallest.
"""

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130
LINE = b"spider-jax: interrupted: the same command goes on or begins anew\n"
PROGRAMS = ("spider-jax", "spider-jax.exe", "spider-jax-script.py")


def leave_at_once() -> None:
    """From now on Ctrl-C ends this process: for moments at which nothing is to be tidied up."""
    try:
        signal.signal(signal.SIGINT, _leave)
    except ValueError:  # not the main thread: signals are not ours
        return


def answer_again() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, as Python has it."""
    try:
        if signal.getsignal(signal.SIGINT) is _leave:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    except ValueError:
        return


def is_command_line() -> bool:
    """Whether this process is the console script, and no program that imports the package."""
    return os.path.basename(sys.argv[0] if sys.argv else "") in PROGRAMS


def _leave(number: int, frame: FrameType | None) -> None:
    try:
        os.write(2, LINE)
    finally:
        os._exit(INTERRUPTED)  # compiled work still runs in threads, which leaving would wait for
