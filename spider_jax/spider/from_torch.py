"""Weights of the published torch code under our names; torch itself is not needed."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.spider.own_maps import OwnMaps
from spider_jax.spider.torch_checkpoint import check_settings, published_state
from spider_jax.spider.weights import Weights

log = logging.getLogger("spider_jax")

# Published name -> (ours, shape in the letters of a spider, transposed: torch computes x W^T).
NAMES: dict[str, tuple[str, tuple[str, ...], bool]] = {
    "model_prompt": ("theta", ("1", "M", "d"), False),
    "uni_linear.weight": ("project", ("d", "D"), True),
    "uni_linear.bias": ("project_bias", ("d",), False),
    "transformer.w_qs.weight": ("query", ("d", "d"), True),
    "transformer.w_ks.weight": ("key", ("d", "d"), True),
    "transformer.w_vs.weight": ("value", ("d", "d"), True),
    "transformer.fc.weight": ("output", ("d", "d"), True),
    "transformer.fc.bias": ("output_bias", ("d",), False),
    "transformer.layer_norm.weight": ("norm_scale", ("d",), False),
    "transformer.layer_norm.bias": ("norm_bias", ("d",), False),
    "mlp_head.0.weight": ("head_norm_scale", ("d",), False),
    "mlp_head.0.bias": ("head_norm_bias", ("d",), False),
    "mlp_head.1.weight": ("head", ("1", "d"), False),
    "mlp_head.1.bias": ("head_bias", ("1",), False),
}
OWN_LINEAR = re.compile(r"hete_linears\.(.+)\.(?:weight|bias)")
IGNORED = ("uni_prompt", "hete_prompt")
SCORED = ("transformer.", "mlp_head.", "uni_linear.", "hete_linears.")  # nothing of these is left


def read_state(
    state: Mapping[str, object],
    models: Sequence[str],
    *,
    attn_pool: str = "cls",
    extra_prompt: bool = False,
) -> tuple[Weights, dict[str, int], OwnMaps | None]:
    """An ensemble of one from a published checkpoint.

    Args:
        state: published name -> array or tensor, or what was saved, see `published_state`;
            `uni_prompt` and `hete_prompt` are ignored.
        models: M names, in the order of `model_prompt`.
        attn_pool: of the training, see `check_settings`.
        extra_prompt: of the training, see `check_settings`.

    Returns:
        Weights with a leading axis of 1; the feature width of every model that has a linear layer
        of its own; these layers, None where no model has one.

    Raises:
        InputError: a parameter is missing, of another shape or not finite; a linear layer of a
            model that is not named; a network that scores in another way.
    """
    check_settings({"attn_pool": attn_pool, "heterogeneous_extra_prompt": extra_prompt})
    state = published_state(state)
    sizes = {"1": 1, "M": len(models)}
    arrays: dict[str, NDArray[np.float32]] = {}
    for published, (ours, letters, transposed) in NAMES.items():
        array = _array(state, published)
        _check_shape(published, array, letters, sizes)
        arrays[ours] = array.T if transposed else array
    arrays["head_bias"] = arrays["head_bias"][0]
    arrays["head"] = arrays["head"][0]
    arrays["theta"] = arrays["theta"][0]
    widths = _own_widths(state, models, sizes["d"])
    known = (*NAMES, *IGNORED)
    rest = [name for name in state if name not in known and not OWN_LINEAR.fullmatch(name)]
    for name in rest:
        if name.startswith(SCORED):
            raise InputError(f"state has {name!r}, which the published network has not: not read")
    if rest:
        log.warning("ignored in the torch checkpoint: %s", ", ".join(map(repr, sorted(rest))))
    ready = {name: np.array(array)[None] for name, array in arrays.items()}
    return Weights(**ready), widths, _own_maps(state, models, widths, sizes["d"])  # type: ignore[arg-type]


def _own_maps(
    state: Mapping[str, object], models: Sequence[str], widths: Mapping[str, int], d: int
) -> OwnMaps | None:
    """The models' own linear layers: the first factor is the layer, the second leaves it be."""
    if not widths:
        return None
    starts = np.cumsum([0, *(widths.get(model, 0) for model in models)])
    matrix, bias = np.zeros((starts[-1], d), np.float32), np.zeros((1, len(models), d), np.float32)
    for i, model in enumerate(models):
        if model in widths:
            layer = f"hete_linears.{model}"
            matrix[starts[i] : starts[i + 1]] = _array(state, f"{layer}.weight").T
            shift = _array(state, f"{layer}.bias")
            _check_shape(f"{layer}.bias", shift, ("d",), {"d": d})
            bias[0, i] = shift
    same = np.broadcast_to(np.eye(d, dtype=np.float32), (1, len(models), d, d))
    return OwnMaps(
        starts, np.zeros(starts[-1], np.float32), matrix, np.ascontiguousarray(same), bias
    )


def _array(state: Mapping[str, object], name: str) -> NDArray[np.float32]:
    if name not in state:
        raise InputError(f"state lacks {name!r}: is it a checkpoint of the published code?")
    value: Any = state[name]
    try:
        if hasattr(value, "detach"):  # NumPy has no bfloat16; what is complex stays so
            value = value.detach().cpu()
            value = value if value.is_complex() else value.float()
        if np.iscomplexobj(value):
            raise TypeError("they are complex")
        with np.errstate(over="ignore"):  # what is too large becomes infinite and is refused below
            array = np.asarray(value, np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"state[{name!r}] must be an array of real numbers: {reason}") from None
    if not np.isfinite(array).all():
        raise InputError(f"state[{name!r}] must be finite, got NaN or infinity")
    return array


def _check_shape(
    name: str, array: NDArray[np.float32], letters: tuple[str, ...], sizes: dict[str, int]
) -> None:
    """The shape against what is known of M, d and D; the first array with a letter sets it."""
    if array.ndim == len(letters):
        for letter, size in zip(letters, array.shape, strict=True):
            sizes.setdefault(letter, size)
    wanted = tuple(sizes.get(letter, letter) for letter in letters)
    if array.shape != wanted:
        raise InputError(
            f"state[{name!r}] must be [{', '.join(letters)}] = {wanted}, got {array.shape}"
        )


def _own_widths(state: Mapping[str, object], models: Sequence[str], d: int) -> dict[str, int]:
    """Feature width by model, from the linear layers that models have for their own features."""
    widths = {}
    for name in state:
        found = OWN_LINEAR.fullmatch(name)
        if found and found[1] not in models:
            raise InputError(f"state has {name!r}, but models do not name {found[1]!r}")
        if found and name.endswith(".weight"):
            array = _array(state, name)
            _check_shape(name, array, ("d", "D_m"), {"d": d})
            widths[found[1]] = array.shape[1]
    return widths
