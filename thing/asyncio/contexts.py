"""
What ``async with`` and ``await`` do with what is opened, and closed in the end.

What is opened, and how it ends, is said by whoever uses them.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self


class Closing(ABC):
    """What is closed in order in the end of an ``async with``, and at once if that is cancelled."""

    @abstractmethod
    def close(self) -> None:
        """Begin to end, in order."""

    @abstractmethod
    async def wait_closed(self) -> object:
        """Wait for the end."""

    @abstractmethod
    def _cut(self) -> None:
        """End at once."""

    async def __aenter__(self) -> Self:
        """:return: this."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close, and wait for the end; cancelled meanwhile, end at once."""
        self.close()
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self._cut()
            raise


C = TypeVar("C", bound=Closing)


class Opening(ABC, Generic[C]):
    """What opens something: for an ``async with``, or by ``await`` for who closes it."""

    _opened: C | None = None

    @abstractmethod
    async def _open(self) -> C:
        """Open it."""

    def __await__(self) -> Generator[Any, None, C]:
        """:return: what is open."""
        return self._open().__await__()

    async def __aenter__(self) -> C:
        """:return: what is open."""
        self._opened = await self._open()
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it, and wait for the end."""
        assert self._opened is not None, "it was entered"
        await self._opened.__aexit__(kind, error, traceback)
