"""
Who may ask: whoever has the token; without one, programs and pages of this machine. With another
token one may only look.

Only heads of requests are looked at, and nothing is answered here.
"""

from __future__ import annotations

import hmac
import re
from enum import Enum
from ipaddress import ip_address
from typing import Protocol

from twisted.web.http_headers import Headers

from thing.errors import CredentialError
from thing.fleet.http.answers import Problem
from thing.logger import Logger
from thing.trust.files import readFile, stampOf

MIN_TOKEN = 16
"""The fewest characters of a token: nobody guesses so many, if they are random."""

MAX_TOKEN = 1024
"""The most characters of a token."""

SAFE_METHODS = (b"GET", b"HEAD")
"""What changes nothing."""

_EARLY = (b"Sec-Purpose", b"Purpose", b"X-Moz")
"""With these a browser says that it fetches in advance."""


class Role(Enum):
    """What one may do."""

    VIEWER = "viewer"
    """Look, and change nothing."""

    ADMIN = "admin"
    """All that there is."""


class Token(Protocol):
    """Knows a token."""

    def admits(self, given: bytes) -> bool:
        """
        Compare, in a time that tells nothing of the token.

        :param given: what a client says that it is.
        :return: whether it is.
        """


class FileToken:
    """
    The token that the first line of a file holds; a change of the file counts at once.

    While the file cannot be read, the token that it held last counts.
    """

    _log = Logger()

    def __init__(self, path: str) -> None:
        """
        :param path: the file, which only its owner may read.
        :raises CredentialError: if it is of no use.
        """
        self._path = path
        self._seen = stampOf(path)
        self._token = _readToken(path)

    def isSameAs(self, other: Token) -> bool:
        """
        Tell whether two tokens are one.

        :param other: the other.
        :return: whether they are now.
        """
        self._readAgain()
        return other.admits(self._token)

    def admits(self, given: bytes) -> bool:
        """
        Compare, in a time that tells nothing of the token.

        :param given: what a client says that it is.
        :return: whether it is.
        """
        self._readAgain()
        return hmac.compare_digest(given, self._token)

    def _readAgain(self) -> None:
        seen = stampOf(self._path, self._seen)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._token = _readToken(self._path)
        except CredentialError as error:
            self._log.error("The token stays as it was: {reason}", reason=str(error))
        else:
            self._log.info("The token was read anew")


def _readToken(path: str) -> bytes:
    line = readFile(path, 64 * 1024, private=True).partition(b"\n")[0].strip()
    if not re.fullmatch(rb"[!-~]+", line) or not MIN_TOKEN <= len(line) <= MAX_TOKEN:
        raise CredentialError(
            f"{path}: the first line is not a token of {MIN_TOKEN} to {MAX_TOKEN} characters, "
            "ASCII without spaces"
        )
    return line


class Guard:
    """Decides whether a request may be answered, and who asks."""

    def __init__(self, token: Token | None, viewToken: Token | None = None) -> None:
        """
        :param token: what clients must know; None if only this machine can connect.
        :param viewToken: what they may know instead to look, and no more; None for nothing.
        """
        self._token = token
        self._viewToken = viewToken

    def check(self, method: bytes, headers: Headers, public: bool) -> Role | None:
        """
        Let a request pass, or not.

        :param method: its method.
        :param headers: its headers.
        :param public: whether it needs no token.
        :return: what it may do; None if that was not asked, as all are answered the same.
        :raises Problem: 400, 401, 403 or 421.
        """
        hosts = headers.getRawHeaders(b"Host") or []
        if len(hosts) != 1:
            raise Problem(400, "There is not exactly one Host header.")
        if self._token is None:
            # A page elsewhere can make a browser on this machine ask; it cannot choose these.
            self._checkHost(hosts[0])
            if method not in SAFE_METHODS or not _isFollowedLink(headers):
                self._checkOrigin(headers, hosts[0])
            return Role.ADMIN
        return None if public else self._roleOf(headers, self._token)

    def _checkHost(self, host: bytes) -> None:
        if not isLoopback(_withoutPort(host.decode("latin-1"))):
            raise Problem(421, "Without a token, only a name of this machine is answered.")

    def _checkOrigin(self, headers: Headers, host: bytes) -> None:
        for origin in headers.getRawHeaders(b"Origin") or ():
            if origin not in (b"http://" + host, b"https://" + host):
                raise Problem(403, "A page of another site may ask nothing.")
        for site in headers.getRawHeaders(b"Sec-Fetch-Site") or ():
            if site not in (b"same-origin", b"none"):
                raise Problem(403, "A page of another site may ask nothing.")

    def _roleOf(self, headers: Headers, token: Token) -> Role:
        given = headers.getRawHeaders(b"Authorization") or []
        scheme, _, value = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if scheme.lower() == b"bearer":
            value = value.strip(b" ")
            # First what may less: if both files hold the same, nobody may more than was meant.
            if self._viewToken is not None and self._viewToken.admits(value):
                return Role.VIEWER
            if token.admits(value):
                return Role.ADMIN
        raise Problem(401, "A token is needed.", {"WWW-Authenticate": "Bearer"})


def isLoopback(host: str) -> bool:
    """
    Tell whether a host is this machine, whatever a name server says.

    :param host: a name or an address.
    :return: whether it is.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _isFollowedLink(headers: Headers) -> bool:
    """
    Tell whether somebody followed a link to here, which may stand anywhere.

    To a browser frames and what it fetches in advance are navigations, too, but a page can
    have as many as it likes, and nobody sees them.
    """
    return (
        headers.getRawHeaders(b"Sec-Fetch-Mode") == [b"navigate"]
        and headers.getRawHeaders(b"Sec-Fetch-Dest") == [b"document"]
        and not any(map(headers.hasHeader, _EARLY))
    )


def _withoutPort(host: str) -> str:
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]*))(?::[0-9]*)?", host)
    return "" if found is None else found[1] or found[2] or ""
