"""
Invitations: who may come with a token, once, to have its key written into the authorized file.

Here is the file of them, and what becomes of one: it is open until a key comes with its secret;
then it is that key's alone, at once or after somebody has said yes to the key; and it is used when
the key stands among the authorized ones. Each step is durable before the next one begins, so that
whoever was interrupted comes again with the same key and goes on. The file is read again whenever
it has changed: processes that share it share the invitations.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from thing.errors import CredentialError
from thing.identity import fingerprint
from thing.trust.files import Stamp, StrPath, lockedFile, readFile, stampOf
from thing.trust.jointoken import SECRET_SIZE, checkId, newId, newSecret
from thing.trust.keys import checkName, parseFingerprint
from thing.trust.lines import textLines
from thing.trust.unlocking import onceUnlocked

MAX_INVITATIONS = 1000
"""The most invitations that there can be, used ones included until their time is over."""

LIFE = 3600.0
"""How long an invitation counts if nothing is said, seconds."""

MAX_LIFE = 30 * 86400.0
"""How long an invitation can count, seconds."""

MAX_FILE = 4 * 1024 * 1024
"""The most bytes in the file: more than so many invitations with the longest names have."""

_HEADER = b"# Invitations, written by the server. Whoever reads this file may join.\n"
_LAST_TIME = 1 << 40

T = TypeVar("T")


class State(Enum):
    """What has become of an invitation."""

    OPEN = "open"
    """Nobody has come with it."""

    WAITING = "waiting"
    """A key has come with it, and somebody must say yes to that key."""

    CLAIMED = "claimed"
    """It is one key's, and that key is about to be written."""

    USED = "used"
    """The key is written; nobody comes with it any more."""


class UnknownInvitation(CredentialError):
    """There is no such invitation: there never was, its time is over, or it was withdrawn."""


class OtherKey(CredentialError):
    """An invitation is for one key, and that is another one."""


