"""Where the published parameters stand in what was saved, and how that network scores."""

from collections.abc import Iterator, Mapping
from typing import Any

from spider_jax.errors import InputError

ANCHOR = "model_prompt"  # every published checkpoint has it
DEPTH = 3  # of mappings in mappings
# Option of the published code -> the only value that is scored; other names that it goes by.
SETTINGS: dict[str, tuple[object, tuple[str, ...]]] = {
    "attn_pool": ("cls", ("attn_pool", "pool")),
    "heterogeneous_extra_prompt": (False, ("heterogeneous_extra_prompt", "hete_extra_prompt")),
}
WHY = {
    "attn_pool": "only the model's own row is read, not the mean of all rows",
    "heterogeneous_extra_prompt": (
        "the published code adds the prompt once more for every model, so that a score depends on "
        "the order of the models"
    ),
}


def published_state(state: Mapping[str, object]) -> dict[str, object]:
    """The parameters under their published names.

    A file may hold them as one entry beside others (`{"model": ..., "epoch": 3}`), and wrappers
    put a prefix before every name (`module.` of DataParallel, `_orig_mod.` of torch.compile).

    Args:
        state: what was saved.

    Returns:
        Published name -> array or tensor; what has no such prefix keeps its name.

    Raises:
        InputError: no mapping, no or several sets of parameters, or settings beside them that say
            that the network scores in another way.
    """
    if not isinstance(state, Mapping):
        kind = type(state).__name__
        raise InputError(
            f"state must be a mapping of names to arrays, got {kind}: give module.state_dict()"
        )
    found = list(_sets(state, "state", DEPTH))
    if not found:
        raise InputError(f"state lacks {ANCHOR!r}: is it a checkpoint of the published code?")
    if len(found) > 1:
        places = ", ".join(f"{where} ({prefix + ANCHOR!r})" for where, prefix, _ in found)
        raise InputError(f"state must hold the parameters of one network, got {places}: give one")
    _check_beside(state, DEPTH)
    _, prefix, parameters = found[0]
    return {name.removeprefix(prefix): value for name, value in parameters.items()}


def _sets(
    state: Mapping[Any, Any], where: str, depth: int
) -> Iterator[tuple[str, str, Mapping[str, object]]]:
    """Every set of parameters: where it stands, the prefix of its names, and the mapping."""
    names = {str(name) for name in state}
    for name in sorted(names):
        if name == ANCHOR or name.endswith("." + ANCHOR):
            yield where, name.removesuffix(ANCHOR), {str(n): v for n, v in state.items()}
    for name, value in state.items():
        if depth and isinstance(value, Mapping):
            yield from _sets(value, f"{where}[{name!r}]", depth - 1)


def _check_beside(state: Mapping[Any, Any], depth: int) -> None:
    """Check the settings that were saved beside the parameters, as a mapping or a namespace."""
    check_settings(state)
    for value in state.values():
        inner = value if isinstance(value, Mapping) else getattr(value, "__dict__", None)
        if depth and isinstance(inner, Mapping):
            _check_beside(inner, depth - 1)


def check_settings(settings: Mapping[Any, Any]) -> None:
    """Refuse a network that scores otherwise than from the row of the model's own token.

    Args:
        settings: options of the published code; others are passed over. Parameters do not tell
            them: the prompts are in every checkpoint, used or not.

    Raises:
        InputError: `attn_pool` that is not "cls", or extra prompts.
    """
    for option, (wanted, names) in SETTINGS.items():
        for name in names:
            given = settings.get(name, wanted)
            if isinstance(given, str | bool | int) and given != wanted:
                raise InputError(
                    f"{option} must be {wanted!r}, got {given!r}: {WHY[option]}. "
                    f"Train it anew with {wanted!r}, or score it with the code that made it"
                )
