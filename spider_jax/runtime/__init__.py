"""How work runs on this machine: threads, BLAS, compiled programs, streaming, processes, progress.

The rest of the package calls these functions itself; you need them to feed your own programs or to
start several processes.

- **Features larger than memory.** `device_blocks(matrix)` yields blocks of rows of a memmap on a
  device and reads the next one meanwhile. It holds two blocks of about 16 MB, whatever the file.
- **Short programs on many cores.** `one_core()` is a CPU device whose programs stay in the calling
  thread; `over_cores(call, items)` calls them on all cores side by side. This pays for calls of a
  few milliseconds. A long program is better left to JAX's own CPU device.
- **Small matrices.** Inside `one_blas_thread()` OpenBLAS uses one thread. The setting belongs to
  the process, so other threads see it too.
- **Several processes.** `place` reads what the user asked for, or SLURM's variables; `connect`
  waits for the others; `share` says which tasks are this process's, and `gather` collects their
  rows. The port of process 0 is not authenticated: use it on trusted networks only.

>>> import numpy as np
>>> from spider_jax.runtime import device_blocks
>>> features = np.arange(10, dtype=np.float32).reshape(5, 2)
>>> sum(float(block.sum()) for _, block in device_blocks(features, rows=2))
45.0
"""

from spider_jax.runtime.blas import one_blas_thread
from spider_jax.runtime.processes import Place, connect, gather, place, share
from spider_jax.runtime.progress import Bar, row_bar, task_bar
from spider_jax.runtime.streaming import aligned_rows, device_blocks
from spider_jax.runtime.threads import aligned, one_core, over_cores, usable_cores

__all__ = [
    "Bar",
    "Place",
    "aligned",
    "aligned_rows",
    "connect",
    "device_blocks",
    "gather",
    "one_blas_thread",
    "one_core",
    "over_cores",
    "place",
    "row_bar",
    "share",
    "task_bar",
    "usable_cores",
]