class NameTaken(CredentialError):
    """Another has that name already, and is not to be replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """
    One invitation.

    :raises CredentialError: if a part cannot be one.
    """

    id: str
    """16 hexadecimal digits."""

    name: str
    """What the thing will be called."""

    expires: int
    """When it counts no more, seconds since 1970."""

    confirm: bool = False
    """Whether somebody must say yes to the key that comes with it."""

    replace: bool = False
    """Whether the key takes the place of those that have the name already."""

    state: State = State.OPEN
    """What has become of it."""

    fingerprint: str = ""
    """The fingerprint of the key that it is for, as ssh prints it; empty while it is open."""

    secret: bytes = field(default=b"", repr=False)
    """What whoever comes with it must have, 32 octets; empty once it is used."""

    def __post_init__(self) -> None:
        """:raises CredentialError: if a part cannot be one."""
        checkId(self.id)
        if not checkName(self.name):
            raise CredentialError("an invitation has a name")
        if not 0 < self.expires < _LAST_TIME:
            raise CredentialError("the time at which it expires is out of bounds")
        if self.state is not State.OPEN:
            parseFingerprint(self.fingerprint)
        elif self.fingerprint:
            raise CredentialError("nobody has come, but there is a fingerprint")
        if len(self.secret) != (0 if self.state is State.USED else SECRET_SIZE):
            raise CredentialError(f"the secret does not go with the state {self.state.value}")


class Invitations:
    """
    The invitations in a file, which whoever may write it shares.

    What changes the file returns a Deferred, which fails with :exc:`~thing.errors.CredentialError`
    if it cannot be read or written, or if another process holds its lock for a second.

    :param path: the file; while there is none, there are no invitations.
    :param wallClock: tells the time, seconds since 1970.
    :param clock: measures how long to wait for another process; by default the reactor.
    :raises CredentialError: if the file cannot be read or understood.
    :ivar wallClock: the same.
    """

    def __init__(
        self,
        path: StrPath,
        wallClock: Callable[[], float] = time.time,
        clock: IReactorTime | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self.wallClock = wallClock
        self._clock = clock
        self._stamp: Stamp = None
        self._fault = ""
        self._read: dict[str, Invitation] = {}
        self._current()

    # What there is.

    def list(self) -> list[Invitation]:
        """
        Tell the invitations, the oldest first, but for those whose time is over.

        :return: the invitations.
        :raises CredentialError: if the file cannot be read or understood.
        """
        return list(self._counting(self._current()).values())

    def find(self, invitation: str) -> Invitation | None:
        """
        Look an invitation up; strangers ask.

        :param invitation: its id, or anything else.
        :return: the invitation; None if there is none, or if its time is over.
        :raises CredentialError: if the file cannot be read or understood.
        """
        found = self._current().get(invitation)
        return found if found is not None and self._counts(found) else None

    # What becomes of one.

    def make(
        self, name: str, life: float = LIFE, confirm: bool = False, replace: bool = False
    ) -> Deferred[Invitation]:
        """
        Make an invitation.

        :param name: what the thing will be called.
        :param life: for how long it counts, seconds; :data:`MAX_LIFE` at most.
        :param confirm: whether somebody must say yes to the key that comes with it.
        :param replace: whether the key takes the place of those that have the name already.
        :return: fires with the invitation; fails if the name or the life cannot be one, or if there
            are :data:`MAX_INVITATIONS` already.
        """

        def add(held: dict[str, Invitation]) -> Invitation:
            if not 0 < life <= MAX_LIFE:
                raise CredentialError(
                    f"an invitation counts for more than 0 and at most {MAX_LIFE:.0f} seconds"
                )
            if len(held) >= MAX_INVITATIONS:
                raise CredentialError(f"there are {len(held)} invitations already: withdraw some")
            made = Invitation(
                id=newId(),
                name=name,
                expires=math.ceil(self.wallClock() + life),
                confirm=confirm,
                replace=replace,
                secret=newSecret(),
            )
            held[made.id] = made
            return made

        return self._change(add)

    def withdraw(self, invitation: str) -> Deferred[Invitation]:
        """
        Have an invitation count no more; who has joined by it stays.

        :param invitation: its id.
        :return: fires with what it was; fails with :exc:`UnknownInvitation`.
        """

        def remove(held: dict[str, Invitation]) -> Invitation:
            found = _get(held, invitation)
            del held[found.id]
            return found

        return self._change(remove)

    def claim(self, invitation: str, publicKey: bytes) -> Deferred[Invitation]:
        """
        Have an invitation be for one key; for the same key again, this changes nothing.

        :param invitation: its id.
        :param publicKey: the key, 32 raw octets.
        :return: fires with what it is now: ``WAITING`` if somebody must say yes first, else
            ``CLAIMED``, or ``USED``. Fails with :exc:`UnknownInvitation`, or with
            :exc:`OtherKey` if it is for another key.
        """

        def claim(held: dict[str, Invitation]) -> Invitation:
            found = _get(held, invitation)
            if found.state is State.OPEN:
                state = State.WAITING if found.confirm else State.CLAIMED
                return _put(held, found, state=state, fingerprint=fingerprint(publicKey))
            return _for(found, fingerprint(publicKey))

        return self._change(claim)

    def confirm(self, invitation: str, fingerprint: str) -> Deferred[Invitation]:
        """
        Say yes to the key that has come with an invitation; a second time, this changes nothing.

        :param invitation: its id.
        :param fingerprint: the key's, as ssh prints it: who says yes has seen it.
        :return: fires with what it is now. Fails with :exc:`UnknownInvitation`, with
            :exc:`OtherKey` if another key has come, or if none has.
        """

        def confirm(held: dict[str, Invitation]) -> Invitation:
            found = _get(held, invitation)
            if found.state is State.OPEN:
                raise OtherKey(f"nobody has come with the invitation {found.id} yet")
            found = _for(found, parseFingerprint(fingerprint))
            return _put(held, found, state=State.CLAIMED) if found.state is State.WAITING else found

        return self._change(confirm)

    def use(self, invitation: str, publicKey: bytes) -> Deferred[Invitation]:
        """
        Note that the key is written: nobody comes with the invitation any more.

        :param invitation: its id.
        :param publicKey: the key, 32 raw octets, which has claimed it.
        :return: fires with what it is now. Fails with :exc:`UnknownInvitation`, with
            :exc:`OtherKey` if it is for another key or none, or if nobody has said yes yet.
        """

        def use(held: dict[str, Invitation]) -> Invitation:
            found = _for(_get(held, invitation), fingerprint(publicKey))
            if found.state is State.WAITING:
                raise CredentialError(f"nobody has said yes to the invitation {found.id} yet")
            return _put(held, found, state=State.USED, secret=b"")

        return self._change(use)

    # The file.

    def _current(self) -> dict[str, Invitation]:
        """What the file has now; it is read again only if it has changed, be it damaged or not."""
        stamp = stampOf(self.path, self._stamp)
        if stamp != self._stamp:
            fault = ""
            try:
                content = b"" if stamp is None else readFile(self.path, MAX_FILE, private=True)
                self._read = _parse(self.path, content)
            except CredentialError as error:
                if error.__cause__ is not None:  # It is the system's, and may be over at once.
                    raise
                fault = str(error)
            self._stamp, self._fault = stamp, fault
        if self._fault:
            raise CredentialError(self._fault)
        return self._read

    def _counting(self, held: dict[str, Invitation]) -> dict[str, Invitation]:
        """Those whose time is not over."""
        return {each.id: each for each in held.values() if self._counts(each)}

    def _counts(self, invitation: Invitation) -> bool:
        return self.wallClock() < invitation.expires

    def _change(self, action: Callable[[dict[str, Invitation]], T]) -> Deferred[T]:
        """Change what the file has, as its lock is ours; those whose time is over go out of it."""

        def change() -> T:
            with lockedFile(self.path) as file:
                before = file.read(MAX_FILE, private=True)
                held = self._counting(_parse(self.path, before))
                result = action(held)
                after = _format(held)
                if after != before:
                    file.replace(after)
            return result

        return Deferred.fromCoroutine(self._unlocked(change))

    async def _unlocked(self, change: Callable[[], T]) -> T:
        changed = onceUnlocked(change, self._clock)
        return await changed if isinstance(changed, Deferred) else changed


def _get(held: dict[str, Invitation], invitation: str) -> Invitation:
    found = held.get(invitation)
    if found is None:
        raise UnknownInvitation(f"there is no invitation {invitation[:80]!r}")
    return found


def _for(invitation: Invitation, fingerprint: str) -> Invitation:
    """An invitation that is for this key."""
    if invitation.fingerprint != fingerprint:
        raise OtherKey(
            f"the invitation {invitation.id} is for {invitation.fingerprint or 'no key yet'}, "
            f"not for {fingerprint}"
        )
    return invitation


def _put(held: dict[str, Invitation], before: Invitation, **changes: object) -> Invitation:
    held[before.id] = replace(before, **changes)  # type: ignore[arg-type]
    return held[before.id]


def _format(held: dict[str, Invitation]) -> bytes:
    lines = (
        json.dumps(
            {
                "id": each.id,
                "name": each.name,
                "expires": each.expires,
                "confirm": each.confirm,
                "replace": each.replace,
                "state": each.state.value,
                "fingerprint": each.fingerprint,
                "secret": each.secret.hex(),
            },
            ensure_ascii=False,
        )
        for each in held.values()
    )
    return _HEADER + b"".join(line.encode() + b"\n" for line in lines)


def _parse(path: str, content: bytes) -> dict[str, Invitation]:
    """The invitations in a file, by id; nothing of a secret is told."""
    held: dict[str, Invitation] = {}
    for number, text in textLines(path, content):
        read = _parseLine(text)
        if isinstance(read, Invitation) and read.id in held:
            read = f"the invitation {read.id} stands there twice"
        if isinstance(read, Invitation) and len(held) == MAX_INVITATIONS:
            read = f"more than {MAX_INVITATIONS} invitations"
        if isinstance(read, str):
            raise CredentialError(f"{path}:{number}: {read}")
        held[read.id] = read
    return held


_TYPES = {
    "id": str,
    "name": str,
    "expires": int,
    "confirm": bool,
    "replace": bool,
    "state": str,
    "fingerprint": str,
    "secret": str,
}


def _parseLine(text: str) -> Invitation | str:
    """
    The invitation in a line, or what is wrong with it.

    An answer, not an exception: one raised here would carry the decoder's as its context, and
    with it the secret.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return "not a line of JSON"
    if (
        not isinstance(fields, dict)
        or {name: type(value) for name, value in fields.items()} != _TYPES
    ):
        return f"not an object of {', '.join(_TYPES)}, each of its type"
    try:
        secret, state = bytes.fromhex(fields["secret"]), State(fields["state"])
    except ValueError:
        return "the secret is not in hexadecimal, or the state is none"
    try:
        return Invitation(**fields | {"secret": secret, "state": state})
    except CredentialError as error:
        return str(error)
