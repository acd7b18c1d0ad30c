"""What is left, with the collector off, of what nobody refers to any more."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collectorOff() -> Iterator[Counter[str]]:
    """
    Let only reference counting free what is made inside.

    :return: a context manager for what only the collector could free: of Thing's objects, how
        many of each type. The transports of tests do not count.
    """
    left: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield left
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left.update(
            f"{type(each).__module__}.{type(each).__qualname__}"
            for each in gc.garbage
            if type(each).__module__.startswith(("thing.", "tests."))
            and not type(each).__module__.startswith("thing.testing.")
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
