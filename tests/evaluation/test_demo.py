"""The demo on the text part of the embedded zoo, with a training that learns little."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spider_jax.demo import PLANS, Clock, Demo, Plan, run_part
from spider_jax.evaluation.baselines import CONSTANT
from spider_jax.ranking.ranking import Ranking
from spider_jax.spider.spider import Spider
from spider_jax.tasks.sampling import TaskConfig
from spider_jax.training.config import TrainConfig
from spider_jax.zoo.embedded import embedded_zoo
from support.small_training import for_training

QUICK = TrainConfig(
    tasks=TaskConfig(count=48), scaling="raw", width=8, members=2, epochs=1, targets="accuracies"
)


def test_plans_show_held_out_tasks_of_their_part() -> None:
    for name, plan in PLANS.items():
        zoo = embedded_zoo(name)
        assert zoo.standardized == (plan.config.scaling == "raw")
        assert all(zoo.task_info(task)["held_out"] for task in plan.shown or ())
    shown = PLANS["text"].shown
    assert shown is not None
    assert len(shown) == 1
    assert PLANS["text"].config == replace(
        PLANS["vision"].config, tasks=PLANS["text"].config.tasks
    )  # fewer meta-tasks is the only difference


@pytest.mark.slow
def test_a_part_ranks_what_is_shown_compares_all_and_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spider_jax.demo.METRICS", ("knn",))
    zoo, clock = embedded_zoo("text"), Clock()
    held_out = tuple(task for task in zoo.tasks if zoo.task_info(task).get("held_out"))
    with for_training():
        part = run_part("text", Plan(QUICK, ("code_language",)), clock)
    assert list(part.rankings) == ["code_language"]
    assert part.comparison.tasks == held_out
    assert {"spider (k = 0)", CONSTANT, "knn"} <= set(part.comparison.methods)
    truth = part.comparison.truth[held_out.index("code_language")]
    known = [zoo.accuracies[model, "code_language"] for model in part.comparison.models]
    assert truth.tolist() == known
    assert all(phase.startswith("text: ") for phase in clock.seconds)
    assert min(clock.seconds.values()) > 0

    out = tmp_path / "out"
    Demo({"text": part}, clock.seconds).save(out)
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "summary.md", "text"]
    page = (out / "report.html").read_text()
    assert all(name in page for name in ("code_language", CONSTANT, "spider (k = 0)"))
    read = Ranking.from_json(out / "text" / "rankings" / "code_language.json")
    assert read.names == part.rankings["code_language"].names
    assert (out / "text" / "rankings" / "code_language.csv").exists()
    with for_training():  # compiled as above
        again = Spider.load(out / "text" / "spider").rank_task(zoo, "code_language")
    np.testing.assert_array_equal(again.scores, read.scores)
    assert "## text: code_language\n" in (out / "summary.md").read_text(encoding="utf-8")
