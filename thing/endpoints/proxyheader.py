"""
The header with which a proxy tells a server who the client is: the PROXY protocol, version 2.

Its layout is HAProxy's (https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt). What Thing
puts into it is documented in docs/operating.rst.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress

from thing.core.networks import plainHost
from thing.session.protocol import ThingProtocol

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_PROXY = 0x21
"""Version 2, and a connection that is made for a client."""

_UNSPEC, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_UNIX_SIZE = 108
"""How many octets the path of a unix socket has, zeros at its end included."""

_UNIQUE_ID, _SSL = 0x05, 0x20
_SSL_VERSION, _SSL_CN = 0x21, 0x22

FINGERPRINT = 0xE0
"""The type, of those that are free for use, of the fingerprint of the thing's key."""

VERSION = b"Thing 1"
"""What stands where the version of TLS does."""

_SECURE, _CERTIFIED = 0x01, 0x06
"""Flags: the connection is encrypted; the client proved itself, in this connection and session."""


def proxyHeader(protocol: ThingProtocol) -> bytes:
    """
    Write the header for a session.

    :param protocol: the session's, which is up.
    :return: the octets to begin with.
    """
    transport: Any = protocol.transport
    family, addresses = _addresses(protocol.address, transport.getHost())
    body = addresses + _known(protocol)
    return _SIGNATURE + struct.pack("!BBH", _PROXY, family, len(body)) + body


def _addresses(source: IAddress | None, destination: IAddress | None) -> tuple[int, bytes]:
    """The family and the addresses; nothing is said if there are none, or of different kinds."""
    pair: tuple[Any, Any] = (source, destination)
    if all(isinstance(each, UNIXAddress) for each in pair):
        return _UNIX, b"".join((each.name or b"").ljust(_UNIX_SIZE, b"\0") for each in pair)
    for number, family in ((socket.AF_INET, _TCP4), (socket.AF_INET6, _TCP6)):
        try:
            names = [plainHost(each.host).partition("%")[0] for each in pair]
            hosts = b"".join(socket.inet_pton(number, name) for name in names)
            return family, hosts + struct.pack("!HH", *(each.port for each in pair))
        except (AttributeError, OSError, UnicodeEncodeError, struct.error):
            continue  # It is another kind, or what a header of version 1 had made up.
    return _UNSPEC, b""


def _known(protocol: ThingProtocol) -> bytes:
    """What is known of session and thing, as TLVs."""
    peer = protocol.peer
    assert peer is not None, "there is no backend before the session is up"
    proved = not peer.anonymous
    inner = _tlv(_SSL_VERSION, VERSION)
    if peer.name:
        inner += _tlv(_SSL_CN, peer.name.encode())
    flags = _SECURE | _CERTIFIED if proved else _SECURE
    known = _tlv(_UNIQUE_ID, protocol.sessionId.encode())
    known += _tlv(_SSL, struct.pack("!BI", flags, not proved) + inner)
    if peer.fingerprint:
        known += _tlv(FINGERPRINT, peer.fingerprint.encode())
    return known


def _tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value
