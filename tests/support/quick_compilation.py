"""Compilation that is quick: a test runs most programs once, and compiling them takes its time.

Beside most optimisations, XLA on CPU does without its newer way to make code of what it fuses,
which takes twice to three times as long. Where JAX or XLA know that option no more, tests are
slower and nothing else.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import jax
import pytest
from jax._src import compiler

OPTION = "xla_cpu_use_fusion_emitters"
OPTIMIZE = "jax_disable_most_optimizations"


@contextmanager
def quick_compilation() -> Iterator[None]:
    """What is compiled inside is compiled quickly."""
    before = jax.config.read(OPTIMIZE)
    jax.config.update(OPTIMIZE, True)
    try:
        if not _can_be_set_here():
            yield
            return
        with _without_emitters():
            yield
    finally:
        jax.config.update(OPTIMIZE, before)


_quick: ExitStack | None = None


def compile_quickly(quick: bool) -> None:
    """From here on; what was compiled the other way is compiled anew."""
    global _quick
    if quick == (_quick is not None):
        return
    jax.clear_caches()
    if _quick is not None:
        _quick.close()
        _quick = None
    if quick:
        _quick = ExitStack()
        _quick.enter_context(quick_compilation())


@cache
def quick_environment() -> dict[str, str]:
    """Variables of a process that compiles quickly all that it compiles."""
    variables = {OPTIMIZE.upper(): "1"}
    if _is_known():
        flags = os.environ.get("XLA_FLAGS", ""), f"--{OPTION}=false"
        variables["XLA_FLAGS"] = " ".join(filter(None, flags))
    return variables


@contextmanager
def _without_emitters() -> Iterator[None]:
    """JAX has no setting of this option for all programs: it is added where JAX makes them."""
    made = compiler.get_compile_options

    def with_option(*arguments: Any, **options: Any) -> Any:
        own = dict(options.pop("env_options_overrides", None) or {})
        return made(*arguments, env_options_overrides={OPTION: False} | own, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "get_compile_options", with_option)
        yield


@cache
def _can_be_set_here() -> bool:
    try:
        with _without_emitters():
            jax.jit(lambda: 1)()
    except Exception:
        return False
    return True


@cache
def _is_known() -> bool:
    try:
        jax.jit(lambda: 1, compiler_options={OPTION: False})()
    except Exception:
        return False
    return True
