"""The facts that this package knows by name, and what others call them.

params      parameters, a count
flops       floating point operations for one example; a multiply-add is two
seconds     for one example
memory      bytes
input_size  pixels of the longer side
licence, family
trained_on  data sets, a list

A column of another name is kept under its own name.
"""

import re
from typing import NamedTuple

NUMBERS = ("params", "flops", "seconds", "memory", "input_size")
TEXTS = ("licence", "family")
LISTS = ("trained_on",)
WHOLE = ("params", "memory", "input_size")  # a fraction of these shows that the unit is another
UNKNOWN = frozenset(
    ["", "-", "?", "nan", "n/a", "na", "none", "null", "<na>", "unknown", "not specified"]
)  # what tables write where nothing is known


class Column(NamedTuple):
    """What a column of a table says.

    Attributes:
        fact: its name here.
        scale: what a number of the column is multiplied by.
        inverse: whether it is a rate: 1/number.
        guess: whether the column is in millions where all its numbers are small.
    """

    fact: str
    scale: float = 1.0
    inverse: bool = False
    guess: bool = False


def plain(name: str) -> str:
    """The name of a column in small letters, words joined by "_".

    Args:
        name: as a table has it.

    >>> plain("#Params (B)"), plain("Hub License")
    ('params_b', 'hub_license')
    """
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


def _synonyms() -> dict[str, Column]:
    words = {
        "licence": "license hub_license hub_licence model_license model_licence",
        "family": "model_family",
        "trained_on": "training_data training_dataset training_datasets train_data train_datasets "
        "trained_on_datasets pretraining_data pretraining_dataset pretraining_datasets "
        "pretrained_on source_dataset source_datasets finetuned_on fine_tuned_on",
        "params": "parameters n_parameters num_parameters n_params num_params nparams "
        "parameter_count params_count number_of_parameters",
        "flops": "flop n_flops num_flops flops_per_example infer_flops",
        "seconds": "seconds_per_example latency latency_s latency_seconds infer_seconds "
        "inference_seconds",
        "memory": "memory_bytes bytes size_bytes model_bytes memory_usage",
        "input_size": "img_size image_size infer_img_size input_shape input_resolution "
        "image_resolution resolution",
    }
    found = {fact: Column(fact) for fact in (*NUMBERS, *TEXTS, *LISTS)}
    found |= {name: Column(fact) for fact, names in words.items() for name in names.split()}
    found["param_count"] = Column("params", guess=True)  # timm: in millions
    for letter, scale in (("k", 1e3), ("m", 1e6), ("b", 1e9)):
        for name in (f"params_{letter}", f"{letter}params", f"parameters_{letter}"):
            found[name] = Column("params", scale)
    found |= {n: Column("params", 1e6) for n in ("params_millions", "parameters_millions")}
    found |= {n: Column("params", 1e9) for n in ("params_billions", "parameters_billions")}
    for letter, scale in (("", 1.0), ("k", 1e3), ("m", 1e6), ("g", 1e9), ("t", 1e12)):
        for before in ("", "infer_"):
            found[f"{before}{letter}flops"] = Column("flops", scale)
            found[f"{before}{letter}macs"] = Column("flops", 2 * scale)
    for unit, scale in (("kb", 1e3), ("mb", 1e6), ("gb", 1e9), ("kib", 2.0**10)):
        found[f"memory_{unit}"] = found[f"memory_usage_{unit}"] = Column("memory", scale)
    for unit, scale in (("mib", 2.0**20), ("gib", 2.0**30)):
        found[f"memory_{unit}"] = found[f"memory_usage_{unit}"] = Column("memory", scale)
    for name in ("latency_ms", "infer_ms", "inference_ms", "milliseconds"):
        found[name] = Column("seconds", 1e-3)
    for name in ("infer_samples_per_sec", "samples_per_sec", "samples_per_second"):
        found[name] = Column("seconds", inverse=True)
    for name in ("images_per_sec", "images_per_second"):
        found[name] = Column("seconds", inverse=True)
    return found


SYNONYMS = _synonyms()


def read_column(name: str) -> Column:
    """What a column of this name says; a column that is not known says itself.

    Args:
        name: as a table has it.

    >>> read_column("License"), read_column("infer_gmacs").scale, read_column("recipe").fact
    (Column(fact='licence', scale=1.0, inverse=False, guess=False), 2000000000.0, 'recipe')
    """
    return SYNONYMS.get(plain(name), Column(name.strip()))


def is_unknown(text: str) -> bool:
    """Whether a text says that something is not known.

    Args:
        text: of a cell.
    """
    return text.strip().casefold() in UNKNOWN
