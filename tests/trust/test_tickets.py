"""The keys of resumption tickets: in files, in time, against any octets, and in sessions."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests.certificates import CLIENT, authority, issue, proved
from tests.helpers import (
    CLIENT_CREDENTIAL,
    SERVER_CREDENTIAL,
    CountedCredential,
    Ed25519Credential,
)
from tests.pairs import Pair, PairCase, freshClient, freshServer
from tests.trust.test_keys import DirectoryMixin, modeOf, read, write
from thing.core.credentials import Anonymous
from thing.core.preshared import MAX_TICKET, Resumable, showing
from thing.errors import CredentialError, ErrorCode, NotAuthorized
from thing.events import Cause
from thing.identity import CredentialKind, Identity
from thing.trust import AuthorizedThings, IAuthorizer, TicketKeys, formatPublicKey
from thing.trust import tickets as module
from thing.trust.files import LockedFile, lockedFile
from thing.trust.tickets import (
    CHECK_INTERVAL,
    DEFAULT_LIFETIME,
    KEY_LENGTH,
    MAX_FILE,
    MAX_KEYS,
    NAME_LENGTH,
    NONCE_LENGTH,
    ROTATION,
    SKEW,
    _Contents,
)

NOW = 1_900_000_000.0
SECRET = bytes(range(32))
LAMP = Identity(CredentialKind.ED25519, CLIENT_CREDENTIAL.data)
RESUMABLE = Resumable(SECRET, LAMP)
SERVER = showing([SERVER_CREDENTIAL])
HOUR = 3600.0


class TicketCase(DirectoryMixin):
    """A test with a wall clock of its own, and servers that have keys by it."""

    def setUp(self) -> None:
        super().setUp()
        self.now = NOW

    def clock(self) -> float:
        return self.now

    def keys(self, path: str | None = "tickets", **choices: Any) -> TicketKeys:
        """A server's keys, in a file unless the path is None."""
        file = None if path is None else self.path(path)
        return TicketKeys(file, **{"wallClock": self.clock, **choices})

    def sealed(self, keys: TicketKeys, resumable: Resumable = RESUMABLE) -> bytes:
        """A ticket of these keys."""
        ticket = keys.seal(resumable, SERVER)
        assert ticket is not None
        return ticket.ticket

    def lines(self) -> list[bytes]:
        return read(self.path("tickets")).splitlines()

    def errors(self) -> list[str]:
        """What is logged from now on."""
        logged: list[str] = []

        def observe(event: dict[str, Any]) -> None:
            logged.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)  # type: ignore[attr-defined]
        return logged


