"""
Where a status server is, as the user names it: a URL, or a socket in the file system.

What is asked there is said elsewhere.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from thing.trust.keywords import host

DEFAULT_STATUS = "http://127.0.0.1:9001"
"""Where the status server is if nothing is said."""

_SCHEMES = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class StatusAddress:
    """A status server, as the user named it."""

    text: str
    """What the user wrote."""

    host: str
    """Its host; ``localhost`` behind a socket in the file system."""

    port: int

    secure: bool = False
    """Whether to speak TLS with it."""

    socket: str | None = None
    """The path of its socket in the file system; None if it has none."""

    base: str = ""
    """What its paths begin with, if it is behind a proxy that gives it a part of a site."""

    @property
    def overhearable(self) -> bool:
        """Whether others on the network can read what is sent there."""
        if self.secure or self.socket is not None or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True


def parseStatus(text: str) -> StatusAddress:
    """
    Understand what the user wrote.

    :param text: a URL of ``http:`` or ``https:``, ``unix:PATH``, or ``http+unix:`` with the path,
        percent-encoded where a URL has the host.
    :return: the address.
    :raises ValueError: if it is none of these; the message says so.
    """
    if not text.isprintable() or " " in text:
        raise ValueError("an address has no blanks and no control characters")
    scheme, _, rest = text.partition(":")
    if scheme == "unix" and rest.strip("/"):
        return StatusAddress(text, "localhost", 0, socket=rest)
    parts = urlsplit(text)
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise ValueError("neither a user nor a query belongs there; a token goes into a file")
    if scheme == "http+unix":
        path, base = (unquote(parts.netloc), parts.path) if parts.netloc else (parts.path, "")
        if path.strip("/"):
            return StatusAddress(text, "localhost", 0, socket=path, base=base.rstrip("/"))
    if scheme not in _SCHEMES or not parts.hostname:
        raise ValueError(f"{text!r} is not http://HOST:PORT, https://HOST or unix:PATH")
    return StatusAddress(
        text,
        host(parts.hostname),
        parts.port or _SCHEMES[scheme],
        secure=scheme == "https",
        base=parts.path.rstrip("/"),
    )
