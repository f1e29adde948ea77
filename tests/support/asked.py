"""What a command asks of the library, without the work."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import tyro


class Asked(NamedTuple):
    """The keywords and positional arguments of the call."""

    positional: tuple[Any, ...]
    named: dict[str, Any]


class CallError(Exception):
    pass


def asked_of(
    module: ModuleType, function: str, command: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Asked]:
    """`asked(zoo, "apples", ...)`: how the command calls the function of the module."""
    calls = []

    def note(*positional: object, **named: object) -> None:
        calls.append(Asked(positional, named))
        raise CallError

    def asked(*arguments: object) -> Asked:
        with pytest.raises(CallError):
            tyro.cli(command, args=[str(argument) for argument in arguments])
        return calls.pop()

    monkeypatch.setattr(module, function, note)
    return asked


def said_defaults(options: type) -> dict[str, str]:
    """What the help of a command says are the defaults of its options."""
    from typing import get_args, get_type_hints

    hints = get_type_hints(options, include_extras=True)
    said = {name: get_args(hint)[1].help_behavior_hint for name, hint in hints.items()}
    return {name: text.removeprefix("(default: ").removesuffix(")") for name, text in said.items()}
