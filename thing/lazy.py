"""
Names that a package has from its modules, each imported when it is first used (PEP 562).

A package says them twice: in a table, by which they are imported, and below ``TYPE_CHECKING``, by
which type checkers, editors and Sphinx see each of them. A test holds the two to each other.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module


def importer(
    package: str, homes: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """
    Make a package's ``__getattr__`` and ``__dir__``.

    :param package: its name.
    :param homes: the modules that names come from, with the names.
    :return: what imports a name from its home, and keeps it in the package; and what tells the
        names that are not imported yet, too.
    """
    homeOf = {name: home for home, names in homes.items() for name in names}

    def imported(name: str) -> object:
        home = homeOf.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(home), name)
        setattr(sys.modules[package], name, value)
        return value

    def told() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homeOf})

    return imported, told
