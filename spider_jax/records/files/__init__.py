"""The files of a records folder: what they hold, where a fault stands, how they are replaced.

A file is a regular file inside its folder, UTF-8, and gzip where its name ends in .gz. A fault is
noted by the row of the data; only when it is shown is the file read once more for its line, so ten
million sound rows cost nothing for it. New files are written to a hidden folder and made valid by
one rename: whoever is killed leaves all old files or all new ones.

>>> from spider_jax.records.files import NameTable
>>> places = NameTable()
>>> places["vgg"], places["vit"], places[" vgg"]
(0, 1, 0)
"""

from spider_jax.records.files.facts import Facts, read_facts
from spider_jax.records.files.faults import Fault, Faults, refuse_faults
from spider_jax.records.files.folder import Source, records_folder, replace_files, sources
from spider_jax.records.files.names import NameTable, clean_name
from spider_jax.records.files.values import Columns, Values, read_values
from spider_jax.storage.text_files import lines_of, open_text

__all__ = [
    "Columns",
    "Facts",
    "Fault",
    "Faults",
    "NameTable",
    "Source",
    "Values",
    "clean_name",
    "lines_of",
    "open_text",
    "read_facts",
    "read_values",
    "records_folder",
    "refuse_faults",
    "replace_files",
    "sources",
]
