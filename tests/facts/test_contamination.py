"""Who says that it was trained on the task's data: which names are one, and which are not."""

import pytest

from spider_jax.facts.columns import table_of_columns
from spider_jax.facts.contamination import trained_on_task
from spider_jax.facts.fact_table import FactTable


def facts_of(*trained_on: object, **columns: object) -> FactTable:
    models = [f"m{i}" for i in range(len(trained_on))]
    given = {"trained_on": list(trained_on)} | {n: list(c) for n, c in columns.items()}  # type: ignore[call-overload]
    return table_of_columns(models, given, "t")


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("imagenet", "ImageNet"),
        ("ImageNet 1k", "imagenet_1k"),
        ("imagenet-1k", "ILSVRC2012"),
        ("ImageNet", "hf:timm/imagenet-1k-wds:train|imagenet"),
        ("CIFAR-10", "cifar10"),
        ("cifar10", "tfds:cifar10/3.0.2:train"),
        ("MSCOCO", "mscoco_finetuned_laion2b_s13b_b90k"),
        ("coco", "pretrained on LAION-2B, fine-tuned on MS-COCO"),
        ("Banking77Classification", "mteb/banking77"),
        ("NQ", "MSMARCO; NQ; HotpotQA"),
        ("flowers", "Flowers dataset (train)"),
        ("oxford_iiit_pet", "Oxford-IIIT Pet"),
        ("imagenet/top5", "ImageNet"),
        ("garden birds", "folder:/data/images/garden_birds"),
    ],
)
def test_one_data_set_in_two_spellings(task: str, said: str) -> None:
    found = trained_on_task(facts_of(said, "LVIS", ""), task)
    assert list(found) == ["m0"]
    assert found["m0"] in said


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("CIFAR-10", "CIFAR-100"),
        ("CIFAR-100", "cifar10"),
        ("MNIST", "Fashion-MNIST|EMNIST|mnist_corrupted"),
        ("ImageNet-R", "ImageNet"),
        ("ImageNet v2", "imagenet-1k"),
        ("ImageNet", "ImageNet-21k|imagenet_r|in22k"),
        ("cars", "carsales"),
        ("text", "text"),
        ("images of the web", "Web images"),
        ("natural", "natural"),
        ("train", "train|test|data"),
        ("10", "10"),
        ("pets", "unknown"),
        ("COCO", "coconuts"),
    ],
)
def test_two_data_sets_are_two(task: str, said: str) -> None:
    assert trained_on_task(facts_of(said), task) == {}


def test_a_task_goes_by_its_facts_too() -> None:
    facts = facts_of("CIFAR-100", "pets")
    for column in ("dataset", "source", "group", "Base_Task", "adapted_from"):
        assert list(trained_on_task(facts, "task 7", {column: "cifar100"})) == ["m0"], column
    assert trained_on_task(facts, "task 7", {"group": "natural", "notes": "cifar100"}) == {}
    assert trained_on_task(facts, None) == {}
    assert trained_on_task(facts, "task 7", {"classes": ["pets"], "source": None}) == {}


def test_who_was_adapted_from_a_model_has_seen_what_that_has() -> None:
    facts = facts_of("", "", "NQ", "", adapted_from=["m1", "m2", "", "elsewhere/model"])
    assert trained_on_task(facts, "nq") == {"m0": "NQ (by m2)", "m1": "NQ (by m2)", "m2": "NQ"}
    circle = facts_of("", "", "", adapted_from=["m1", "m0", "m2"])
    assert trained_on_task(circle, "nq") == {}
