"""
What systemd is told, by the protocol of ``sd_notify(3)``, of a service of ``Type=notify``.

That the server is there, reads its keys anew, or drains; how many sessions it
has; and every few seconds that its reactor turns, so that one that hangs is
started again.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from thing.logger import Logger

TICK = 5.0
"""How often the status is told at least, seconds."""

STOP_MARGIN = 5.0
"""How long the process may take to end when nothing is left to wait for, seconds."""

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDNAMES")


class Supervisor:
    """
    Tells the service manager how the server is; without an address it is told nothing.

    What cannot be told is logged, once, and stops nothing.
    """

    _log = Logger()

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        """
        :param address: a path, or with a leading ``@`` a name, of a datagram socket.
        :param watchdog: within how many seconds it wants to hear of us; zero for never.
        """
        self._address = address
        self._watchdog = watchdog
        self._ticks: LoopingCall | None = None
        self._isReady = False
        self._status: Callable[[], str] = str
        self._failed = False

    @classmethod
    def fromEnvironment(cls, environ: MutableMapping[str, str]) -> Supervisor:
        """
        Take what the service manager put into the environment, so that no child finds it there.

        :param environ: the process's environment; it is changed.
        :return: tells whoever asked for it.
        """
        found = {name: environ.pop(name, "") for name in _VARIABLES}
        watchdog = 0.0
        if found["WATCHDOG_PID"] in ("", str(os.getpid())) and found["WATCHDOG_USEC"].isdecimal():
            watchdog = int(found["WATCHDOG_USEC"]) / 1e6
        return cls(found["NOTIFY_SOCKET"], watchdog)

    def ready(self, clock: IReactorTime, status: Callable[[], str]) -> None:
        """
        Tell that the server is there, and from then on how it is.

        :param clock: measures the time in between; its calls come only if the reactor turns.
        :param status: says in a few words how it is.
        """
        if not self._address or self._ticks is not None:
            return
        self._status = status
        self._isReady = True
        self._tell("READY=1", f"STATUS={status()}")
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = clock
        # Half of the time is what sd_watchdog_enabled(3) recommends.
        self._ticks.start(min(TICK, self._watchdog / 2 or TICK), now=False)

    def _tick(self) -> None:
        alive = ["WATCHDOG=1"] if self._watchdog else []
        self._tell(*alive, f"STATUS={self._status()}")

    def reloading(self) -> None:
        """Tell that the keys are read anew; nothing unless the server is there, and stays."""
        if self._isReady:
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._tell("RELOADING=1", f"MONOTONIC_USEC={now}")

    def reloaded(self) -> None:
        """Tell that they are read, or that the old ones stay."""
        if self._isReady:
            self._tell("READY=1", f"STATUS={self._status()}")

    def stopping(self, seconds: float) -> None:
        """
        Tell that the server drains; how it is goes on to be told.

        :param seconds: for how long at most.
        """
        self._isReady = False
        extended = int((seconds + STOP_MARGIN) * 1e6)
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={extended}", f"STATUS={self._status()}")

    def stopped(self) -> None:
        """Tell nothing any more."""
        ticks, self._ticks = self._ticks, None
        if ticks is not None:
            ticks.stop()

    def _tell(self, *assignments: str) -> None:
        if not self._address:
            return
        try:
            _send(os.fsencode(self._address), "\n".join(assignments).encode())
        except (OSError, ValueError) as error:
            if not self._failed:
                self._failed = True
                self._log.error("The service manager cannot be told: {reason}", reason=str(error))


def _send(address: bytes, message: bytes) -> None:
    if address[:1] not in (b"/", b"@"):
        raise ValueError("NOTIFY_SOCKET is neither a path nor an abstract name")
    if address.startswith(b"@"):
        address = b"\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(message, address)
