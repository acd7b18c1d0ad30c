"""
Asks a status server: one request after the other, each with its deadline and its bounds.

The standard library's client is enough here. A command has nothing else to do while it
waits, so it needs no reactor, and is there sooner without one. It knows TLS with checked
certificates and the streams of HTTP/1.1, takes no proxy and follows no redirection, so that
a token goes only where the user sent it.
"""

from __future__ import annotations

import io
import json
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    IncompleteRead,
    RemoteDisconnected,
)
from typing import Any
from urllib.parse import urlencode

from thing.cli.address import StatusAddress
from thing.cli.answers import Answer, BadAnswer, Unreachable, quoted
from thing.cli.dialing import dial
from thing.cli.exits import CommandError, ExitCode
from thing.text import readObject

PATIENCE = 10.0
"""How long connecting, and then an answer, may take, seconds."""

MARK = "Thing-Api"
"""A header of every answer of a status server; an error without it is somebody else's."""

MAX_ANSWER = 4 << 20
"""The longest answer that is read, octets; what it is parsed to can be 20 times as much."""

NOBODY_THERE = (
    "a server answers there if it was started with --status;"
    " --status URL or $THING_STATUS says where else"
)
"""What to do if nobody listens."""

Query = Mapping[str, str | int | list[str] | None]
"""What follows the question mark; None is left out."""


class _UnixConnection(HTTPConnection):
    """A connection to a socket in the file system."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _HostConnection(HTTPConnection):
    """A connection to a host."""

    def connect(self) -> None:
        """Connect."""
        self.sock = dial(self.host, self.port, PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _SecureConnection(_HostConnection):
    """A connection to a host over TLS, with a checked certificate."""

    default_port = 443

    def connect(self) -> None:
        """Connect."""
        super().connect()
        context = ssl.create_default_context()
        self.sock = context.wrap_socket(self.sock, server_hostname=self.host)


class _DeadlineReader(io.RawIOBase):
    """Reads a socket until a deadline, however little comes at a time."""

    def __init__(self, api: Api, source: socket.socket, raw: io.RawIOBase) -> None:
        self._api = api
        self._source = source
        self._raw = raw

    def readable(self) -> bool:
        """:return: that it is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """
        Read what has come.

        :param buffer: where to.
        :return: how many octets.
        """
        left = self._api.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._source.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