class SealTests(TicketCase, TestCase):
    """What goes into a ticket comes out of it, in its time and by its keys."""

    def test_opens(self) -> None:
        """Secret and peer come back, and when the first handshake was; a name is not kept."""
        keys = self.keys()
        given = keys.seal(Resumable(SECRET, replace(LAMP, name="lamp")), SERVER)
        assert given is not None
        self.assertEqual(given.lifetime, DEFAULT_LIFETIME)
        self.assertEqual(
            keys.open(given.ticket, SERVER), Resumable(SECRET, LAMP, NOW + DEFAULT_LIFETIME)
        )

    def test_kinds(self) -> None:
        """A client with a certificate, or without any key, comes back as what it was."""
        root = authority()
        leaf = issue("", root, [x509.DNSName("lamp")], use=CLIENT)
        keys = self.keys(None)
        for peer in (Identity(CredentialKind.NONE), proved(leaf)):
            opened = keys.open(self.sealed(keys, Resumable(SECRET, peer)), SERVER)
            assert opened is not None
            self.assertEqual(opened.peer, peer)

    def test_tooLong(self) -> None:
        """What would not fit a ticket gets none: such a client signs each time."""
        root = authority()
        middle = authority("middle", root)
        leaf = issue("", middle, [x509.DNSName("lamp")], use=CLIENT)
        chain = proved(leaf, middle, root)
        self.assertGreater(len(chain.data), MAX_TICKET)
        self.assertIsNone(self.keys(None).seal(Resumable(SECRET, chain), SERVER))

    def test_everyTicketDiffers(self) -> None:
        """Tickets of one thing have nothing in common but the name of the key."""
        keys = self.keys(None)
        one, other = self.sealed(keys), self.sealed(keys)
        self.assertEqual(one[:NAME_LENGTH], other[:NAME_LENGTH])
        self.assertNotEqual(one[NAME_LENGTH:], other[NAME_LENGTH:])
        for clear in (SECRET, LAMP.publicKey):
            self.assertNotIn(clear, one)

    def test_expires(self) -> None:
        """A ticket is of use until its lifetime is over, and not at that moment any more."""
        keys = self.keys(lifetime=60.0)
        ticket = self.sealed(keys)
        self.now = NOW + 59.9
        self.assertIsNotNone(keys.open(ticket, SERVER))
        self.now = NOW + 60
        self.assertIsNone(keys.open(ticket, SERVER))

    def test_lifetimeIsInherited(self) -> None:
        """A ticket for a resumed session lives as long as that of the first, and no longer."""
        keys = self.keys(lifetime=60.0)
        first = keys.open(self.sealed(keys), SERVER)
        assert first is not None
        self.now = NOW + 45
        second = keys.seal(first, SERVER)
        assert second is not None
        self.assertEqual(second.lifetime, 15)
        self.now = NOW + 59.5
        self.assertIsNone(keys.seal(first, SERVER), "less than a second is none")
        self.now = NOW + 60
        self.assertIsNone(keys.open(second.ticket, SERVER))
        self.assertIsNone(keys.seal(first, SERVER))

    def test_skew(self) -> None:
        """A clock that is a little behind that of the sealing server is no harm; far behind is."""
        ahead, behind = self.keys(), self.keys()
        ticket = self.sealed(ahead)
        for offset, taken in ((SKEW - 1, True), (SKEW + 1, False)):
            self.now = NOW - offset
            self.assertEqual(behind.open(ticket, SERVER) is not None, taken)

    def test_lifetimeShortened(self) -> None:
        """A server whose lifetime was made shorter takes no ticket that would outlive it."""
        ticket = self.sealed(self.keys())
        self.assertIsNone(self.keys(lifetime=60.0).open(ticket, SERVER))

    def test_lifetimes(self) -> None:
        """A lifetime or a rotation that cannot be is refused."""
        for choices in (
            {"lifetime": 0.0},
            {"lifetime": -1.0},
            {"lifetime": float("nan")},
            {"lifetime": float("inf")},
            {"lifetime": 2.0**32},
            {"rotation": 0.0},
        ):
            self.assertIn("of use", self.refusal(self.keys, **choices))

    def test_otherContents(self) -> None:
        """What a key of ours sealed, but not as this release does, is no ticket."""
        keys = self.keys(None)
        key = keys._keys[-1]
        expires = int((NOW + 60) * 1000)

        def ticket(contents: bytes) -> bytes:
            nonce = bytes(NONCE_LENGTH)
            sealed = key.cipher.encrypt(nonce, contents, key.name + SERVER)
            return key.name + nonce + sealed

        good = _Contents(1, expires, SECRET, 1, LAMP.publicKey).encode()
        self.assertIsNotNone(keys.open(ticket(good), SERVER))
        for contents in (
            _Contents(2, expires, SECRET, 1, LAMP.publicKey).encode(),
            _Contents(1, expires, SECRET, 1, bytes(32)).encode(),  # No key, but of small order.
            _Contents(1, expires, SECRET, 3, b"kettle").encode(),
            _Contents(1, expires, SECRET, 200, b"").encode(),
            good[:-1],
            good + b"x",
            b"",
        ):
            self.assertIsNone(keys.open(ticket(contents), SERVER))

    def test_noSecrets(self) -> None:
        """What is shown of keys, and of what they opened, tells none."""
        keys = self.keys()
        shown = f"{keys!r} {keys._keys!r} {keys.open(self.sealed(keys), SERVER)!r}"
        self.assertNotIn(repr(SECRET)[2:-1], shown)
        self.assertNotIn(repr(keys._keys[0].octets)[2:-1], shown)


