"""Result files of mteb, lm-evaluation-harness and timm, and model cards, in their public forms."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.records.importers import ImportOptions, import_content
from spider_jax.records.table import Content

Rows = dict[tuple[str, str], float]


def known(content: Content) -> Rows:
    return {(m, t): v for m, t, v, _ in content.rows(np.arange(len(content.value)))}


def facts(content: Content, name: str) -> dict[str, str]:
    at = (*content.models, *content.tasks).index(name)
    table, at = (
        (content.model_facts, at)
        if at < len(content.models)
        else (content.task_facts, at - len(content.models))
    )
    return {column: texts[at] for column, texts in table.items() if texts[at]}


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


# ---- mteb ------------------------------------------------------------------------------------


def mteb_file(task: str, subsets: dict[str, float], split: str = "test") -> dict[str, Any]:
    rows = [
        {"accuracy": v, "f1": v / 2, "main_score": v, "hf_subset": s, "languages": ["eng-Latn"]}
        for s, v in subsets.items()
    ]
    other = [{"accuracy": 0.0, "main_score": 0.0, "hf_subset": "default"}]
    return {
        "task_name": task,
        "mteb_version": "2.2.0",
        "scores": {"validation": other, split: rows},
    }


def test_mteb(tmp_path: Path) -> None:
    results = tmp_path / "results"
    meta = {"name": "org/one", "n_parameters": 7, "languages": ["fra-Latn", "eng-Latn"], "x": {}}
    write(results / "org__one" / "aaa" / "model_meta.json", meta | {"release_date": None})
    write(results / "org__one" / "aaa" / "Bank.json", mteb_file("Bank", {"default": 0.5}))
    write(results / "org__one" / "aaa" / "Pair.json", mteb_file("Pair", {"en": 0.25, "fr": 0.75}))
    write(results / "org__one" / "external" / "Bank.json", mteb_file("Bank", {"default": 0.125}))
    write(results / "org__one" / "external" / "Third.json", mteb_file("Third", {"default": 0.5}))
    write(results / "org__two" / "bbb" / "Bank.json", mteb_file("Bank", {"default": 0.75}))
    write(
        results / "org__two" / "bbb" / "Pair.json",
        mteb_file("Pair", {"en": 0.5, "fr": 0.5, "de": 0}),
    )
    write(results / "org__six" / "ccc" / "Pair.json", mteb_file("Pair", {"en": 1.0}))
    write(results / "org__seven" / "ccc" / "Pair.json", mteb_file("Pair", {"en": 0.5, "fr": 1.0}))
    content = import_content("mteb", [tmp_path])
    assert known(content) == {
        ("org/one", "Bank"): 0.5,
        ("org/two", "Bank"): 0.75,
        ("org/one", "Third"): 0.5,
        ("org/one", "Pair"): 0.5,
        ("org/two", "Pair"): 0.5,
        ("org/seven", "Pair"): 0.75,
    }
    assert facts(content, "org/one") == {"n_parameters": "7", "languages": "fra-Latn|eng-Latn"}
    assert facts(content, "Pair") == {"measure": "accuracy", "split": "test", "subsets": "2"}
    assert content.problems == (
        "task 'Pair': 1 of 4 models have another split or lack one of its 2 language subsets, and "
        "are left out",
    )


def test_broken_mteb_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "org__one" / "aaa"
    write(folder / "Good.json", mteb_file("Good", {"default": 0.5}))
    write(folder / "Cut.json", '{"task_name": "Cut", "scores": {')
    write(folder / "List.json", [])
    write(folder / "Old.json", {"mteb_dataset_name": "Old", "test": {"accuracy": 0.5}})
    write(folder / "Empty.json", {"task_name": "Empty", "scores": {"test": [{"main_score": None}]}})
    write(folder / "Deep.json", "[" * 100_000)
    (folder / "Out.json").symlink_to(tmp_path.parent)
    outside = tmp_path.parent / f"{tmp_path.name}.json"
    write(outside, mteb_file("Out", {"default": 0.5}))
    (folder / "Link.json").symlink_to(outside)
    content = import_content("mteb", [tmp_path])
    assert known(content) == {("org/one", "Good"): 0.5}
    said = "\n".join(content.problems)
    for words in (
        "Cut.json is not valid JSON",
        "List.json must hold a JSON object",
        "Old.json has no",
    ):
        assert words in said
    for words in (
        "Empty.json has no main_score",
        "Deep.json is not valid",
        "Link.json is a link out",
    ):
        assert words in said
    assert len(content.problems) == 6


# ---- lm-evaluation-harness -------------------------------------------------------------------


def harness(
    model: str, results: dict[str, Any], date: float = 1.0, **more: object
) -> dict[str, Any]:
    return {
        "results": results,
        "group_subtasks": {"mmlu": ["mmlu_law"], "arc": []},
        "n-shot": dict.fromkeys(results, 5),
        "higher_is_better": {
            "arc": {"acc": True, "acc_norm": True},
            "wiki": {"word_perplexity": False},
        },
        "config": {"model": "hf", "model_args": f"pretrained={model},dtype=float16"},
        "date": date,
    } | more


ARC = {"alias": "arc", "acc,none": 0.5, "acc_stderr,none": 0.01, "acc_norm,none": 0.625}


def test_lm_eval(tmp_path: Path) -> None:
    wiki = {"word_perplexity,none": 9.5, "word_perplexity_stderr,none": "N/A"}
    first = {"arc": ARC, "wiki": wiki, "mmlu": {"acc,none": 0.1}, "mmlu_law": {"acc,none": 0.25}}
    write(tmp_path / "a" / "results_1.json", harness("org/a", first, model_name="named/a"))
    write(tmp_path / "b" / "results_1.json", harness("org/b", {"arc": ARC | {"acc,none": 0.75}}, 1))
    write(tmp_path / "b" / "results_2.json", harness("org/b", {"arc": ARC | {"acc,none": 0.25}}, 2))
    write(
        tmp_path / "old.json",
        {
            "results": {"arc": {"acc": 0.5, "acc_stderr": 0.02}},
            "config": {"model_args": {"pretrained": "org/old"}},
        },
    )
    write(tmp_path / "nameless.json", {"results": {"arc": {"acc": 0.5}}})
    write(tmp_path / "samples.json", {"doc": 1})
    content = import_content("lm-eval", [tmp_path])
    assert known(content) == {
        ("named/a", "arc"): 0.5,
        ("org/b", "arc"): 0.25,
        ("named/a", "wiki"): 9.5,
        ("named/a", "mmlu_law"): 0.25,
    }
    assert content.stderr[:2].tolist() == [0.01, 0.01]
    assert facts(content, "wiki") == {
        "measure": "word_perplexity",
        "direction": "smaller",
        "evaluated": "5-shot",
    }
    assert dict(zip(content.tasks, content.larger_is_better.tolist(), strict=True))["wiki"] is False
    said = "\n".join(content.problems)
    assert "nameless.json does not name its model" in said
    assert "samples.json has no results" in said
    assert "task 'arc': 1 of 3 models have no acc (5-shot) and are left out" in said
    assert content.notes[0] == "'mmlu' is a mean of other tasks and is left out"


def test_lm_eval_by_another_metric(tmp_path: Path, refused: Callable[..., object]) -> None:
    write(tmp_path / "a.json", harness("org/a", {"arc": ARC}))
    content = import_content("lm-eval", [tmp_path], ImportOptions(metric="acc_norm"))
    assert known(content) == {("org/a", "arc"): 0.625}
    with refused("no result", "no metric 'f1', it has acc, acc_norm"):
        import_content("lm-eval", [tmp_path], ImportOptions(metric="f1"))


def test_lighteval_names_its_model_elsewhere(tmp_path: Path) -> None:
    results = {"harness|drop|3": {"f1": 0.5, "f1_stderr": 0.01}, "all": {"f1": 0.5}}
    write(tmp_path / "r.json", {"config_general": {"model_name": "org/a"}, "results": results})
    assert known(import_content("lm-eval", [tmp_path])) == {("org/a", "harness|drop|3"): 0.5}


# ---- model cards -----------------------------------------------------------------------------

CARD = """---
license: mit
language: [fr, en]
model-index:
- name: {name}
  results:
  - task: {{type: text-classification}}
    dataset: {{type: imdb, name: IMDb, config: plain, split: test}}
    metrics:
    - {{type: accuracy, value: {value}, name: Accuracy}}
    - {{type: f1, value: 0.5}}
  - task: {{type: asr}}
    dataset: {{type: voice, name: Voice (fr), config: fr}}
    metrics: [{{type: wer, value: 20.0 ± 1.2}}]
