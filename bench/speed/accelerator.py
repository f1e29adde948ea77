"""Is all right and how fast is it on this device? Scores, searches, training steps, LogME.

    python bench/speed/accelerator.py

Needs jax and torch and nothing else: it runs from the source tree, without an install. Writes
bench/results/speed/accelerator.json and .md, and prints what it finds. First every program is
compared with the published form in float64 on the host; if one is wrong, nothing is timed and the
exit code is 1. Then each is timed beside the factorised torch form on the same device (eager,
compiled, as a CUDA graph) and beside measured rates of copies and matrix products: medians of runs
that take turns in one process, after compiling. At most eight minutes on a GPU; what the time or
the memory does not allow is left out, with the reason. On a CPU a small grid, in two minutes.
"""

import argparse
import os
import sys
from pathlib import Path

OUT = Path("bench/results/speed/accelerator")


def asked() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=OUT, help="path without suffix")
    parser.add_argument("--minutes", type=float, default=7.0, help="after which no cell is begun")
    sizes = "of what is measured; default: as the device is"
    parser.add_argument("--grid", choices=("gpu", "cpu", "tiny"), default=None, help=sizes)
    return parser.parse_args()


if __name__ == "__main__":
    options = asked()
    sys.path.insert(0, str(Path(__file__).parents[2]))
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch needs memory as well
    from bench.speed.from_source import without_faces

    without_faces()
    from bench.speed.accelerator_run import main

    sys.exit(main(options.out, options.minutes, options.grid))
