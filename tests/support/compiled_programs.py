"""Every program of float32 that the package compiles, on shapes of a small problem."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType

from programs.train_devices import CONFIG, own_tokens, toy_arrays
from spider_jax.heads import training as heads
from spider_jax.index import best
from spider_jax.metrics.methods import linear_probe
from spider_jax.onboarding import fit_tokens
from spider_jax.spider import folding, own_attention, scoring
from spider_jax.spider.own_maps import OwnMap
from spider_jax.spider.weights import OwnTokens, Weights
from spider_jax.tasks import scaling
from spider_jax.training import choose_k, loop, parallel
from spider_jax.training.arrays import deal, held_tasks
from spider_jax.training.config import TrainConfig
from spider_jax.training.parallel import pad_rows, runner
from spider_jax.training.state import Members, State
from spider_jax.tuning import steps, students
from support.lowered import Program, abstract, of_shape

E, M, T, C, D, WIDTH, S = 2, 30, 2, 32, 40, 16, 5
KINDS = ("classification", "multi-label", "regression")


def float32_programs() -> Iterator[Program]:
    """All of them."""
    for form in ("many", "few"):
        for width in (WIDTH, D):
            yield from _scoring(form, width)
    yield from _own_attention()
    yield from _training()
    yield from _onboarding()
    yield from _heads()
    yield from _tuning()
    yield _probe()


# ---- scores ----------------------------------------------------------------------------------


def members(width: int = D, models: int = M) -> Weights:
    """Weights of an ensemble."""
    rng = np.random.default_rng(0)
    square = dict.fromkeys(("query", "key", "value", "output"), (WIDTH, WIDTH))
    names = (*Weights._fields[7:13], "project_bias")
    shapes: dict[str, tuple[int, ...]] = {
        "theta": (models, WIDTH),
        "project": (width, WIDTH),
        **square,
        **dict.fromkeys(names, (WIDTH,)),
        "head_bias": (),
    }
    drawn = {n: rng.normal(size=(E, *s)) for n, s in shapes.items()}
    for matrix in ("project", *square):
        drawn[matrix] /= drawn[matrix].shape[1] ** 0.5
    return Weights(**{n: a.astype(np.float32) for n, a in drawn.items()})  # type: ignore[arg-type]


def _scoring(form: str, width: int) -> Iterator[Program]:
    precision = "bfloat16" if width == WIDTH else "float32"
    folded = folding.fold_checkpoint(members(width), form=form, precision=precision)
    chunk, shared = folded.chunks[0], folded.shared
    chunk = abstract(chunk)._replace(memory=of_shape(1, chunk.key.shape[1], S))
    stack = jax.tree.map(lambda a: of_shape(3, *a.shape, dtype=a.dtype.name), chunk)
    task = of_shape(T, C, width), of_shape(T, C, dtype="bool")
    memory = of_shape(T, S)
    side = jax.eval_shape(lambda *a: scoring.task_side(*a, form=form), shared, *task)
    side = side._replace(memory=memory)
    name = f"{form}, {width} wide, {precision}"
    theta = of_shape(E, M, WIDTH)
    yield Program(
        f"rows, {name}", _at(folding, "fold_rows"), folding.fold_rows, (folded.maps, theta)
    )
    static: dict[str, Any] = {"form": form}
    at = _at(scoring, "task_side")
    yield Program(f"task side, {name}", at, scoring.task_side, (shared, *task), static)
    at = _at(scoring, "score_chunk")
    yield Program(f"a chunk, {name}", at, scoring.score_chunk, (chunk, shared, side))
    at, call = _at(scoring, "_score_block"), scoring._score_block
    for what, rows in (("a chunk", chunk), ("a stack", stack)):
        given = rows, shared, *task, memory
        yield Program(f"{what} with its side, {name}", at, call, given, static)
    if form == "many":
        yield from _index(chunk, shared, side, name)
    spread = np.float32(0), np.zeros((D, WIDTH), np.float32)
    given = np.zeros(D, np.float32), spread[1], of_shape(T, C, D), task[1]
    at, call = _at(scaling, "_apply"), _with_spread
    yield Program(f"scaling, {name}", at, call, given)


_with_spread = jax.jit(lambda *given: scaling._apply(*given, True))


def _index(chunk: Any, shared: Any, side: Any, name: str) -> Iterator[Program]:
    m = chunk.key.shape[1]
    found = best.Best(of_shape(T, 7), of_shape(T, 7, dtype="int32"))
    given = chunk, shared, side
    more = of_shape(m, dtype="bool"), of_shape(dtype="int32")
    at = _at(best, "update")
    yield Program(f"top k, {name}", at, best.update, (found, *given, *more))
    yield Program(f"scores, {name}", _at(best, "all_scores"), best.all_scores, given)


def _own_attention() -> Iterator[Program]:
    folded = folding.fold_checkpoint(members())
    shared, maps, k = folded.shared, folded.maps, own_attention.ROWS
    theta = of_shape(E, k, WIDTH)
    rows = jax.eval_shape(folding.fold_rows, maps, theta)
    side = jax.eval_shape(
        scoring.task_side, shared, of_shape(1, C, D), of_shape(1, C, dtype="bool")
    )
    call, given = own_attention._attend, (rows, shared, side.partners, side.values, side.mask)
    yield Program("re-ranking: first look", _at(own_attention, "_attend"), call, given)
    seen = jax.eval_shape(call, *given)
    at, call = _at(own_attention, "_general"), own_attention._general
    yield Program("re-ranking: first score", at, call, (shared, rows.base, seen.value))
    one = jax.tree.map(lambda a: of_shape(E, *a.shape[2:]), (theta, rows.base, seen))
    own = OwnMap(*map(of_shape_, ((D,), (D, S), (E, S, WIDTH), (E, WIDTH))))
    given = maps, shared, *one, own, of_shape(C, D), of_shape(C, dtype="bool")
    at = _at(own_attention, "_score")
    yield Program("re-ranking: own class centres", at, own_attention._score, given)


def of_shape_(shape: tuple[int, ...]) -> Any:
    """`of_shape` of a tuple."""
    return of_shape(*shape)


# ---- training --------------------------------------------------------------------------------


def config_of(**changes: Any) -> TrainConfig:
    """The configuration of a small training."""
    return replace(CONFIG, optimizer="adamw", clip=1.0, dropout=0.1, **changes)


def _training() -> Iterator[Program]:
    yield _mesh_step("mesh, many models", config_of(width=256), models=5000)
    yield _mesh_step(
        "mesh, 4 x 2, own features", config_of(model_shards=2, batch=8, k_max=2), (4, 2)
    )
    yield _mesh_step("mesh, in parts", config_of(loss="pairwise", accumulate=2))
    yield _pmap_step()
    given = toy_arrays(held=2)
    at = _at(loop, "_start")
    start = loop._start(WIDTH, 7, 6, 0, CONFIG)
    yield Program("initial weights", at, start, (jax.random.split(jax.random.key(0), E),))
    weights, held = abstract(members(6, 7)), abstract(held_tasks(given))
    at, call = _at(loop, "_held_out_scores"), loop._held_out_scores
    yield Program("held-out scores", at, call, (weights, held))
    own = OwnTokens(of_shape(T, 3, C, S), of_shape(T, 3, dtype="int32"))
    one = jax.tree.map(lambda a: of_shape(*a.shape[1:]), abstract(members()))
    one = one._replace(own_project=of_shape(M, S, WIDTH), own_bias=of_shape(M, WIDTH))
    given_ = one, of_shape(T, C, D), of_shape(T, C, dtype="bool"), own
    yield Program("gain of own features", _at(choose_k, "_gain"), choose_k._gain, given_)


def _given(config: TrainConfig, lanes: int, models: int) -> tuple[State, Any, Members]:
    """What a step is called with, of the shapes of all devices."""
    given = toy_arrays(models=models)
    if config.k_max:
        given = given._replace(own=own_tokens(given))
    keys = jax.random.split(jax.random.key(0), config.members)
    widths = given.tokens.shape[2], given.own.tokens.shape[3] if given.own else 0
    state = jax.eval_shape(loop._start(config.width, models, *widths, config), keys)
    members = Members(of_shape(config.members, 2, dtype="uint32"), of_shape(config.members))
    return state, abstract(deal(given, config, lanes)), members


NUMBERS = (of_shape(dtype="int32"),) * 3  # epoch, first, count


def _mesh_step(
    name: str,
    config: TrainConfig,
    shape: tuple[int, int] = (1, 1),
    *,
    models: int = 7,
) -> Program:
    mesh = AbstractMesh(shape, ("data", "model"), (AxisType.Auto,) * 2)
    state, lanes, members = _given(config, shape[0] * config.accumulate, models)
    state = jax.eval_shape(
        lambda s: jax.tree.map(
            lambda w: pad_rows(w, shape[1]) if isinstance(w, Weights) else w,
            s,
            is_leaf=lambda w: isinstance(w, Weights),
        ),
        state,
    )
    call = parallel.over_mesh(config, mesh, models, 20, parallel.state_specs(state))
    at = _at(parallel, "over_mesh")
    given = state, lanes, members, *NUMBERS
    return Program(f"step, {name}", at, call, given, donated=len(jax.tree.leaves(state)))


def _pmap_step() -> Program:
    config = config_of(parallel="pmap")
    made: Any = runner(config, 7, 20, jax.devices()[:1])
    given = _given(config, 1, 7)
    given = jax.tree.map(lambda a: jax.ShapeDtypeStruct((1, *a.shape), a.dtype), given)
    at = _at(parallel, "PmapRunner.__init__")
    leaves = len(jax.tree.leaves(given[0]))
    return Program("step, pmap", at, made._compiled, (*given, *NUMBERS), donated=leaves)


def _onboarding() -> Iterator[Program]:
    A, b, m = 9, 4, 3
    weights = abstract(members(WIDTH))
    seen, mask = of_shape(E, b, C, WIDTH), of_shape(b, C, dtype="bool")
    given = of_shape(E, D, WIDTH), of_shape(E, WIDTH), of_shape(b, C, D)
    at = _at(fit_tokens, "_project")
    yield Program("tokens of new models: projection", at, fit_tokens._project, given)
    call, at = fit_tokens._all_scores, _at(fit_tokens, "_all_scores")
    yield Program("tokens of new models: scores", at, call, (weights, seen, mask))
    new = fit_tokens.NewTokens(*map(of_shape_, ((E, m, WIDTH), (E, m, S, WIDTH), (E, m, WIDTH))))
    moments = jax.eval_shape(fit_tokens._optimizer().init, new)
    shapes = (E, b, A), (b, A), (E, b, m), (b, m), (E, b), (b, m, C, S)
    batch = fit_tokens._Batch(seen, mask, *map(of_shape_, shapes))
    given_ = weights, new, moments, batch
    yield Program(
        "tokens of new models: a step", _at(fit_tokens, "_step"), fit_tokens._step, given_
    )


# ---- heads, B-Tuning, the probe ---------------------------------------------------------------


def _heads() -> Iterator[Program]:
    R, n, K, B = 3, 24, 4, 8
    for kind in KINDS:
        for hidden in (0, 6):
            config = heads.HeadConfig(hidden=hidden)
            shapes = {"W": (R, hidden or D, K), "b": (R, K)}
            shapes |= {"V": (R, D, hidden), "c": (R, hidden)} if hidden else {}
            params = {name: of_shape(*shape) for name, shape in sorted(shapes.items())}
            state = jax.eval_shape(jax.vmap(heads.optimizer(config).init), params)
            X, column = of_shape(R, n, D, dtype="float16"), of_shape(R, D)
            Y, order = of_shape(n, K), of_shape(n // B, B, dtype="int32")
            call, name = heads._compiled_block(kind, config), f"{kind}, {hidden} hidden"
            given = params, state, X, column, column, Y, order
            yield Program(f"heads: steps, {name}", _at(heads, "_compiled_block"), call, given)
            at, call = _at(heads, "_compiled_outputs"), heads._compiled_outputs
            yield Program(f"heads: outputs, {name}", at, call, (params, X, column, column))


def _see(params: Any, x: Any) -> Any:
    """A student: a product, asked for exactly as students of the package must."""
    return jnp.matmul(x, params["A"], precision="highest")


def _tuning() -> Iterator[Program]:
    for method in steps.METHODS:
        yield from _tuned(method, KINDS[len(method) % 3])
    given = {"A": of_shape(D, S)}, of_shape(9, D), None
    at = _at(students, "_compiled_apply")
    yield Program("tuning: features", at, students._compiled_apply(_see), given)


def _tuned(method: str, kind: str) -> Iterator[Program]:
    """Steps and outputs of R runs on n rows, with a teacher that runs and one that does not."""
    R, n, B, Q, about = 2, 24, 8, 3, steps.METHODS[method]
    student, head = {"A": of_shape(D, S)}, {"W": of_shape(S, Q), "b": of_shape(Q)}
    params: dict[str, Any] = {"head": head}
    params |= {} if about.frozen else {"student": student}
    params |= {"projection": of_shape(S, 4)} if about.guide == "features" else {}
    params = jax.tree.map(lambda a: of_shape(R, *a.shape), params)
    constants = steps.Constants(
        steps.Frozen(student, of_shape(Q, S)), None, (student,), (of_shape(Q, S),)
    )
    rules = steps.Rules(_see, (_see,), method, kind, 0.9, 1e-4, 10.0)
    guide = {"predictions": (n, 1, Q), "features": (n, 4), None: (n, 0)}[about.guide]
    block = steps.Block(of_shape(n, D), of_shape(n, Q), of_shape(*guide))
    hyper = steps.Hyper(of_shape(R), of_shape(R), of_shape(R, 2))
    order = of_shape(R, n // B, B, dtype="int32")
    given = steps.State(params, params), block, order, hyper, constants
    at, call = _at(steps, "compiled_epoch"), steps.compiled_epoch(rules, R)
    yield Program(f"tuning: steps, {method}", at, call, given)
    at, call = _at(steps, "compiled_outputs"), steps.compiled_outputs(rules, R)
    yield Program(f"tuning: outputs, {method}", at, call, (params, of_shape(n, D), constants))


def _probe() -> Program:
    N, k = 64, 64
    given = of_shape(N, k), of_shape(k), of_shape(N, 8), of_shape(N, dtype="bool")
    folds = of_shape(N, dtype="int32"), of_shape(linear_probe.OUTER_FOLDS, N, dtype="int32")
    at = _at(linear_probe, "_probe")
    return Program("linear probe", at, linear_probe._probe, (*given, *folds))


def _at(module: Any, function: str) -> str:
    return f"{module.__name__.removeprefix('spider_jax.')}:{function}"
