"""The one error that means: the input is wrong, not the program."""


class InputError(ValueError):
    """Bad input, said in one line: which argument or file, what rule, what value, what to do.

    The command line prints the line and exits 2; the library raises it before anything is written.
    """


def one_line(error: BaseException) -> str:
    """What an exception of other code says, in one line.

    Args:
        error: any exception.

    Returns:
        Its class and its message, at most 300 characters.

    >>> one_line(OSError("no space\\n  left"))
    'OSError: no space left'
    """
    text = " ".join(str(error).split())
    name = type(error).__name__
    return (f"{name}: {text}" if text else name)[:300]