---
# A card
"""


def test_model_cards(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    write(tmp_path / "a" / "README.md", CARD.format(name="a", value=0.75))
    write(
        tmp_path / "models--org--b" / "snapshots" / "1" / "README.md",
        CARD.format(name="b", value="87.5%"),
    )
    write(tmp_path / "c" / "README.md", "# no front matter\n")
    write(tmp_path / "d" / "README.md", "---\na: &x [1]\nb: *x\n---\n")
    write(tmp_path / "e" / "README.md", "---\na: !!python/object/apply:os.system [ls]\n---\n")
    write(tmp_path / "f" / "README.md", "---\nnever closed\n")
    write(tmp_path / "g" / "README.md", CARD.format(name="g", value="good"))
    write(tmp_path / "h" / "README.md", "---\nlicense: mit\n---\n")
    content = import_content("model-card", [tmp_path])
    assert facts(content, "IMDb (plain)")["measure"] == "f1"  # g has no accuracy that is a number
    assert known(content) == {(m, "IMDb (plain)"): 0.5 for m in ("a", "org/b", "g")} | {
        (m, "Voice (fr)"): 20.0 for m in ("a", "org/b", "g")
    }
    assert facts(content, "a") == {"license": "mit", "language": "fr|en"}
    said = "\n".join(content.problems)
    for words in (
        "c/README.md has no front matter",
        "YAML alias",
        "no YAML",
        "not closed",
        "got 'good'",
    ):
        assert words in said
    accuracy = import_content("model-card", [tmp_path], ImportOptions(metric="accuracy"))
    assert known(accuracy)["org/b", "IMDb (plain)"] == 0.875
    assert facts(accuracy, "IMDb (plain)") == {
        "type": "text-classification",
        "measure": "accuracy",
        "evaluated": "test",
    }


def test_without_yaml_it_is_one_line(
    tmp_path: Path, refused: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with refused("reading model cards needs PyYAML", "pip install PyYAML"):
        import_content("model-card", [tmp_path])


# ---- timm ------------------------------------------------------------------------------------

TIMM = "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation\n"


def test_timm(tmp_path: Path) -> None:
    write(
        tmp_path / "results-imagenet.csv",
        TIMM + "vit.in1k,224,90.054,9.946,99.056,0.944,305.08,1.000,bicubic\n"
        'vit.in1k,384,91.0,9,99.5,0.5,"1,305.08",1.000,bicubic\nresnet,224,70.7,29,x,1,2.5,1,b\n',
    )
    write(tmp_path / "results-sketch.csv", TIMM + "resnet,224,50.5,1,60.5,1,2.5,1,b\n")
    costs = "model,infer_img_size,infer_samples_per_sec,infer_gmacs\nvit,384,10.5,7\n"
    write(tmp_path / "benchmark.csv", costs)
    write(tmp_path / "other.csv", "model,x\na,1\n")
    content = import_content("timm", [tmp_path])
    assert known(content) == {
        ("vit.in1k@224", "imagenet"): 0.90054,
        ("vit.in1k@384", "imagenet"): 0.91,
        ("vit.in1k@224", "imagenet/top5"): 0.99056,
        ("vit.in1k@384", "imagenet/top5"): 0.995,
        ("resnet", "imagenet"): 0.707,
        ("resnet", "sketch"): 0.505,
        ("resnet", "sketch/top5"): 0.605,
    }
    assert facts(content, "vit.in1k@384") == {
        "architecture": "vit",
        "img_size": "384",
        "param_count": "1305.08",
        "crop_pct": "1.000",
        "interpolation": "bicubic",
        "infer_samples_per_sec": "10.5",
        "infer_gmacs": "7",
    }
    said = "\n".join(content.problems)
    assert "top5 of 'resnet' must be a number, got 'x'" in said
    assert "other.csv has neither top1" in said


# ---- all -------------------------------------------------------------------------------------


def test_what_cannot_be_imported_is_refused(tmp_path: Path, refused: Callable[..., object]) -> None:
    with refused("kind must be one of wide, mteb", "'wade'"):
        import_content("wade", [tmp_path])
    with refused("at least one file"):
        import_content("wide", [])
    with refused("missing"):
        import_content("mteb", [tmp_path / "nowhere"])
    with refused("no result was found"):
        import_content("mteb", [tmp_path])
