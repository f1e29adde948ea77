"""Every compiled program, lowered for GPU and TPU from here.

It lowers; its products are exact; nothing in it runs on the host; what it uses up is donated. None
of those of float32 has a number of float64, and those of float64 run where there are such numbers.
`test_checks` shows that each of these would be found.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import spider_jax
from spider_jax.runtime.device_kinds import CPU, GPU, TPU
from spider_jax.runtime.double_precision import double_precision
from spider_jax.runtime.threads import one_core
from support.compiled_programs import float32_programs
from support.double_programs import float64_programs
from support.lowered import (
    ACCELERATORS,
    Program,
    calls_of_the_host,
    donated,
    doubles,
    inexact_products,
    products,
    text_for,
)

NO_PRODUCT = ("initial weights", "core _trends", "core _all_predictions")
BESIDE = {"task side, few"}  # of form "few" tokens are used as they come


@pytest.fixture(scope="module")
def single() -> list[Program]:
    return list(float32_programs())


@pytest.fixture(scope="module")
def double() -> Iterator[list[Program]]:
    with pytest.MonkeyPatch.context() as patch:
        yield list(float64_programs(patch))


def faults(program: Program, platform: str) -> list[str]:
    """What is wrong with a program on a platform."""
    text = text_for(program, platform)
    found = [f"inexact: {line}" for line in inexact_products(text)]
    found += [f"on the host: {name}" for name in calls_of_the_host(text)]
    found += ["float64"] if bool(doubles(text)) != program.double else []
    found += ["not donated"] if donated(text) != program.donated and not by_pmap(program) else []
    none = program.name.startswith((*NO_PRODUCT, *BESIDE))
    return found + ["no product is seen"] * (bool(products(text)) == none)


def by_pmap(program: Program) -> bool:
    """Whether JAX hides what a call donates."""
    return not hasattr(program.call, "trace")


@pytest.mark.parametrize("platform", ACCELERATORS)
def test_programs_of_float32(platform: str, single: list[Program]) -> None:
    found = {program.name: faults(program, platform) for program in single}
    assert len(found) == len(single) > 60
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_pmap_donates_its_state(single: list[Program]) -> None:
    (program,) = filter(by_pmap, single)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes int counts with floats
        lowered = program.call.lower(*program.given)  # type: ignore[attr-defined]
    assert donated(lowered.as_text()) == program.donated > 0


def test_programs_of_float64_on_a_gpu(double: list[Program]) -> None:
    found = {program.name: faults(program, "cuda") for program in double}
    assert len(found) == len(double) > 12
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_no_program_is_left_out(single: list[Program], double: list[Program]) -> None:
    """Who adds a compiled program adds it to those that are lowered here."""
    package = Path(spider_jax.__file__).parent
    made = {
        f"{'.'.join(path.relative_to(package).with_suffix('').parts)}:{name}"
        for path in package.rglob("*.py")
        for name in compiled_in(ast.parse(path.read_text()))
    }
    assert made == {program.of for program in [*single, *double]}


def compiled_in(tree: ast.AST, inside: str = "") -> Iterator[str]:
    """Where jax.jit and jax.pmap stand: the function that they decorate or that calls them."""
    for node in ast.iter_child_nodes(tree):
        name = inside
        if isinstance(node, ast.Assign) and not inside:
            name = ast.unparse(node.targets[0])
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = f"{inside}.{node.name}".removeprefix(".")
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("jax.jit", "jax.pmap"):
            yield inside
        yield from compiled_in(node, name)


def test_where_compiled_programs_stand_is_found() -> None:
    code = """
@jax.jit
def a(): ...
@partial(jax.jit, static_argnames="x")
def b(): ...
c = jax.jit(b)
class D:
    def e(self):
        return jax.pmap(a)
def f():
    jax.vmap(a)
"""
    assert list(compiled_in(ast.parse(code))) == ["a", "b", "c", "D.e"]


# ---- float64 ---------------------------------------------------------------------------------


def test_float64_is_computed_on_the_host_where_a_device_has_none() -> None:
    with jax.default_device(one_core()):  # stands for a device: another than the host's first
        for kind in (CPU, GPU):
            with double_precision(kind):
                assert jnp.zeros(2).devices() == {one_core()}
        with double_precision(TPU):
            found = jnp.zeros(2) + jnp.ones(2)
        assert found.dtype == "float64"
        assert found.devices() == {jax.devices("cpu")[0]} != {one_core()}
    assert jnp.zeros(2).dtype == "float32"


def test_nothing_else_switches_float64_on() -> None:
    package = Path(spider_jax.__file__).parent
    switched = [p.name for p in package.rglob("*.py") if "enable_x64(True)" in p.read_text()]
    assert sorted(switched) == ["double_precision.py", "single_precision.py"]  # a doctest
