"""The public face: names, signatures and docstrings. A change here is a change for every user."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

import spider_jax
from spider_jax import metrics

NAMES = [
    "METRICS",
    "FeatureStore",
    "InputError",
    "Ranking",
    "Spider",
    "TargetTask",
    "TaskConfig",
    "TaskTokens",
    "TrainConfig",
    "ZooIndex",
    "compare",
    "h_score_shrunk",
    "knn",
    "leep",
    "linear_probe",
    "logme",
    "nce",
    "plackett_luce_loss",
    "ridge",
    "score_zoo",
    "task_deviations",
    "task_from",
    "task_tokens",
    "train",
    "weighted_tau",
]
# Parameters, their kinds and defaults; the types are checked by the type checker and at run time.
SIGNATURES = {
    "FeatureStore": "(folder)",
    "FeatureStore.domains": "(self, task)",
    "FeatureStore.features": "(self, model, task)",
    "FeatureStore.fingerprint": "(self)",
    "FeatureStore.has_probabilities": "(self, model, task)",
    "FeatureStore.kind": "(self, task)",
    "FeatureStore.labels": "(self, task)",
    "FeatureStore.model_info": "(self, model)",
    "FeatureStore.models_of": "(self, task)",
    "FeatureStore.nbytes": "(self, model, task)",
    "FeatureStore.probabilities": "(self, model, task)",
    "FeatureStore.problems_on": "(self, *tasks)",
    "FeatureStore.split": "(self, task)",
    "FeatureStore.task_info": "(self, task)",
    "FeatureStore.training_features": "(self, model, task)",
    "FeatureStore.training_labels": "(self, task)",
    "FeatureStore.training_rows": "(self, task)",
    "FeatureStore.width": "(self, model)",
    "FeatureStore.write_features": "(folder, model, task, features)",
    "FeatureStore.write_labels": "(folder, task, labels)",
    "FeatureStore.write_manifest": "(folder, **content)",
    "Ranking": (
        "(names, scores, resolution, task=None, accuracies=<factory>, notes=(), skipped=(), "
        "looked_at=(), certainty=None)"
    ),
    "Ranking.data": "(self)",
    "Ranking.explain": "(self, model)",
    "Ranking.from_json": "(cls, path)",
    "Ranking.from_scores": "(names, scores, *, resolution, task=None, accuracies=None, notes=())",
    "Ranking.page": "(self, top=None)",
    "Ranking.plot": "(self, axes=None)",
    "Ranking.rank_intervals": "(self)",
    "Ranking.read": "(cls, content)",
    "Ranking.statements": "(self)",
    "Ranking.to_content": "(self)",
    "Ranking.to_csv": "(self, path)",
    "Ranking.to_frame": "(self, library=None)",
    "Ranking.to_html": "(self)",
    "Ranking.to_json": "(self, path)",
    "Ranking.to_markdown": "(self, top=None)",
    "Ranking.to_rows": "(self, top=None)",
    "Ranking.to_text": "(self, top=None)",
    "Spider": (
        "(description, scaling, weights, memory=None, own=None, teacher_table=None, beliefs=None)"
    ),
    "Spider.belief": "(self, tokens, *, task=None)",
    "Spider.explain": "(self, tokens, model, *, k=0, zoo=None, task=None, known=())",
    "Spider.from_torch": (
        "(state, *, models, extractor='general extractor', form=None, precision='float32', "
        "attn_pool='cls', extra_prompt=False)"
    ),
    "Spider.load": "(folder)",
    "Spider.rank": "(self, tokens, *, k=0, zoo=None, task=None, by='evidence')",
    "Spider.rank_task": "(self, zoo, task, *, k=0, by='evidence')",
    "Spider.save": "(self, folder)",
    "Spider.scores": "(self, tasks)",
    "TargetTask": "(name, tokens, classes, rows, note='')",
    "TaskConfig": (
        "(count=1000, single=0.6, max_datasets=3, min_classes=3, max_classes=20, rows=192, "
        "min_per_class=8, max_per_class=32, resamples=1)"
    ),
    "TaskTokens": "(centres, deviations=None, extractor=None)",
    "TrainConfig": (
        "(seed=0, width=128, members=4, teachers=('logme', 'knn', 'ridge'), "
        "aggregate='mean_z', targets='teachers', calibration=0.5, tasks=<factory>, "
        "scaling='standardize', components=32, spread=False, held_out=3, epochs=6, batch=32, "
        "accumulate=1, loss='plackett_luce', optimizer='adamw', learning_rate=0.0003, "
        "learning_rates=(), weight_decay=0.1, dropout=0.0, token_dropout=0.5, token_noise=1.0, "
        "memory=16.0, k_max=0, own_components=64, clip=1.0, patience=0, parallel='mesh', "
        "model_shards=1, checkpoint_every=100)"
    ),
    "ZooIndex": (
        "(folder, about, blocks, scaling, shared, memory_weights, evidence=None, resident=None)"
    ),
    "ZooIndex.append": "(self, spider, models=None, *, show_progress=False)",
    "ZooIndex.belief": "(self, tokens, *, task=None, show_progress=False)",
    "ZooIndex.build": "(spider, folder, *, precision=None, show_progress=False)",
    "ZooIndex.names": "(self)",
    "ZooIndex.open": "(folder)",
    "ZooIndex.remove": "(self, models)",
    "ZooIndex.to_device": "(self, *, mesh=None, most=None)",
    "ZooIndex.top_k": (
        "(self, tokens, k, *, task=None, among=None, mesh=None, first_pass=False, "
        "show_progress=False)"
    ),
    "ZooIndex.top_k_tasks": (
        "(self, tokens, k, *, tasks=None, among=None, mesh=None, first_pass=False, "
        "show_progress=False)"
    ),
    "ZooIndex.verify": "(self, *, show_progress=False)",
    "compare": (
        "(models, data, *, budget=None, out=None, spider=None, extractor=None, batch=None, "
        "show_progress=False)"
    ),
    "h_score_shrunk": "(features, labels, *, standardize=False)",
    "knn": (
        "(features, labels, *, k=5, samples=20000, seed=0, standardize=False, distance='cosine')"
    ),
    "leep": "(*, probabilities, labels)",
    "linear_probe": "(features, labels, *, seed=0)",
    "logme": "(features, labels, *, standardize=False, compat=None)",
    "nce": "(*, probabilities, labels)",
    "plackett_luce_loss": "(scores, targets, *, where=None)",
    "ridge": "(features, labels, *, standardize=True)",
    "score_zoo": (
        "(zoo, task, metrics=('logme', 'knn', 'h_score_shrunk', 'nce', 'leep'), *, models=None, "
        "cache=True, show_progress=False)"
    ),
    "task_deviations": "(features, labels)",
    "task_from": (
        "(data, extractor, *, zoo=None, named=None, facts=None, clusters=10, bins=10, seed=0, "
        "batch=None, show_progress=False)"
    ),
    "task_tokens": "(features, labels, *, extractor=None)",
    "train": "(zoo, config=None, *, datasets=None, run=None, show_progress=False)",
    "weighted_tau": "(truth, scores, *, rank=True)",
}
PROPERTIES = {
    "FeatureStore": {
        "accuracies",
        "extractor",
        "facts",
        "models",
        "standardized",
        "tasks",
        "training_facts",
    },
    "Ranking": {"columns"},
    "Spider": {
        "folded",
        "guessed",
        "models",
        "network",
        "network_weight",
        "scoring_weights",
        "token_scaling",
    },
    "TargetTask": set(),
    "TaskConfig": {"max_rows"},
    "TaskTokens": set(),
    "TrainConfig": set(),
    "ZooIndex": set(),
}
METRICS = {
    "logme": ("features", False),
    "knn": ("features", False),
    "h_score": ("features", False),
    "h_score_shrunk": ("features", False),
    "n_leep": ("features", False),
    "parc": ("features", False),
    "gbc": ("features", False),
    "transrate": ("features", False),
    "sfda": ("features", False),
    "lfc": ("features", False),
    "pactran_gauss": ("features", False),
    "ncti": ("features", False),
    "nce": ("probabilities", False),
    "leep": ("probabilities", False),
    "pactran_dirichlet": ("probabilities", False),
    "pactran_gamma": ("probabilities", False),
    "ridge": ("features", True),
    "linear_probe": ("features", True),
}
CLASSES = tuple(PROPERTIES)
FUNCTIONS = tuple(name for name in SIGNATURES if name[0].islower())


def members(name: str, kind: type | tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """Public members of a class, as they stand in it or in the classes of ours that it extends."""
    ours = [c for c in getattr(spider_jax, name).__mro__ if c.__module__.startswith("spider_jax")]
    for member in {member: None for c in ours for member in vars(c) if not member.startswith("_")}:
        value = inspect.getattr_static(ours[0], member)
        if isinstance(value, kind):
            yield member, value


def public_callables() -> dict[str, Callable[..., Any]]:
    found = {name: getattr(spider_jax, name) for name in (*FUNCTIONS, *CLASSES)}
    for name in CLASSES:
        methods = members(name, (staticmethod, classmethod, type(public_callables)))
        found |= {f"{name}.{method}": getattr(found[name], method) for method, _ in methods}
    return found


def bare_signature(name: str, function: Callable[..., Any]) -> str:
    """Names, kinds and defaults of the parameters, without types; a method's begins with self."""
    if "." in name:
        owner, method = name.split(".")
        static = inspect.getattr_static(getattr(spider_jax, owner), method)
        wrapped = isinstance(static, staticmethod | classmethod)
        function = static.__func__ if wrapped else static
    signature, empty = inspect.signature(function), inspect.Signature.empty
    untyped = [p.replace(annotation=empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=untyped, return_annotation=empty))


