"""
Where the shared registry is: the URL of a Redis or a Valkey, read and checked.

A password never leaves :class:`Address`: neither its text nor an error holds it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from thing.errors import CredentialError, ThingError
from thing.fleet.redis.secretfile import SecretFile
from thing.fleet.redis.tls import LONGEST_FILE, TlsFiles
from thing.trust.keywords import host

PORT = 6379
"""Where Redis listens if nobody says where."""

SENTINEL_PORT = 26379
"""Where Sentinel does."""

PREFIX = "thing:"
"""With what all keys begin, if nobody says otherwise."""

MOST_SENTINELS = 16
"""How many Sentinels a URL may name."""

LONGEST_PASSWORD = 4096
"""How many octets a password file may have."""

_ALL = {"passwordFile", "prefix"}
_TLS = {"ca", "cert", "key"}
_SENTINEL = {"sentinelPassword", "sentinelPasswordFile", "sentinelUser"}

_CHOICES = {
    "redis": _ALL,
    "rediss": _ALL | _TLS,
    "unix": _ALL | {"db", "password", "user"},
    "redis+sentinel": _ALL | _SENTINEL,
    "rediss+sentinel": _ALL | _SENTINEL | _TLS,
}
"""What may stand behind the question mark, by scheme."""


class RegistryURLError(ThingError):
    """The URL of a registry is of no use; the message is one plain line without secrets."""


@dataclass(frozen=True, slots=True)
class Login:
    """How to be let in somewhere."""

    user: str = ""
    password: str = field(default="", repr=False)
    passwordFile: SecretFile | None = None

    def command(self) -> tuple[str, ...]:
        """
        Tell what is to be said first.

        :return: the words of a command; none if nothing has to be said.
        :raises RegistryURLError: if the file of the password is of no use.
        """
        secret = self._secret()
        return ("AUTH", *([self.user] if self.user else []), secret) if secret else ()

    def _secret(self) -> str:
        if self.passwordFile is None:
            return self.password
        try:
            return self.passwordFile.read().decode("utf-8-sig").rstrip("\r\n")
        except CredentialError as error:
            raise RegistryURLError(f"passwordFile: {error}") from None
        except UnicodeDecodeError:
            raise RegistryURLError(
                f"passwordFile {self.passwordFile.path}: it is not text"
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a registry is, and how to be let in."""

    scheme: str
    """``redis`` or ``rediss``, perhaps with ``+sentinel``; or ``unix``."""
    hosts: tuple[tuple[str, int], ...] = ()
    """Host and port; of Sentinels perhaps several; none of a unix socket."""
    path: str = ""
    """Of a unix socket."""
    service: str = ""
    """What the Sentinels call it."""
    db: int = 0
    prefix: str = PREFIX
    login: Login = Login()
    sentinelLogin: Login = Login()
    """How the Sentinels let in: they do not know what the registry asks for."""
    files: TlsFiles = TlsFiles()
    """Of TLS, to the Sentinels as to the registry."""

    @property
    def tls(self) -> bool:
        """Whether it is reached over TLS, and so are its Sentinels."""
        return self.scheme.startswith("rediss")

    @property
    def paths(self) -> list[str]:
        """The files that are read for each connection."""
        logins = self.login.passwordFile, self.sentinelLogin.passwordFile
        secrets = [file.path for file in (*logins, self.files.key) if file is not None]
        return [*secrets, *filter(None, (self.files.ca, self.files.cert))]

    def __str__(self) -> str:
        """The URL without user, password and files."""
        if self.scheme == "unix":
            return f"unix://{self.path}?db={self.db}"
        hosts = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.hosts)
        service = f"/{self.service}" if self.service else ""
        return f"{self.scheme}://{hosts}{service}/{self.db}"


def parseAddress(url: str) -> Address:
    """
    Read the URL of a registry.

    These are ``redis://[user:password@]host[:port][/db]``, ``rediss://`` likewise,
    ``unix:///path?db=0`` and ``redis+sentinel://host[:port],host[:port]/service[/db]``, and that
    with ``rediss``.

    :param url: the URL.
    :return: the address.
    :raises RegistryURLError: if it is none, or if a file that it names cannot be read.
    """
    try:
        split = urlsplit(url)
    except ValueError:
        raise RegistryURLError("not a URL") from None
    scheme = split.scheme
    if scheme not in _CHOICES:
        known = ", ".join(f"{each}://" for each in _CHOICES)
        raise RegistryURLError(f"the URL must begin with one of {known}")
    if split.fragment:
        raise RegistryURLError("a URL of a registry has no part behind #")
    choices = _choices(split)
    address = Address(
        scheme=scheme,
        login=_loginOf(split, choices),
        sentinelLogin=_login(
            choices.get("sentinelUser", ""),
            choices.get("sentinelPassword", ""),
            _file(choices, "sentinelPasswordFile"),
        ),
        files=_filesOf(choices),
        prefix=choices.get("prefix", PREFIX),
        **_placeOf(split, choices),
    )
    _check(address)
    return address