class HostileTicketTests(SynchronousTestCase):
    """Octets that are no ticket."""

    KEYS = TicketKeys(wallClock=lambda: NOW)

    @given(st.binary(max_size=2 * MAX_TICKET))
    def test_anything(self, octets: bytes) -> None:
        """Whatever is offered, it is no ticket, and no error."""
        self.assertIsNone(self.KEYS.open(octets, SERVER))
        name = self.KEYS._keys[0].name
        self.assertIsNone(self.KEYS.open(name + octets, SERVER))

    def test_changed(self) -> None:
        """A ticket of which one bit differs, or that is cut or longer, is none."""
        given = self.KEYS.seal(RESUMABLE, SERVER)
        assert given is not None
        ticket = given.ticket
        for at in range(len(ticket)):
            changed = ticket[:at] + bytes((ticket[at] ^ 1 << at % 8,)) + ticket[at + 1 :]
            self.assertIsNone(self.KEYS.open(changed, SERVER))
            self.assertIsNone(self.KEYS.open(ticket[:at], SERVER))
        self.assertIsNone(self.KEYS.open(ticket + b"\0", SERVER))


class FileTests(TicketCase, TestCase):
    """The file, which several servers share."""

    def test_made(self) -> None:
        """It is made with one key in one line, for its owner only."""
        self.keys()
        self.assertEqual(modeOf(self.path("tickets")), 0o600)
        (line,) = self.lines()
        created, encoded = line.split()
        self.assertEqual(int(created), NOW)
        self.assertEqual(len(base64.b64decode(encoded)), NAME_LENGTH + KEY_LENGTH)

    def test_empty(self) -> None:
        """An empty file, or one of comments, gets its first key."""
        for content in (b"", b"# ticket keys\n\n"):
            write(self.path("tickets"), content)
            keys = self.keys()
            self.assertIsNotNone(keys.open(self.sealed(keys), SERVER))
            self.assertEqual(len(self.lines()), 1)

    def test_laterProcess(self) -> None:
        """The next process, or another server, opens what this one sealed."""
        ticket = self.sealed(self.keys())
        self.assertEqual(
            self.keys().open(ticket, SERVER), Resumable(SECRET, LAMP, NOW + DEFAULT_LIFETIME)
        )

    def test_memory(self) -> None:
        """Without a file nobody else opens what was sealed, and nothing is written."""
        keys = self.keys(None)
        ticket = self.sealed(keys)
        self.assertIsNotNone(keys.open(ticket, SERVER))
        self.assertIsNone(self.keys(None).open(ticket, SERVER))
        self.assertEqual(os.listdir(self.directory), [])

    def test_rotation(self) -> None:
        """A key seals for its time; then a new one does, and the old one opens what it sealed."""
        for path in ("tickets", None):
            self.now = NOW
            keys = self.keys(path)
            old = self.sealed(keys)
            self.now = NOW + ROTATION - 1
            self.assertEqual(self.sealed(keys)[:NAME_LENGTH], old[:NAME_LENGTH])
            self.now = NOW + ROTATION + CHECK_INTERVAL
            new = self.sealed(keys)
            self.assertNotEqual(new[:NAME_LENGTH], old[:NAME_LENGTH])
            self.assertIsNotNone(keys.open(old, SERVER))
            self.assertIsNotNone(keys.open(new, SERVER))
        self.assertEqual(len(self.lines()), 2)
        self.assertEqual(modeOf(self.path("tickets")), 0o600)

    def test_dropped(self) -> None:
        """A key whose tickets have all expired is in the file no longer."""
        keys = self.keys()
        first = self.lines()[0]
        steps = int((DEFAULT_LIFETIME + ROTATION) / ROTATION)
        for step in range(1, steps + 1):
            self.assertIn(first, self.lines())
            self.now = NOW + step * ROTATION
            keys.reload()
        self.assertNotIn(first, self.lines())
        self.assertEqual(len(self.lines()), steps)

    def test_clockSetBack(self) -> None:
        """A clock that was far ahead and is right again brings a new key, and sessions go on."""
        keys = self.keys()
        self.now = NOW + 1000 * HOUR
        ahead = self.sealed(keys)
        self.now = NOW
        ticket = self.sealed(keys)
        self.assertNotEqual(ahead[:NAME_LENGTH], ticket[:NAME_LENGTH])
        self.assertIsNone(keys.open(ahead, SERVER), "it would live for a thousand hours")
        self.assertIsNotNone(keys.open(ticket, SERVER))

    def test_clockSetForward(self) -> None:
        """A clock that is set forward ends tickets early, and new ones are of use."""
        keys = self.keys()
        before = self.sealed(keys)
        self.now = NOW + 1000 * HOUR
        self.assertIsNone(keys.open(before, SERVER))
        self.assertIsNotNone(keys.open(self.sealed(keys), SERVER))

    def test_bounded(self) -> None:
        """Servers whose clocks disagree by a day make keys in turn, but not without end."""
        fast, slow = self.keys(wallClock=lambda: self.now + 24 * HOUR), self.keys()
        with mock.patch.object(module, "MAX_KEYS", 10):
            for _ in range(20):
                fast.reload()
                slow.reload()
        self.assertEqual(len(self.lines()), 10)
        self.assertIsNotNone(slow.open(self.sealed(slow), SERVER))

    def test_mostKeysFit(self) -> None:
        """As many keys as are kept are a file that can be read."""
        keys = self.keys(rotation=1.0)
        self.now = NOW + 1
        many = keys._keys * (2 * MAX_KEYS)
        write(self.path("tickets"), keys._content(many[: MAX_KEYS + 10]))
        keys.reload()
        self.assertEqual(len(self.lines()), MAX_KEYS)
        self.assertLess(os.path.getsize(self.path("tickets")), MAX_FILE)
        self.keys()

    def test_twoServers(self) -> None:
        """A server learns of another's new key from the first ticket that it sealed."""
        one, other = self.keys(), self.keys()
        self.now = NOW + ROTATION
        ticket = self.sealed(one)
        self.assertEqual(len(self.lines()), 2)
        self.assertIsNotNone(other.open(ticket, SERVER))
        self.assertEqual(other.open(ticket, SERVER), one.open(ticket, SERVER))
        self.assertEqual(self.sealed(other)[:NAME_LENGTH], ticket[:NAME_LENGTH])
        self.assertEqual(len(self.lines()), 2)

    def test_bothAtOnce(self) -> None:
        """Of two servers that are to make a new key at once, one does, and both use it."""
        one, other = self.keys(), self.keys()
        self.now = NOW + ROTATION
        locked = module.lockedFile

        @contextmanager
        def lateLock(path: str) -> Iterator[LockedFile]:
            with mock.patch.object(module, "lockedFile", locked):
                other.reload()  # It was faster.
            with locked(path) as file:
                yield file

        with mock.patch.object(module, "lockedFile", lateLock):
            one.reload()
        self.assertEqual(len(self.lines()), 2)
        self.assertEqual(self.sealed(one)[:NAME_LENGTH], self.sealed(other)[:NAME_LENGTH])

    def test_lockIsHeld(self) -> None:
        """While another process has the lock, nobody waits: the latest key goes on to seal."""
        keys = self.keys()
        ticket = self.sealed(keys)
        self.now = NOW + ROTATION
        logged = self.errors()
        with lockedFile(self.path("tickets")):
            self.assertEqual(self.sealed(keys)[:NAME_LENGTH], ticket[:NAME_LENGTH])
            self.assertEqual(self.sealed(self.keys())[:NAME_LENGTH], ticket[:NAME_LENGTH])
        self.assertEqual(len(self.lines()), 1)
        self.assertEqual(len(logged), 2)
        for line in logged:
            self.assertIn("another process holds its lock", line)
        self.now += CHECK_INTERVAL
        self.assertNotEqual(self.sealed(keys)[:NAME_LENGTH], ticket[:NAME_LENGTH])
        self.assertEqual(len(self.lines()), 2)

    def test_lockOfNothing(self) -> None:
        """A file without a key is of no use to a server while another process has it locked."""
        write(self.path("tickets"), b"")
        with lockedFile(self.path("tickets")):
            self.assertIn("another process holds its lock", self.refusal(self.keys))
        self.assertIsNotNone(self.sealed(self.keys()))

    def test_strangeNamesAreCheap(self) -> None:
        """Names of keys that nobody has make the file be read once in a second, and no more."""
        keys = self.keys()
        with mock.patch.object(module, "readFile", wraps=module.readFile) as reading:
            for tenth in range(100):
                self.now = NOW + tenth / 10
                for number in range(50):
                    self.assertIsNone(keys.open(bytes((number,)) * 200, SERVER))
            self.assertLessEqual(reading.call_count, 10)

    def test_strangersWaitForNoLock(self) -> None:
        """For a ticket of nobody's the file is read, not locked or written, though a key is due."""
        keys = self.keys()
        self.now += ROTATION + 1
        with mock.patch.object(module, "lockedFile", side_effect=AssertionError):
            self.assertIsNone(keys.open(bytes(200), SERVER))
        self.assertEqual(len(self.lines()), 1)

    def test_absurdClocks(self) -> None:
        """However wrong the clock is, no ticket is given rather than one that makes no sense."""
        keys = self.keys()
        for now in (1e18, -1e6):
            self.now = now
            self.assertIsNone(keys.seal(RESUMABLE, SERVER))
        self.now = 0.0
        given = keys.seal(replace(RESUMABLE, expires=NOW), SERVER)
        assert given is not None
        self.assertLessEqual(given.lifetime, DEFAULT_LIFETIME)

    def test_removed(self) -> None:
        """A key that was taken out of the file opens nothing, once the file is read again."""
        keys = self.keys()
        ticket = self.sealed(keys)
        os.remove(self.path("tickets"))
        self.assertIsNotNone(keys.open(ticket, SERVER))
        keys.reload()
        self.assertIsNone(keys.open(ticket, SERVER))
        self.assertIsNotNone(keys.open(self.sealed(keys), SERVER))

    def test_changedByHand(self) -> None:
        """A change of the file is seen within a minute by a server that seals."""
        keys = self.keys()
        ticket = self.sealed(keys)
        os.remove(self.path("tickets"))
        self.now = NOW + CHECK_INTERVAL
        self.sealed(keys)
        self.assertIsNone(keys.open(ticket, SERVER))

    def test_damaged(self) -> None:
        """A line that is not understood is told by its number, and nothing of it is shown."""
        (good,) = self.lines() if self.keys() else ()
        encoded = good.split()[1]
        for line in (
            b"nonsense",
            encoded,
            encoded + b" 1900000000",
            b"soon " + encoded,
            b"1e9 " + encoded,
            b"nan " + encoded,
            b"9" * 400 + b" " + encoded,
            b"1900000000 " + encoded[:-4],
            b"1900000000 " + base64.b64encode(bytes(NAME_LENGTH + 16)),
            b"1900000000 " + base64.b64encode(bytes(NAME_LENGTH)),
            b"1900000000 " + encoded + b" more",
            b"1900000000 \xff" + encoded,
            b"1900000000",
            b"-----BEGIN OPENSSH PRIVATE KEY-----",
        ):
            write(self.path("tickets"), good + b"\n" + line + b"\n")
            message = self.refusal(self.keys)
            self.assertEqual(message, f"{self.path('tickets')}:2: not a time and a ticket key")

    def test_otherFiles(self) -> None:
        """A file that others may read, or is too long, or is none, is refused."""
        self.keys()
        os.chmod(self.path("tickets"), 0o640)
        self.assertIn("too open", self.refusal(self.keys))
        write(self.path("tickets"), b"#" * (MAX_FILE + 1))
        self.assertIn("longer than", self.refusal(self.keys))
        os.mkdir(self.path("directory"))
        self.assertIn("Is a directory", self.refusal(self.keys, "directory"))
        os.mkfifo(self.path("fifo"), 0o600)
        self.assertIn("not a regular file", self.refusal(self.keys, "fifo"))
        self.assertIn("cannot write", self.refusal(self.keys, "missing/tickets"))
        os.symlink(self.path("nowhere"), self.path("dangling"))
        self.assertIn("cannot read", self.refusal(self.keys, "dangling"))

    def test_errorsChangeNothing(self) -> None:
        """With a file that is of no use now the keys stay, and the log says what is wrong."""
        keys = self.keys()
        ticket = self.sealed(keys)
        (line,) = self.lines()
        secret = line.split()[1].decode()
        write(self.path("tickets"), line[20:] + b"\n")
        message = self.refusal(keys.reload)
        self.assertIsNotNone(keys.open(ticket, SERVER))
        logged = self.errors()
        self.now = NOW + CHECK_INTERVAL
        self.assertIsNotNone(keys.open(self.sealed(keys), SERVER))
        self.assertEqual(logged, [f"The ticket keys stay what they were: {message}"])
        for word in (secret, secret[20:]):
            self.assertNotIn(word, message)

    def test_cannotWrite(self) -> None:
        """If a new key cannot be written, the old one goes on to seal, and the log says so."""
        keys = self.keys()
        ticket = self.sealed(keys)
        logged = self.errors()
        self.now = NOW + ROTATION
        full = CredentialError("cannot write tickets: No space left on device")
        with mock.patch.object(LockedFile, "replace", side_effect=full):
            self.assertRaises(CredentialError, keys.reload)
            self.now += CHECK_INTERVAL
            self.assertEqual(self.sealed(keys)[:NAME_LENGTH], ticket[:NAME_LENGTH])
        self.assertIn("No space left", "\n".join(logged))
        self.assertIsNotNone(keys.open(ticket, SERVER))