def test_names() -> None:
    assert spider_jax.__all__ == NAMES
    assert len(set(NAMES)) == len(NAMES)
    assert [name for name in NAMES if not hasattr(spider_jax, name)] == []
    assert set(NAMES) == {*FUNCTIONS, *CLASSES, "METRICS", "InputError"}


def test_signatures() -> None:
    found = {name: bare_signature(name, value) for name, value in public_callables().items()}
    assert found == SIGNATURES


def test_properties() -> None:
    for name, wanted in PROPERTIES.items():
        assert {member for member, _ in members(name, (property, cached_property))} == wanted


def test_metrics_and_their_signatures() -> None:
    assert {n: (m.needs, m.probe) for n, m in spider_jax.METRICS.items()} == METRICS
    for name, metric in spider_jax.METRICS.items():
        assert getattr(metrics, metric.score.__name__) is metric.score
        assert getattr(spider_jax, name, metric.score) is metric.score
        parameters = inspect.signature(metric.score).parameters
        by_name = [n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
        if metric.needs == "features":  # data by position, options by name
            assert list(parameters) == ["features", "labels", *by_name]
        else:  # two arrays that can be swapped are given by name only
            assert list(parameters) == by_name
            assert by_name[:2] == ["probabilities", "labels"]


def test_the_error_is_a_value_error() -> None:
    assert issubclass(spider_jax.InputError, ValueError)


# ---- docstrings ------------------------------------------------------------------------------


def has_word(word: str, text: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", text) is not None


def test_the_package_says_what_it_is_for() -> None:
    assert "model" in (spider_jax.__doc__ or "")


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_has_a_docstring(name: str) -> None:
    text = inspect.getdoc(public_callables()[name]) or ""
    first = text.split("\n\n")[0]
    assert 20 <= len(first) <= 200
    assert len(first.splitlines()) <= 2
    assert first[-1] in ".)"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_explains_every_argument_and_the_result(name: str) -> None:
    function = getattr(spider_jax, name)
    text = inspect.getdoc(function) or ""
    assert "\nArgs:\n" in text
    assert "\nReturns:\n" in text
    arguments = text.split("\nArgs:\n")[1].split("\n\n")[0]
    parameters = inspect.signature(function).parameters
    assert [p for p in parameters if not has_word(p, arguments)] == []


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_explains_every_field(name: str) -> None:
    kind = getattr(spider_jax, name)
    text = inspect.getdoc(kind) or ""
    given = [f.name for f in fields(kind)] if is_dataclass(kind) else ["folder"]
    assert [field for field in given if not has_word(field, text)] == []


@pytest.mark.parametrize("name", CLASSES)
def test_every_property_has_a_docstring(name: str) -> None:
    kind = getattr(spider_jax, name)
    assert [
        p for p in PROPERTIES[name] if not inspect.getdoc(inspect.getattr_static(kind, p))
    ] == []


def test_a_name_is_imported_from_where_the_type_checker_sees_it() -> None:
    """Names come when they are first asked for; the sub-packages too."""
    root = Path(spider_jax.__file__).parent
    (block,) = (
        node
        for node in ast.parse((root / "__init__.py").read_text()).body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    )
    seen = {name.name: f.module for f in block.body for name in f.names}  # type: ignore[attr-defined]
    assert {n: f"spider_jax.{home}" for n, home in spider_jax._HOMES.items()} == seen
    assert sorted(seen) == sorted(spider_jax.__all__)
    inside = {p.stem for p in root.iterdir() if p.is_dir() or p.suffix == ".py"}
    assert set(spider_jax._PACKAGES) == {n for n in inside if not n.startswith("_")}
    assert {*spider_jax.__all__, "zoo"} <= set(dir(spider_jax))
    assert spider_jax.zoo.embedded_zoo
    with pytest.raises(AttributeError, match="nothing"):
        spider_jax.nothing  # noqa: B018


def test_a_command_imports_little() -> None:
    """What trains, and what plots, would double the time that a short command takes to begin."""
    program = "import sys, spider_jax.cli.app; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    slow = {"flax", "optax", "orbax", "torch", "matplotlib", "pandas", "sklearn", "scipy.stats"}
    assert slow & set(done.stdout.split()) == set()
