"""From models and data to a zoo: `extract`, `import_features`, `task_from`.

Optional packages (torch, pillow, pyarrow, ...) are imported only by the readers that need them.
"""

from spider_jax.extract.export.import_features import import_features
from spider_jax.extract.export.run import Extraction
from spider_jax.extract.extract_features import extract
from spider_jax.extract.target_task import TargetTask, task_from

__all__ = ["Extraction", "TargetTask", "extract", "import_features", "task_from"]