@implementer(IAuthorizer)
class Known:
    """
    Admits whoever is not revoked.

    :ivar asked: about whom it was asked.
    """

    def __init__(self) -> None:
        self.asked: list[Identity] = []
        self.name = "lamp"
        self.revoked: set[bytes] = set()

    def authorize(self, identity: Identity) -> Identity:
        self.asked.append(identity)
        if identity.publicKey in self.revoked:
            raise NotAuthorized("the lamp was stolen")
        return replace(identity, name=self.name)


class ResumptionTests(TicketCase, PairCase):
    """Sessions that come back, through the factories that programs have."""

    def setUp(self) -> None:
        TicketCase.setUp(self)
        PairCase.setUp(self)
        self.time = Clock()
        self.ours, self.theirs = CountedCredential("the server"), CountedCredential("the client")
        self.known = Known()

    def clock(self) -> float:
        return NOW + self.time.seconds()

    def first(self, lifetime: float = 60.0, **choices: Any) -> Pair:
        """A first session, over already."""
        pair = self.pair(
            freshServer(
                credential=self.ours,
                tickets=self.keys(None, lifetime=lifetime),
                allowAnonymous=True,
            ),
            freshClient(**{"credential": self.theirs, **choices}),
            authorizer=self.known,
            clock=self.time,
        )
        pair.up()
        self.over(pair)
        return pair

    def over(self, pair: Pair) -> None:
        """Say goodbye."""
        pair.client.goodbye()
        pair.pump()
        assert pair.client.termination is not None

    def back(self, pair: Pair) -> Pair:
        """Another connection of the same client to the same server."""
        return self.pair(
            serverFactory=pair.serverFactory, clientFactory=pair.clientFactory, clock=self.time
        ).connect()

    def resumed(self, pair: Pair) -> bool:
        """Whether the session, which is up on both sides, was resumed."""
        pair.pump()
        assert pair.server.session is not None and pair.client.session is not None
        self.assertEqual(pair.server.session.resumed, pair.client.session.resumed)
        return pair.server.session.resumed

    def signatures(self) -> tuple[int, int]:
        return self.ours.signatures, self.theirs.signatures

    def test_resumes(self) -> None:
        """A client comes back as the thing that it was, without a signature, time after time."""
        pair = self.first()
        logged = self.errors()
        self.assertEqual(self.signatures(), (1, 1))
        for _ in range(3):
            again = self.back(pair)
            self.assertTrue(self.resumed(again))
            assert again.server.session is not None
            peer = again.server.session.peer
            self.assertEqual((peer.publicKey, peer.name), (self.theirs.data, "lamp"))
            self.assertIn("Session", logged[-1])
            self.assertIn("with lamp at", logged[-2])
            self.assertIn("is resumed: ", logged[-2])
            self.over(again)
        self.assertEqual(self.signatures(), (1, 1))
        self.assertNotIn("established", "\n".join(logged))

    def test_oneUse(self) -> None:
        """Of two connections at once only one has the ticket; the other shakes hands in full."""
        pair = self.first()
        one, other = self.back(pair), self.back(pair)
        self.assertTrue(self.resumed(one))
        self.assertFalse(self.resumed(other))
        self.assertTrue(self.resumed(self.back(pair)))

    def test_usedInVain(self) -> None:
        """A ticket of a connection that broke is not offered again."""
        pair = self.first()
        broken = self.back(pair)
        broken.cut()
        self.assertFalse(self.resumed(self.back(pair)))

    def test_otherCredential(self) -> None:
        """With another key the client is another thing: its ticket is dropped."""
        pair = self.first()
        before = pair.clientFactory.settings
        pair.clientFactory.settings = replace(before, credential=Ed25519Credential("kettle"))
        again = self.back(pair)
        self.assertFalse(self.resumed(again))
        pair.clientFactory.settings = before
        self.assertFalse(self.resumed(self.back(pair)), "that ticket was the kettle's")

    def test_credentialReplacedMeanwhile(self) -> None:
        """A ticket that comes when the client has another key already is the old key's."""
        pair = self.first()
        before = pair.clientFactory.settings
        late = self.back(pair)
        pair.clientFactory.settings = replace(before, credential=Ed25519Credential("kettle"))
        self.assertTrue(self.resumed(late))
        self.over(late)
        self.assertFalse(self.resumed(self.back(pair)))

    def test_keyChanged(self) -> None:
        """A thing with a ticket sees a server's next key announced, and its new key proved."""
        pair = self.first()
        following = Ed25519Credential("the next")
        for choices in ({"nextCredential": following}, {"credential": following}):
            settings = replace(pair.serverFactory.settings, **{"nextCredential": None, **choices})
            pair.serverFactory.settings = settings
            again = self.back(pair)
            self.assertFalse(self.resumed(again))
            self.over(again)
            again = self.back(pair)
            self.assertTrue(self.resumed(again))
            self.over(again)

    def test_notAfterLifetime(self) -> None:
        """A ticket is not even offered after its lifetime."""
        pair = self.first(lifetime=60.0)
        self.time.advance(60.0)
        with mock.patch.object(TicketKeys, "open", side_effect=AssertionError):
            self.assertFalse(self.resumed(self.back(pair)))

    def test_firstHandshakeCounts(self) -> None:
        """However often a thing comes back, after the lifetime it has to sign again."""
        pair = self.first(lifetime=60.0)
        for resumed, signatures in ((True, 1), (True, 1), (False, 2), (True, 2)):
            self.time.advance(25.0)
            again = self.back(pair)
            self.assertEqual(self.resumed(again), resumed)
            self.assertEqual(self.signatures(), (signatures, signatures))
            self.over(again)

    def test_anonymous(self) -> None:
        """Who shows nothing comes back as a stranger, unless it wants to be recognized."""
        for resumption, recognized in ((None, False), (True, True)):
            pair = self.first(credential=Anonymous(), resumption=resumption)
            self.assertEqual(self.resumed(self.back(pair)), recognized)

    def test_notWanted(self) -> None:
        """A client that does not ask for tickets is given none."""
        pair = self.first(resumption=False)
        self.assertFalse(self.resumed(self.back(pair)))

    def test_restarted(self) -> None:
        """A server that has other keys now does not mind: the handshake is in full."""
        pair = self.first()
        settings = pair.serverFactory.settings
        pair.serverFactory.settings = replace(settings, tickets=self.keys(None))
        self.assertFalse(self.resumed(self.back(pair)))
        pair.serverFactory.settings = replace(settings, tickets=None)
        self.assertFalse(self.resumed(self.back(pair)))

    def test_otherServer(self) -> None:
        """A ticket is good at every server that shares the file of keys."""
        pair = self.first()
        for _ in range(2):
            settings = replace(pair.serverFactory.settings, tickets=self.keys())
            pair.serverFactory.settings = settings
            again = self.back(pair)
            resumed = self.resumed(again)
            self.over(again)
        self.assertTrue(resumed)

    def test_revoked(self) -> None:
        """A thing that was revoked is refused when it comes back, too; the log says why."""
        pair = self.first()
        self.known.revoked.add(self.theirs.data)
        logged = self.errors()
        again = self.back(pair)
        again.pump()
        self.assertIsNone(again.server.session)
        self.assertEqual(self.signatures(), (1, 1))
        (told,) = again.client.of("terminated")
        self.assertEqual((told.cause, told.code), (Cause.REJECTED, ErrorCode.NOT_AUTHORIZED))
        self.assertTrue(told.byPeer)
        self.assertNotIn("stolen", str(told))
        self.assertEqual(sum("the lamp was stolen" in line for line in logged), 1)

    def test_askedEachTime(self) -> None:
        """The authorizer is asked about the same proof each time, and gives the name anew."""
        pair = self.first()
        self.known.name = "red lamp"
        again = self.back(pair)
        self.assertTrue(self.resumed(again))
        assert again.server.session is not None
        self.assertEqual(again.server.session.peer.name, "red lamp")
        self.assertEqual(self.known.asked[0], self.known.asked[1])

    def test_removedFromFile(self) -> None:
        """A key that was taken out of the file of authorized things ends its tickets with it."""
        path = write(self.path("things"), formatPublicKey(self.theirs.data, "lamp").encode())
        self.known = AuthorizedThings(path)  # type: ignore[assignment]
        pair = self.first()
        again = self.back(pair)
        self.assertTrue(self.resumed(again))
        self.over(again)
        write(path, b"")
        pair.serverFactory.authorizer = AuthorizedThings(path)
        refused = self.back(pair)
        refused.pump()
        (told,) = refused.client.of("terminated")
        self.assertIs(told.code, ErrorCode.NOT_AUTHORIZED)

    def test_kindNotTaken(self) -> None:
        """A ticket does not let in a thing of a kind that the server takes no longer."""
        pair = self.first()
        settings = pair.serverFactory.settings
        pair.serverFactory.settings = replace(settings, peerKinds=(CredentialKind.X509,))
        again = self.back(pair)
        again.pump()
        self.assertIsNone(again.server.session)
