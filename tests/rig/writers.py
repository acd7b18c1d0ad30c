"""What Thing writes into files: keys, tickets, known servers, things, invitations."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from unittest import mock

from click import ClickException
from twisted.internet.defer import Deferred

from thing.cli.commands import commands
from thing.errors import CredentialError
from thing.identity import CredentialKind, Identity, fingerprint
from thing.trust import IdentityKey, PresharedKey, formatPublicKey, loadPublicKey, temporary
from thing.trust.authorizing import authorizeThing
from thing.trust.invitations import Invitation, Invitations, State
from thing.trust.servers import ServersFile
from thing.trust.tickets import TicketKeys

SERVER = Identity(CredentialKind.ED25519, bytes(range(32)))
"""A server, as a handshake proved it."""

NEXT = Identity(CredentialKind.ED25519, bytes(range(1, 33)))
"""The key that it announces."""

THING = bytes(range(2, 34))
"""The key of a thing."""

EARLIER = 1e6
LATER = EARLIER + 13 * 3600
"""When ticket keys are made, and when that is so long ago that it is time for another."""

OLD_THING = f"{formatPublicKey(bytes(range(3, 35)), 'lamp')}\n"
"""The line of another."""


@dataclass(frozen=True)
class Writer:
    """Something that writes files into a directory."""

    name: str
    """What it does, for people."""
    write: Callable[[Path], object]
    """Does it; a second time, too. Fails with a :exc:`CredentialError` alone."""
    files: dict[str, Callable[[Path], object]]
    """The files, and what reads each: it fails if it is not whole, or has not what is new."""
    modes: dict[str, int] = field(default_factory=dict)
    """The permissions of those that do not have 0600."""
    prepare: Callable[[Path], object] = lambda directory: None
    """Makes what there was before."""
    inject: tuple[str, ...] = ()
    """What the system does otherwise, as strace has it."""
    nameless: bool = False
    """Whether a file that is not whole has no name at all."""
    emptyFirst: bool = False
    """Whether the files are made empty, which is as good as none, to be locked and replaced."""


def keygen(directory: Path, *options: str) -> None:
    """``thing keygen``; that there is a key already is what it should say a second time."""
    path = directory / "key"
    arguments = ["keygen", "-f", str(path), *options]
    try:
        with redirect_stdout(StringIO()):
            commands.main(arguments, standalone_mode=False)
    except ClickException as error:
        if not path.exists() or not (options or path.with_suffix(".pub").exists()):
            raise CredentialError(str(error)) from error


def renewTickets(directory: Path) -> None:
    """Have a new ticket key, as the last is too old."""
    TicketKeys(directory / "tickets", wallClock=lambda: LATER)


def ticketsIn(path: Path, count: int) -> None:
    """Read the file of ticket keys."""
    TicketKeys(path, rotation=1e9, wallClock=lambda: LATER)
    assert len(path.read_text().splitlines()) == count


def servers(directory: Path) -> ServersFile:
    """The file of known servers."""
    return ServersFile(directory / "known_servers", "localhost", 9000, firstUse=True)


def knownIn(path: Path, *expected: Identity) -> None:
    """Read the file of known servers."""
    found = ServersFile(path, "localhost", 9000).fingerprints()
    assert set(found) == {each.fingerprint for each in expected}, found


def putThings(directory: Path) -> None:
    """A file of authorized things that has one."""
    path = directory / "things"
    path.write_text(OLD_THING)
    path.chmod(0o640)


def putThingsOfThatName(directory: Path) -> None:
    """One that has the name already, too."""
    putThings(directory)
    authorizeThing(directory / "things", "kettle", bytes(range(4, 36)), "before")


def replaceThing(directory: Path) -> None:
    """Have a thing authorized in the place of one of that name."""
    authorizeThing(directory / "things", "kettle", THING, "joined", replaces=True)


def addThing(directory: Path) -> None:
    """Have a thing authorized."""
    authorizeThing(directory / "things", "kettle", THING, "joined")


def thingsIn(path: Path) -> None:
    """Read the file of authorized things; both are there."""
    authorizeThing(path, "kettle", THING, "joined")
    assert path.read_text().startswith(OLD_THING)


def now(changed: Deferred[Invitation]) -> None:
    """Raise what a change of the invitations failed with; nobody else has locked their file."""
    failed: list[BaseException] = []
    changed.addErrback(lambda failure: failed.append(failure.value))
    if failed:
        raise failed[0]


def invitations(directory: Path) -> Invitations:
    """The file of invitations."""
    return Invitations(directory / "invitations")


def invite(directory: Path, confirm: bool = False) -> None:
    """Make an invitation."""
    now(invitations(directory).make("kettle", confirm=confirm))


def inviteAnother(directory: Path) -> None:
    """Make a second invitation, unless there are two."""
    if len(invitations(directory).list()) < 2:
        invite(directory)


def inviteFirst(directory: Path) -> None:
    """Make an invitation, unless there is one."""
    if not invitations(directory).list():
        invite(directory)


def claim(directory: Path, confirm: bool = False) -> None:
    """Come with the invitation that there is; make it first, if there is none."""
    if not (directory / "invitations").exists():
        invite(directory, confirm)
    held = invitations(directory)
    now(held.claim(held.list()[0].id, THING))


def confirmKey(directory: Path) -> None:
    """Say yes to the key that has come."""
    held = invitations(directory)
    now(held.confirm(held.list()[0].id, fingerprint(THING)))


def use(directory: Path) -> None:
    """Note that the key is written."""
    held = invitations(directory)
    now(held.use(held.list()[0].id, THING))


def withdraw(directory: Path) -> None:
    """Have the invitation count no more, if it does."""
    held = invitations(directory)
    for each in held.list():
        now(held.withdraw(each.id))


def invited(*states: State) -> dict[str, Callable[[Path], object]]:
    """What reads the file of invitations, which are to be of these states."""

    def read(path: Path) -> None:
        found = tuple(each.state for each in Invitations(path).list())
        assert found == states, found

    return {"invitations": read}


def loadOrCreate(directory: Path) -> None:
    """Have a server's key."""
    IdentityKey.loadOrCreate(directory / "key")


