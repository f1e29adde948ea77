"""What a sentence-transformers folder says beside its weights: pooling, norm, prompts, length."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spider_jax.errors import InputError, one_line

MODULES, PROMPTS = "modules.json", "config_sentence_transformers.json"
LENGTH = "sentence_bert_config.json"
# Keys of 1_Pooling/config.json in the order in which several are joined, by our names.
POOLED = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
KNOWN = ("Transformer", "Pooling", "Normalize")


class SentenceFiles(NamedTuple):
    """How a sentence becomes one vector.

    Attributes:
        transformer: the folder of the model itself.
        pooling: mean, cls, max or last, with "+" between several whose vectors are joined.
        normalize: whether vectors are divided by their length.
        prompt: put before every text.
        include_prompt: whether the tokens of the prompt are pooled too.
        tokens: of a text at most; 0 where nothing is said.
    """

    transformer: str
    pooling: str
    normalize: bool
    prompt: str = ""
    include_prompt: bool = True
    tokens: int = 0


def sentence_files(
    folder: str | Path, prompt: str | None = None, pooling: str | None = None
) -> SentenceFiles | None:
    """Read the files of a sentence-transformers folder.

    Args:
        folder: of the model, or any other name.
        prompt: name of one of its prompts; default: the one that it names, or none.
        pooling: to be done instead of theirs; modules that are not known are left out then.

    Returns:
        What they say; None where there is no modules.json.

    Raises:
        InputError: a file that cannot be read, a module of another kind, or an unknown prompt.
    """
    root = Path(folder)
    if not (root / MODULES).is_file():
        if prompt is not None:
            raise InputError(f"{folder} has no {MODULES}, so it has no prompt {prompt!r}")
        return None
    places: dict[str, Path] = {}
    for module in _json(root / MODULES, list):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in KNOWN and pooling is None:
            raise InputError(
                f"{root / MODULES} has a module {kind}, only {', '.join(KNOWN)} are run: read the "
                f"model without it, ?pooling=mean"
            )
        places[kind] = root / str(module.get("path", ""))
    config = _json(places["Pooling"] / "config.json", dict) if "Pooling" in places else {}
    said = _json(root / PROMPTS, dict) if (root / PROMPTS).is_file() else {}
    length = places.get("Transformer", root) / LENGTH
    tokens = _json(length, dict).get("max_seq_length") if length.is_file() else None
    return SentenceFiles(
        transformer=str(places.get("Transformer", root)),
        pooling=pooling or _pooling(config, root),
        normalize="Normalize" in places,
        prompt=_prompt(said, prompt, root),
        include_prompt=bool(config.get("include_prompt", True)),
        tokens=int(tokens) if isinstance(tokens, int) else 0,
    )


def _pooling(config: Mapping[str, Any], root: Path) -> str:
    modes = [key for key, on in config.items() if key.startswith("pooling_mode_") and on is True]
    other = [key for key in modes if key not in POOLED]
    if other:
        raise InputError(
            f"{root}: {other[0]} is not known, only {', '.join(POOLED)}: name a pooling, ?pooling="
        )
    word = config.get("pooling_mode")
    if isinstance(word, str):  # of later versions
        modes += [key for key, name in POOLED.items() if name == word.removesuffix("token")]
    return "+".join(name for key, name in POOLED.items() if key in modes) or "mean"


def _prompt(config: Mapping[str, Any], asked: str | None, root: Path) -> str:
    prompts = config.get("prompts") or {}
    name = config.get("default_prompt_name") if asked is None else asked
    if name is None:
        return ""
    if name not in prompts:
        known = ", ".join(map(repr, prompts)) or "none"
        raise InputError(f"{root} has no prompt {name!r}: it has {known}")
    return str(prompts[name])


def _json(path: Path, kind: type) -> Any:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {one_line(error)}") from None
    if not isinstance(found, kind):
        raise InputError(f"{path} must hold a JSON {kind.__name__}")
    return found
