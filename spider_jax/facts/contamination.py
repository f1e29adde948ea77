"""Which models say that they were trained on a task's own data.

A task goes by its name and by what its facts `dataset`, `source`, `base_task`, `adapted_from` and
`group` say. A model says in `trained_on` what it was trained on; one that was adapted from another
model of the table (`adapted_from`, `base_model`) has seen what that one has. Both are cut into
names: at | ; , at "finetuned" and the like, in sentences also at "from", "on" and "and". Of every
name the reader before a colon, the owner before a slash and words that tell parts of one data set
apart ("train", "test", "dataset", "classification") are left out, and so is what tells spellings
apart: case, spaces, signs. "ImageNet", "imagenet_1k" and "hf:timm/imagenet-1k:train" are one name.

Names must then be equal. "CIFAR-10" is not "CIFAR-100", "MNIST" not "Fashion-MNIST", "ImageNet"
not "ImageNet-R" nor "ImageNet-21k", and a word that names no data set by itself ("text", "natural")
is no name.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from spider_jax.facts.columns import TRAINING
from spider_jax.facts.fact_table import FactTable, Texts, fold

TASK_FACTS = ("dataset", "datasets", "source", "base_task", "adapted_from", "group")
BASES = TRAINING[1:]  # facts that name another model


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Between names: in the name of a checkpoint, and in a sentence.
JOINING = _words("finetuned finetune ft pretrained pretraining pretrain trained tuned fine pre")
SENTENCE = JOINING | _words("and or on from with then in plus over")
# Of one data set: its parts, and what is done with it.
PARTS = _words(
    "train training trainset val valid validation test testing dev eval evaluation split splits "
    "subset subsets dataset datasets data set corpus benchmark task tasks images photos full whole "
    "top1 top5 the a an all classification clustering retrieval reranking"
)
GENERIC = _words(
    "text texts image images picture pictures photo photos video audio web internet other others "
    "natural structured specialized specialised general generic robustness fairness geo medical "
    "satellite finegrained news reviews review english multilingual code math science social "
    "domain domains public private internal proprietary custom own synthetic generated mixed "
    "mixture various multiple several many none unknown labels labelled unlabelled supervised "
    "self openai google meta microsoft huggingface tfds torchvision folder arrays csv parquet "
    "qa sts nli ner ocr language languages sentences documents words wiki"
)
SAME_DATA = {
    "imagenet1k": "imagenet",
    "imagenet2012": "imagenet",
    "in1k": "imagenet",
    "ilsvrc": "imagenet",
    "ilsvrc2012": "imagenet",
    "imagenetilsvrc2012": "imagenet",
    "in21k": "imagenet21k",
    "in22k": "imagenet21k",
    "imagenet22k": "imagenet21k",
    "coco": "mscoco",
}
SUFFIX = re.compile(r"\.(npz|npy|csv|parquet|json|jsonl|tar|zip|gz)$", re.IGNORECASE)
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")  # Banking77Classification
DEEPEST = 5  # models adapted from one another


def dataset_names(text: str) -> frozenset[str]:
    """The data sets that a text names, in one spelling.

    Args:
        text: a name, a list or a sentence.

    >>> sorted(dataset_names("ImageNet-1k, then fine-tuned on hf:uoft-cs/cifar10:train"))
    ['cifar10', 'imagenet']
    """
    found = set[str]()
    plain = unicodedata.normalize("NFKC", text)[:10_000]
    for entry in re.split(r"[|;,\n+&\"]", plain):
        whole = re.sub(r"\[.*?\]|\?.*", " ", entry)
        between = SENTENCE if whole.strip().count(" ") else JOINING
        pieces = [whole, *_between(re.split(r"[\s_]+", whole), between)]
        found |= {name for name in map(_name, pieces) if name}
    return frozenset(found)


def _between(words: Sequence[str], between: frozenset[str]) -> Iterable[str]:
    piece = list[str]()
    for word in words:
        if all(part in between for part in fold(word).split("-")):  # fine-tuned
            yield " ".join(piece)
            piece = []
        else:
            piece.append(word)
    yield " ".join(piece)


def _name(piece: str) -> str:
    """One name, "" where it is none: of a path the last part that says something."""
    reader, colon, rest = piece.partition(":")
    is_read = bool(colon) and reader.strip().isalpha()
    parts = re.split(r"[/:\\]", rest if is_read else piece)
    first_counts = is_read and reader.strip() == "tfds"  # then come config and split
    for part in parts if first_counts else reversed(parts):
        words = re.findall(r"[^\W_]+", CAMEL.sub(" ", SUFFIX.sub("", part.strip())))
        name = "".join(w.casefold() for w in words if w.casefold() not in PARTS)
        if any(c.isalpha() for c in name):
            name = SAME_DATA.get(name, name)
            return "" if len(name) < 2 or name in GENERIC else name
    return ""


def names_of_task(task: str | None, facts: Mapping[str, object] | None = None) -> frozenset[str]:
    """The data sets that a task is of.

    Args:
        task: its name, or a description.
        facts: of the task, as a manifest or a table of tasks has them.

    >>> sorted(names_of_task("pets/top5", {"dataset": "oxford_iiit_pet", "group": "natural"}))
    ['oxfordiiitpet', 'pets']
    """
    given = {str(name).casefold(): value for name, value in (facts or {}).items()}
    texts = [task or "", *(given.get(name, "") for name in TASK_FACTS)]
    flat = [t for text in texts for t in (text if isinstance(text, list | tuple) else [text])]
    return frozenset().union(*(dataset_names(t) for t in flat if isinstance(t, str)))


def trained_on_task(
    facts: FactTable, task: str | None, task_facts: Mapping[str, object] | None = None
) -> dict[str, str]:
    """The models that say they were trained on a task's data.

    Args:
        facts: of the models.
        task: its name, or a description.
        task_facts: of the task.

    Returns:
        What they say, by model, in the order of the table.
    """
    wanted = names_of_task(task, task_facts)
    said = facts.texts.get("trained_on")
    if not wanted or said is None:
        return {}
    seen: dict[str, bool] = {}
    own = [_first(entries, wanted, seen) for entries in said]
    found = {}
    for at, base in enumerate(_bases(facts)):
        entry = own[at] or next((own[b] for b in base if own[b]), "")
        if entry:
            by = next((facts.models[b] for b in base if own[b]), "") if not own[at] else ""
            found[facts.models[at]] = f"{entry} (by {by})" if by else entry
    return found


def _first(entries: tuple[str, ...], wanted: frozenset[str], seen: dict[str, bool]) -> str:
    for entry in entries:
        if entry not in seen:
            seen[entry] = bool(dataset_names(entry) & wanted)
        if seen[entry]:
            return entry
    return ""


def _bases(facts: FactTable) -> Iterable[list[int]]:
    """Of every model, those that it was adapted from, the nearest first."""
    columns: list[Texts] = [facts.texts[name] for name in BASES if name in facts.texts]
    place = {name: i for i, name in enumerate(facts.models)} if columns else {}
    for at in range(len(facts.models)):
        line, now = list[int](), at
        while len(line) < DEEPEST and columns:
            names = (name for column in columns for name in column[now])
            after = next((place[name] for name in names if name in place), at)
            if after == at or after in line:
                break
            line.append(after)
            now = after
        yield line
