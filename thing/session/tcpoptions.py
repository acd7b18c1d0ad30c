"""
:class:`TcpOptions`: what may be asked of the TCP connection below a transport.

None is set here unasked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any


class TcpOptions(ABC):
    """The part of ``ITCPTransport`` that a session's transports pass on to the one below."""

    __slots__ = ()

    @property
    @abstractmethod
    def _tcp(self) -> Any:
        """The transport below, of whatever kind; None once it is gone."""

    def getTcpNoDelay(self) -> bool:
        """:return: whether small packets are sent at once; false where there is no TCP."""
        return bool(self._ask("getTcpNoDelay"))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Send small packets at once or not, where there is TCP; Thing does from the start.

        :param enabled: whether to.
        """
        self._ask("setTcpNoDelay", enabled)

    def getTcpKeepAlive(self) -> bool:
        """:return: whether TCP probes idle connections; false where there is no TCP."""
        return bool(self._ask("getTcpKeepAlive"))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Let TCP probe idle connections or not, where there is TCP; heartbeats make it needless.

        :param enabled: whether to.
        """
        self._ask("setTcpKeepAlive", enabled)

    def _ask(self, name: str, *args: object) -> object:
        method = getattr(self._tcp, name, None)
        if method is not None:
            with suppress(OSError):  # Some unix sockets' transports have the methods, too.
                return method(*args)
        return None
