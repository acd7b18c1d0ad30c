"""
What a program gives, looked at when it gives it: a mistake is one sentence that says what to do.

What is of a wrong kind is a ``TypeError``; what is out of bounds is a
:class:`~thing.errors.BadArgument`, which is a ``ValueError``, too.
"""

from __future__ import annotations

import inspect
import math

from thing.errors import BadArgument


def checkKind(name: str, value: object, kinds: type | tuple[type, ...], wanted: str) -> None:
    """
    Refuse what is of another kind.

    :param name: what the argument is called.
    :param value: what was given.
    :param kinds: what it may be an instance of.
    :param wanted: what it is to be, and how one gets that.
    :raises TypeError: if it is none.
    """
    if not isinstance(value, kinds):
        raise TypeError(f"{name} is {wanted}, not {described(value)}")


def checkMethods(name: str, value: object, methods: tuple[str, ...], wanted: str) -> None:
    """
    Refuse what cannot do something; a class cannot, only its instances.

    :param name: what the argument is called.
    :param value: what was given.
    :param methods: what it can be asked.
    :param wanted: what it is to be, and how one gets that.
    :raises TypeError: if it cannot.
    """
    if isinstance(value, type) or not all(hasattr(value, method) for method in methods):
        raise TypeError(f"{name} is {wanted}, not {described(value)}")


def checkCallable(name: str, value: object, awaited: bool = False) -> None:
    """
    Refuse what can neither be called nor is None.

    :param name: what the argument is called.
    :param value: what was given.
    :param awaited: whether it may be a coroutine function; nobody awaits it elsewhere.
    :raises TypeError: if it cannot be called.
    """
    if value is not None and not callable(value):
        raise TypeError(f"{name} is something to call, not {described(value)}")
    if not awaited and isCoroutineFunction(value):
        raise TypeError(f"{name} is a function, not a coroutine function: nobody awaits it")


def checkCoroutine(name: str, value: object) -> None:
    """
    Refuse what is no coroutine function.

    :param name: what the argument is called.
    :param value: what was given.
    :raises TypeError: if it is none.
    """
    if not isCoroutineFunction(value):
        raise TypeError(f"{name} is a coroutine function, by async def, not {described(value)}")


def isCoroutineFunction(value: object) -> bool:
    """
    Tell whether what is called gives what must be awaited.

    :param value: what was given.
    :return: whether it is a coroutine function, or an object with ``async def __call__``.
    """
    call = getattr(type(value), "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(call)


def checkNumber(
    name: str, value: object, unit: str = "seconds", least: float = 0.0, most: float = math.inf
) -> None:
    """
    Refuse what is no number, or one out of bounds.

    :param name: what the argument is called.
    :param value: what was given.
    :param unit: what it counts.
    :param least: the least that is allowed; never less than something.
    :param most: the most; never without end.
    :raises TypeError: if it is no number.
    :raises BadArgument: if it is out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number of {unit}, not {described(value)}")
    if not (least <= value <= most and 0 < value < math.inf):
        bounds = "positive" if most == math.inf else f"within {least:g} to {most:g}"
        raise BadArgument(f"{name} is {value:g} {unit}, but must be {bounds}")


def checkCount(name: str, value: object, least: int = 1) -> None:
    """
    Refuse what is no whole number, or too small.

    :param name: what the argument is called.
    :param value: what was given.
    :param least: the least that is allowed.
    :raises TypeError: if it is no whole number.
    :raises BadArgument: if it is too small.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number, not {described(value)}")
    if value < least:
        raise BadArgument(f"{name} is {value}, but must be {least} or more")


def checkFlag(name: str, value: object) -> None:
    """
    Refuse what is neither true nor false.

    :param name: what the argument is called.
    :param value: what was given.
    :raises TypeError: if it is neither.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {described(value)}")


def described(value: object) -> str:
    """
    Say what somebody gave, but not what is in it: that may be a secret.

    :param value: what was given.
    :return: a few words.
    """
    if value is None or isinstance(value, bool | float | int):
        return repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    return f"a {type(value).__name__}"
