"""The command line: one module a group of commands, each a few lines over one public function.

Data go to stdout, messages and progress to stderr. Exit 0: done. 1: unexpected failure. 2: bad
input, or a file that cannot be read or written; one line says what to do. 3: done, but some models
were skipped, and listed.

>>> from spider_jax.cli import main
>>> main(["--version"])
Traceback (most recent call last):
SystemExit: 0
"""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; it ends in SystemExit.

    Args:
        arguments: default: those of the process.
    """
    from spider_jax.cli.app import main as run  # with JAX: the package itself must stay light

    run(arguments)


__all__ = ["main"]
