"""Every check of the lowering tests finds what it is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from support.lowered import (
    ACCELERATORS,
    Program,
    calls_of_the_host,
    donated,
    doubles,
    inexact_products,
    of_shape,
    products,
    text_for,
)

SQUARE = of_shape(4, 4)


def lowered(call, *given, platform="tpu", **more):
    return text_for(Program("", "", jax.jit(call, **more), given or (SQUARE,)), platform)


@pytest.mark.parametrize("platform", ACCELERATORS)
@pytest.mark.parametrize("precision", [None, "default", "high", ("highest", "default")])
def test_a_product_of_less_than_the_highest_precision_is_found(precision, platform):
    text = lowered(lambda a: jnp.matmul(a, a, precision=precision), platform=platform)
    assert len(inexact_products(text)) == len(products(text)) == 1


def test_a_product_of_the_highest_precision_passes():
    text = lowered(lambda a: jnp.matmul(a, a, precision="highest"))
    assert products(text)
    assert not inexact_products(text)


@pytest.mark.parametrize(("precision", "wrong"), [(None, 1), ("highest", 0)])
def test_a_convolution_is_a_product(precision, wrong):
    image, kernel = of_shape(1, 3, 8, 8), of_shape(4, 3, 3, 3)
    text = lowered(
        lambda x, k: jax.lax.conv(x, k, (1, 1), "SAME", precision=precision), image, kernel
    )
    assert (len(products(text)), len(inexact_products(text))) == (1, wrong)


@pytest.mark.parametrize(("kind", "wrong"), [("float32", 0), ("bfloat16", 1)])
def test_bfloat16_is_summed_in_float32(kind, wrong):
    a = of_shape(4, 4, dtype="bfloat16")
    text = lowered(lambda a: jnp.matmul(a, a, preferred_element_type=kind), a)
    assert len(inexact_products(text)) == wrong


def test_float32_that_is_rounded_to_bfloat16_by_the_product_is_found():
    text = lowered(lambda a: jax.lax.dot(a, a, precision=jax.lax.DotAlgorithmPreset.BF16_BF16_F32))
    assert len(inexact_products(text)) == 1


def test_float64_is_found():
    program = Program("", "", jax.jit(lambda a: a.astype(float).sum()), (SQUARE,))
    assert not doubles(text_for(program, "tpu"))
    assert doubles(text_for(program._replace(double=True), "tpu"))


def call_back(a):
    return jax.pure_callback(np.negative, jax.ShapeDtypeStruct(a.shape, a.dtype), a)


@pytest.mark.parametrize("platform", ACCELERATORS)
def test_a_call_of_the_host_is_not_even_lowered_for_another_machine(platform):
    with pytest.raises(ValueError, match="platform"):
        lowered(call_back, platform=platform)


def test_a_call_of_the_host_is_found():
    assert len(calls_of_the_host(jax.jit(call_back).lower(SQUARE).as_text())) == 1


def test_a_call_that_stays_on_the_device_passes():
    text = lowered(jnp.linalg.inv, platform="cuda")
    assert "cusolver" in text
    assert not calls_of_the_host(text)


def test_what_is_donated_is_counted():
    pair = of_shape(4), of_shape(4)
    assert donated(lowered(lambda a, b: (a + 1, b), *pair)) == 0
    assert donated(lowered(lambda a, b: (a + 1, b), *pair, donate_argnums=0)) == 1
    assert donated(lowered(lambda a, b: (a + 1, b), *pair, donate_argnums=(0, 1))) == 2
