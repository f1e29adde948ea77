"""Students and teachers that are models of a zoo: the best-ranked ones teach the one deployed."""

from collections.abc import Sequence
from pathlib import Path

from spider_jax.errors import InputError
from spider_jax.heads.measures import measure_name
from spider_jax.heads.targets import make_targets
from spider_jax.metrics.methods.logme import logme
from spider_jax.runtime.progress import progress
from spider_jax.runtime.single_precision import single_precision
from spider_jax.spider.spider import Spider
from spider_jax.tasks.tokens import zoo_tokens
from spider_jax.tuning.config import TuneConfig
from spider_jax.tuning.files import TunedStudent
from spider_jax.tuning.loss import teacher_weights
from spider_jax.tuning.problem import TuningProblem, make_problem
from spider_jax.tuning.students import feature_student
from spider_jax.tuning.teachers import Teacher, fit_teachers
from spider_jax.tuning.tune_student import Tuned, Tuning, tune
from spider_jax.zoo.splits import TaskSplit, task_split
from spider_jax.zoo.store import FeatureStore, Skipped

AUTO = "auto:"


@single_precision
def tune_zoo(
    zoo: FeatureStore,
    task: str,
    student: str,
    *,
    teachers: Sequence[str] = ("auto:3",),
    spider: Spider | None = None,
    methods: Sequence[str] = ("b-tuning", "fine-tuning"),
    config: TuneConfig | None = None,
    hidden: int = 64,
    run: Path | None = None,
    show_progress: bool = False,
) -> Tuning:
    """Tune a network on top of one model's features, taught by the best-ranked models of the zoo.

    Args:
        zoo: features and labels.
        task: name.
        student: name of the model that the network stands on.
        teachers: names, or "auto:K" for the K best by LogME on the training rows, or by `spider`.
            The student's own model may be among them, as in the paper; a note says so.
        spider: that ranks the teachers; its extractor's features of the task must be there.
        methods: names in METHODS, each once.
        config: default TuneConfig().
        hidden: units of the student's own layer, see `feature_student`.
        run: folder for checkpoints; the same call goes on where it was interrupted.
        show_progress: a bar on stderr.

    Returns:
        A Tuning with the tuned student.

    Raises:
        InputError: unknown names, or as `tune`.
    """
    config = TuneConfig() if config is None else config
    split = task_split(zoo, task, seed=config.seed)
    names, problems = choose_teachers(zoo, task, split, teachers, spider, show_progress)
    problem = zoo_problem(zoo, task, student, names, split, hidden=hidden, seed=config.seed)
    found = tune(problem, methods, config, run=run, show_progress=show_progress)
    best = found.best
    about = {
        "model": student,
        "task": task,
        "method": best.method,
        "choice": best.choice._asdict(),
        "teachers": list(names),
        "measure": found.measure,
        "validation": best.validation,
        "test": best.test,
    }
    tuned = problem.student._replace(params=best.params.get("student", problem.student.params))
    kept = TunedStudent(tuned, best.params["head"], problem.targets, about)
    notes = (*_teacher_notes(problem, student, config, best), split.note)
    return Tuning(found.measure, found.results, notes, problems, kept)


def choose_teachers(
    zoo: FeatureStore,
    task: str,
    split: TaskSplit,
    wanted: Sequence[str],
    spider: Spider | None = None,
    show_progress: bool = False,
) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """Which models teach.

    Args:
        zoo: features and labels.
        task: name.
        split: rows; the training rows are read.
        wanted: names, or "auto:K" for the K best.
        spider: that ranks them; default: LogME.
        show_progress: a bar on stderr.

    Returns:
        Names, best first where they are chosen here, and the models that could not be ranked.

    Raises:
        InputError: "auto:K" with a K that is no number >= 1 or beside names, or no usable model.
    """
    if not any(name.startswith(AUTO) for name in wanted):
        return tuple(wanted), ()
    count = wanted[0].removeprefix(AUTO)
    if len(wanted) > 1 or not count.isdecimal() or int(count) < 1:
        raise InputError(f"teachers must be names, or auto:K with K >= 1, got {list(wanted)}")
    scores, left = _ranked(zoo, task, split, spider, show_progress)
    left += [p for p in zoo.problems if p.task == task and p.model]
    names = sorted(scores, key=lambda name: -scores[name])[: int(count)]  # stable
    if not names:
        raise InputError(f"no model of {zoo.folder} can teach {task!r}: name teachers")
    return tuple(names), tuple(left)


def _ranked(
    zoo: FeatureStore, task: str, split: TaskSplit, spider: Spider | None, show_progress: bool
) -> tuple[dict[str, float], list[Skipped]]:
    """Scores of the models with features on the task, and why others have none."""
    train, models = split.train, zoo.models_of(task)
    labels, scores, left = zoo.labels(task)[train], dict[str, float](), list[Skipped]()
    if spider is not None:
        tokens = zoo_tokens(zoo, task, spider.description.extractor, rows=train)
        ranking = spider.rank(tokens, task=task)
        known = dict(zip(ranking.names, map(float, ranking.scores), strict=True))
        left = [Skipped(m, task, "not in the spider") for m in models if m not in known]
        return {m: known[m] for m in models if m in known}, left
    for model in progress(models, "LogME", show_progress):
        try:
            scores[model] = logme(zoo.features(model, task)[train], labels)
        except InputError as error:
            left.append(Skipped(model, task, str(error)))
    return scores, left


def zoo_problem(
    zoo: FeatureStore,
    task: str,
    student: str,
    teachers: Sequence[str],
    split: TaskSplit,
    *,
    hidden: int = 64,
    seed: int = 0,
) -> TuningProblem:
    """The problem of a student and teachers that are models of a zoo.

    Args:
        zoo: features and labels.
        task: name.
        student: name of the model that the network stands on.
        teachers: names; [] for none.
        split: rows.
        hidden: units of the student's own layer.
        seed: of the student's layer.

    Returns:
        The problem.

    Raises:
        InputError: unknown names, or a measure that is not for the task.
    """
    labels, kind = zoo.labels(task), zoo.kind(task)
    targets = make_targets(kind, labels, split.train)
    truth = labels if kind != "regression" else labels.reshape(len(labels), -1)
    measure = measure_name(task, kind, zoo.task_info(task).get("measure"))
    features = zoo.features(student, task)
    given = [Teacher(name, zoo.features(name, task)) for name in teachers]
    fitted = fit_teachers(given, None, targets.values, split.train) if given else None
    network = feature_student(features, split.train, hidden=hidden, seed=seed)
    return make_problem(network, features[None], targets, truth, split, measure, fitted)


def _teacher_notes(
    problem: TuningProblem, student: str, config: TuneConfig, best: Tuned
) -> tuple[str, ...]:
    teachers = problem.teachers
    if teachers is None:
        return ()
    heat = best.choice.temperature or config.temperatures[0]
    pi = teacher_weights(teachers.scores, heat, standardise=config.standardised)
    how = "standardised" if config.standardised else "raw"
    shown = ", ".join(
        f"{n} {p:.2f} (LogME {s:.3f})"
        for n, p, s in zip(teachers.names, pi, teachers.scores, strict=True)
    )
    own = f"; {student} is its own teacher too" if student in teachers.names else ""
    return (f"teachers, weights by {how} LogME at temperature {heat:g}: {shown}{own}",)