def _choices(split: SplitResult) -> dict[str, str]:
    """What stands behind the question mark."""
    allowed = _CHOICES[split.scheme]
    try:
        pairs = parse_qsl(split.query, keep_blank_values=True, strict_parsing=bool(split.query))
    except ValueError:
        raise RegistryURLError("what is behind ? must be name=value, joined by &") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RegistryURLError("a name behind ? is given twice")
    for name in found:
        if name not in allowed:
            known = ", ".join(sorted(allowed))
            raise RegistryURLError(f"{name!r} is not known behind ? of {split.scheme}://: {known}")
    empty = [name for name, value in found.items() if not value]
    if empty:
        raise RegistryURLError(f"{empty[0]!r} behind ? is empty")
    return found


def _file(choices: dict[str, str], name: str) -> str:
    """A file's path; a daemon may change its directory before it reads it."""
    return os.path.abspath(choices[name]) if name in choices else ""


def _loginOf(split: SplitResult, choices: dict[str, str]) -> Login:
    credentials, at, _ = split.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    if at and split.scheme == "unix":
        raise RegistryURLError("of unix:// user and password stand behind ?")
    user = choices.get("user", unquote(user))
    password = choices.get("password", unquote(password))
    return _login(user, password, _file(choices, "passwordFile"))


def _login(user: str, password: str, path: str) -> Login:
    if password and path:
        raise RegistryURLError("a password and a file of one exclude each other")
    if user and not password and not path:
        raise RegistryURLError("a user needs a password")
    return Login(user, password, SecretFile(path, LONGEST_PASSWORD) if path else None)


def _filesOf(choices: dict[str, str]) -> TlsFiles:
    if "key" in choices and "cert" not in choices:
        raise RegistryURLError("key needs cert")
    cert = _file(choices, "cert")
    key = _file(choices, "key") or cert
    return TlsFiles(_file(choices, "ca"), cert, SecretFile(key, LONGEST_FILE) if key else None)


def _placeOf(split: SplitResult, choices: dict[str, str]) -> dict[str, Any]:
    """Host and database, or whatever the scheme has in their place."""
    hosts = split.netloc.rpartition("@")[2]
    if split.scheme == "unix":
        if hosts or not split.path.startswith("/"):
            raise RegistryURLError("unix:// needs an absolute path, as unix:///run/redis.sock")
        return {"path": unquote(split.path), "db": _number(choices.get("db", "0"))}
    parts = [unquote(part) for part in split.path.strip("/").split("/")] if split.path else [""]
    if split.scheme.endswith("+sentinel"):
        service, db = parts[0], parts[1:]
        if not service:
            raise RegistryURLError("the name of the service must follow the Sentinels, behind /")
        named = hosts.split(",")
        if len(named) > MOST_SENTINELS:
            raise RegistryURLError(f"more than {MOST_SENTINELS} Sentinels")
        found = tuple(_host(each, SENTINEL_PORT) for each in named)
    else:
        service, db = "", [part for part in parts if part]
        found = (_host(hosts, PORT),)
    if len(db) > 1:
        raise RegistryURLError("too many parts between slashes")
    return {"hosts": found, "service": service, "db": _number(db[0] if db else "0")}


_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[^\[\]\s]+)?\]|[^\[\]:,/@\s]+)(?::([0-9]{1,5}))?")


def _host(text: str, port: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    if match is None or not 0 < int(match[2] or port) <= 0xFFFF:
        raise RegistryURLError("a host is written as host or host:port, IPv6 in brackets")
    try:
        return host(match[1].strip("[]")), int(match[2] or port)
    except ValueError:  # Its text is not told: it may be a part of a password.
        raise RegistryURLError("what stands for the host can be the name of none") from None


def _number(text: str) -> int:
    if re.fullmatch("[0-9]{1,5}", text) is None:
        raise RegistryURLError("the database must be a number")
    return int(text)


def _check(address: Address) -> None:
    if not re.fullmatch(r"[\x21-\x7e]{1,64}", address.prefix):
        raise RegistryURLError("the prefix must be 1 to 64 printable characters, no spaces")
    address.login.command()
    address.sentinelLogin.command()
    try:
        address.files.optionsFor("localhost")
    except CredentialError as error:
        raise RegistryURLError(str(error)) from None