class Api:
    """
    A status server, over one connection that is made when it is needed.

    :ivar address: the server.
    :ivar until: when what is awaited now must have come, by the monotonic clock.
    :ivar sent: whether the server may have got the whole of the latest request.
    """

    def __init__(self, address: StatusAddress, token: str | None) -> None:
        """
        :param address: the server.
        :param token: shown to it; None for none.
        """
        self.address = address
        self.until = 0.0
        self.sent = False
        self._token = token
        self._connection: HTTPConnection | None = None
        self._reading: HTTPResponse | None = None

    def __enter__(self) -> Api:
        """Have it closed in the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def another(self) -> Api:
        """:return: the same server over another connection, such as for another thread."""
        return Api(self.address, self._token)

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path: str, query: Query | None = None) -> Answer:
        """
        Ask for something that must be there.

        :param path: what.
        :param query: what to say of it.
        :return: the answer, which is a good one.
        :raises CommandError: if there is none.
        """
        answer = self.ask("GET", path, query)
        if answer.status != 200:
            raise self.failed(answer)
        return answer

    def ask(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: bytes | None = None,
        patience: float = PATIENCE,
    ) -> Answer:
        """
        Ask for something.

        :param method: HTTP's.
        :param path: for what.
        :param query: what to say of it.
        :param body: what to send.
        :param patience: how long the answer may take, seconds.
        :return: the answer; it may tell that something went wrong.
        :raises CommandError: if there is none.
        """
        with self._plainErrors():
            response = self._request(method, _target(path, query), {}, body, patience)
            return self._answer(response)

    def post(self, path: str, found: dict[str, Any]) -> Answer:
        """
        Send a JSON object.

        :param path: where to.
        :param found: the object.
        :return: the answer; it may tell that something went wrong.
        :raises CommandError: if there is none.
        """
        headers = {"Content-Type": "application/json"}
        with self._plainErrors():
            body = json.dumps(found).encode()
            return self._answer(self._request("POST", path, headers, body, PATIENCE))

    def stream(self, path: str, query: Query, headers: Mapping[str, str]) -> HTTPResponse:
        """
        Ask for a stream of events.

        :param path: which.
        :param query: what to say of it.
        :param headers: HTTP's, besides the usual ones.
        :return: the response, to be read with :meth:`read`.
        :raises CommandError: if there is none.
        """
        with self._plainErrors():
            own = {"Accept": "text/event-stream", **headers}
            response = self._request("GET", _target(path, query), own, None, PATIENCE)
            if response.status != 200:
                raise self.failed(self._answer(response))
            kind = response.headers.get_content_type()
            if kind != "text/event-stream":
                raise self._badAnswer(f"events were asked for, and {quoted(kind)} came")
            return response

    def read(self, response: HTTPResponse, patience: float) -> bytes:
        """
        Read some more of a stream.

        :param response: the stream.
        :param patience: how long it may be silent, seconds.
        :return: octets; none once it has ended.
        :raises CommandError: if it broke off.
        """
        with self._plainErrors():
            self.until = time.monotonic() + patience
            return response.read1(65536)

    def _request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        patience: float,
    ) -> HTTPResponse:
        """Send a request, once more if a connection that was used before proves closed."""
        own = {"Accept": "application/json", "User-Agent": "thing"}
        if self._token is not None:
            own["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            own["Content-Type"] = "application/octet-stream"
        headers = {**own, **headers}
        for again in (self._connection is not None and method == "GET", False):
            self.sent = False
            connection = self._connected(patience)
            try:
                # One that takes no more of the body may have said why.
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.request(method, f"{self.address.base}{target}", body, headers)
                    self.sent = True
                self.until = time.monotonic() + patience
                return connection.getresponse()
            except ConnectionError:
                self.close()
                if not again:
                    raise
        raise AssertionError("the second time it returned or raised")

    def _connected(self, patience: float) -> HTTPConnection:
        """The connection, made if there is none."""
        if self._connection is None:
            self._connection = self._newConnection()
        if self._connection.sock is None:
            self._connection.connect()
        self._connection.sock.settimeout(patience)
        return self._connection

    def _newConnection(self) -> HTTPConnection:
        address = self.address
        if address.socket is not None:
            connection: HTTPConnection = _UnixConnection(address.socket, PATIENCE)
        else:
            made = _SecureConnection if address.secure else _HostConnection
            connection = made(address.host, address.port)
        connection.response_class = self._response  # type: ignore[assignment]
        return connection

    def _response(self, source: Any, *arguments: Any, **others: Any) -> HTTPResponse:
        """A response that is read by the deadline."""
        response = HTTPResponse(source, *arguments, **others)
        raw = response.fp.detach()
        response.fp = io.BufferedReader(_DeadlineReader(self, source, raw))
        self._reading = response
        return response

    def _answer(self, response: HTTPResponse) -> Answer:
        """Read an answer whole."""
        status = response.status
        if 300 <= status < 400:
            where = quoted(response.headers.get("Location", "nowhere"))
            raise self._badAnswer(f"it redirects to {where}, which is not followed")
        content = response.read(MAX_ANSWER + 1)
        if len(content) > MAX_ANSWER:
            raise self._badAnswer(f"its answer is longer than {MAX_ANSWER >> 20} MiB")
        if response.length:  # The library says nothing if less came than was announced.
            raise IncompleteRead(content)
        line = f"{status} {quoted(response.reason)}".strip()
        good = 200 <= status < 300
        if not good and MARK not in response.headers:
            raise self._foreign(status, line)
        try:
            found = readObject(content)
        except ValueError:
            raise self._badAnswer(f"{line}, and no JSON object") from None
        if not good and not isinstance(found.get("title"), str):
            raise self._badAnswer(f"{line}, and nothing that says what went wrong")
        answer = Answer(status, found, _timeOf(response))
        if status in (401, 403, 421):
            raise self.failed(answer)
        return answer

    def failed(self, answer: Answer) -> CommandError:
        """What to raise for an answer that is not the one hoped for."""
        line = f"{self.address.text}: {answer.title.rstrip('.')}"
        if answer.status == 401:
            return CommandError(f"{line}; give --token-file", ExitCode.NO_ACCESS)
        if answer.status in (403, 421):
            return CommandError(line, ExitCode.NO_ACCESS)
        if answer.status == 400:
            return CommandError(line, ExitCode.USAGE)
        if answer.status in (429, 500, 502, 503, 504):
            return Unreachable(line)
        return BadAnswer(f"{line} ({answer.status})")

    def _foreign(self, status: int, line: str) -> CommandError:
        """What to raise for an error that somebody else tells: a proxy, or another server."""
        if status < 500:
            return self._badAnswer(f"{line}, which is not its own")
        where = self.address.text
        return self._closed(Unreachable(f"cannot reach {where}: a proxy answers {line} for it"))

    def _badAnswer(self, what: str) -> CommandError:
        return self._closed(
            BadAnswer(f"{self.address.text} does not answer as a status server does: {what}")
        )

    @contextmanager
    def _plainErrors(self) -> Iterator[None]:
        """Turn what can go wrong into one line; what is left of a connection is closed."""
        unreachable = f"cannot reach {self.address.text}: "
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise self._closed(
                CommandError(
                    f"{self.address.text} is not trusted: {error.verify_message}",
                    ExitCode.NOT_TRUSTED,
                )
            ) from None
        except (RemoteDisconnected, IncompleteRead):
            raise self._closed(Unreachable(f"{unreachable}it closed the connection")) from None
        except TimeoutError:
            raise self._closed(Unreachable(f"{unreachable}no answer in time")) from None
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise self._closed(Unreachable(f"{unreachable}{_plain(error)}", NOBODY_THERE)) from None
        except (OSError, UnicodeError) as error:
            raise self._closed(Unreachable(f"{unreachable}{_plain(error)}")) from None
        except (HTTPException, ValueError) as error:
            raise self._badAnswer(quoted(str(error)) or type(error).__name__) from None

    def _closed(self, error: CommandError) -> CommandError:
        """An error to be raised, after which nothing more comes over this connection."""
        self.close()
        return error


def _target(path: str, query: Query | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value not in (None, [])}
    return f"{path}?{urlencode(given, doseq=True, errors='surrogateescape')}" if given else path


def _timeOf(response: HTTPResponse) -> float:
    """The time of day by the server's clock: what it tells is measured by that."""
    try:
        return parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return time.time()


def _plain(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return " ".join(str(strerror or error).split()).rstrip(".") or type(error).__name__