def withoutNameless(directory: Path) -> None:
    """The same, where the file system has no files without a name."""
    with mock.patch.object(temporary, "_NAMELESS", 0):
        loadOrCreate(directory)


KEYS: dict[str, Callable[[Path], object]] = {"key": IdentityKey.load, "key.pub": loadPublicKey}
PUBLIC = {"key.pub": 0o644}

WRITERS = (
    Writer("a server's key", loadOrCreate, KEYS, PUBLIC, nameless=True),
    Writer(
        "another invitation",
        inviteAnother,
        invited(State.OPEN, State.OPEN),
        prepare=invite,
    ),
    Writer("thing keygen", keygen, KEYS, PUBLIC, nameless=True),
    Writer(
        "thing keygen --preshared",
        lambda directory: keygen(directory, "--preshared", "lamp"),
        {"key": PresharedKey.load},
        nameless=True,
    ),
    Writer("a key, on a file system such as NFS", withoutNameless, KEYS, PUBLIC),
    Writer(
        "a key, on a file system such as vfat",
        loadOrCreate,
        KEYS,
        PUBLIC,
        inject=("linkat:error=EPERM",),
    ),
    Writer(
        "the first ticket key",
        lambda directory: TicketKeys(directory / "tickets", wallClock=lambda: EARLIER),
        {"tickets": lambda path: ticketsIn(path, 1)},
        nameless=True,
    ),
    Writer(
        "a new ticket key",
        renewTickets,
        {"tickets": lambda path: ticketsIn(path, 2)},
        prepare=lambda directory: TicketKeys(directory / "tickets", wallClock=lambda: EARLIER),
    ),
    Writer(
        "a server that is met first",
        lambda directory: servers(directory).admit(SERVER),
        {"known_servers": lambda path: knownIn(path, SERVER)},
        emptyFirst=True,
    ),
    Writer(
        "a server's next key",
        lambda directory: servers(directory).update(SERVER, NEXT),
        {"known_servers": lambda path: knownIn(path, SERVER, NEXT)},
        prepare=lambda directory: servers(directory).admit(SERVER),
    ),
    Writer(
        "a thing that joins",
        addThing,
        {"things": thingsIn},
        {"things": 0o640},
        prepare=putThings,
    ),
    Writer(
        "a thing that joins, in a file that is mounted alone",
        addThing,
        {"things": thingsIn},
        {"things": 0o640},
        prepare=putThings,
        inject=("renameat:error=EBUSY",),
    ),
    Writer(
        "a thing that takes another's place",
        replaceThing,
        {"things": thingsIn},
        {"things": 0o640},
        prepare=putThingsOfThatName,
    ),
    Writer(
        "the first invitation",
        inviteFirst,
        invited(State.OPEN),
        emptyFirst=True,
    ),
    Writer(
        "a key that comes with an invitation",
        claim,
        invited(State.CLAIMED),
        prepare=invite,
    ),
    Writer(
        "a yes to a key that has come",
        confirmKey,
        invited(State.CLAIMED),
        prepare=lambda directory: claim(directory, confirm=True),
    ),
    Writer(
        "an invitation that is used",
        use,
        invited(State.USED),
        prepare=claim,
    ),
    Writer(
        "an invitation that is withdrawn",
        withdraw,
        invited(),
        prepare=invite,
    ),
)
"""All that is written; the first ones are of the short form."""


def faults(writer: Writer, directory: Path, before: dict[str, bytes]) -> list[str]:
    """
    Look for files that are neither the old ones nor the new ones.

    :param writer: what wrote.
    :param directory: where.
    :param before: what each file held before.
    :return: what is wrong.
    """
    found = []
    for name, read in writer.files.items():
        path = directory / name
        if not path.exists():
            if name in before:
                found.append(f"{name} is gone")
            continue
        if path.stat().st_mode & 0o777 != writer.modes.get(name, 0o600):
            found.append(f"{name} has mode {path.stat().st_mode & 0o777:o}")
        if path.read_bytes() != before.get(name, b"" if writer.emptyFirst else None):
            try:
                read(path)
            except (AssertionError, CredentialError) as error:
                found.append(f"{name}: {error!r}")
    return found


def contents(directory: Path) -> dict[str, bytes]:
    """What the files of a directory hold."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def left(writer: Writer, directory: Path) -> set[str]:
    """What else is in a directory."""
    return set(os.listdir(directory)) - set(writer.files)


def secretsLeft(writer: Writer, directory: Path) -> set[str]:
    """What else is in a directory, and holds what is not for everybody."""
    return {
        name
        for name in left(writer, directory)
        if any(not path.stat().st_mode & 0o004 for path in (directory / name).iterdir())
    }
