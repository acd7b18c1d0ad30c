"""
:class:`SessionFacts`: what can be asked of a session on asyncio at any time, after its end, too.

What can be done with one is in :mod:`thing.asyncio.session`.
"""

from __future__ import annotations

from typing import Any

from thing.asyncio.link import Link
from thing.core.client import ClientConnection
from thing.core.server import ServerConnection
from thing.events import Session as Agreed
from thing.events import Termination
from thing.identity import Identity


class SessionFacts:
    """What is known of a session."""

    link: Link
    _core: ClientConnection | ServerConnection

    @property
    def agreed(self) -> Agreed | None:
        """What both sides agreed on: id, peer, group, AEAD, TTL; None before the session is up."""
        return self._core.session

    @property
    def session_id(self) -> str:
        """The session id in hexadecimal, the same on both sides; empty before it is up."""
        return "" if self.agreed is None else self.agreed.sessionId.hex()

    @property
    def peer(self) -> Identity | None:
        """Who the peer is; None before the session is up."""
        return None if self.agreed is None else self.agreed.peer

    @property
    def termination(self) -> Termination | None:
        """How the session ended; None while it has not."""
        return self._core.termination

    @property
    def ttl(self) -> float | None:
        """The TTL as the server granted it last, seconds."""
        return self._core.ttl

    @property
    def round_trip_time(self) -> float | None:
        """What the client's last acknowledged heartbeat measured, seconds; None before one."""
        return self._core.roundTripTime

    @property
    def silence(self) -> float | None:
        """How long it is since the session was renewed, seconds; None if that does not count."""
        return self._core.silence(self.link.now)

    @property
    def remote_address(self) -> Any:
        """Where the peer is, as asyncio's ``peername``; None once the stream is gone."""
        transport = self.link.transport
        return None if transport is None else transport.get_extra_info("peername")

    def export_keying_material(self, label: str, context: bytes, length: int) -> bytes:
        """
        Derive octets that only the two ends of this session know, for channel binding.

        :param label: what they are for; ASCII, at most 128 characters.
        :param context: what else they are bound to.
        :param length: how many, 1 to 8160.
        :return: the same octets on both sides.
        :raises LocalProtocolError: if the session is not up, or an argument is out of bounds.
        """
        return self._core.exportKeyingMaterial(label, context, length)
