"""Which server a client believes."""

from __future__ import annotations

import errno
import os
import subprocess
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.trust.test_authorized import ANONYMOUS, identity, line
from tests.trust.test_keys import (
    NO_SSH_KEYGEN,
    DirectoryMixin,
    modeOf,
    read,
    runTogether,
    sshKeygen,
    write,
)
from thing.errors import CredentialError, ErrorCode, NotAuthorized
from thing.identity import Identity
from thing.trust import (
    IAuthorizer,
    IKeyContinuity,
    KnownServers,
    PinnedServers,
    files,
    servers,
    succession,
)
from thing.trust.interfaces import IRevocations
from thing.trust.knownhosts import MAX_DAMAGED, MAX_TOLD

SERVER = "[example.org]:9000"


def learned(number: int, *announcers: int) -> str:
    """The line of a key that was announced."""
    words = ",".join(line(each).split()[1] for each in announcers)
    return f"{SERVER} {line(number)} announced-by={words}"


class PinnedServersTests(TestCase):
    """Servers that are known by fingerprint."""

    def test_pinned(self) -> None:
        """A server with one of the pinned keys is admitted, any other is refused."""
        pinned = PinnedServers([identity(1).fingerprint, f" {identity(2).fingerprint}="])
        verifyObject(IAuthorizer, pinned)
        for number in 1, 2:
            self.assertEqual(pinned.authorize(identity(number)), identity(number))
        error = self.assertRaises(NotAuthorized, pinned.authorize, identity(3))
        self.assertEqual(error.code, ErrorCode.NOT_AUTHORIZED)
        for number in 1, 2, 3:
            self.assertIn(identity(number).fingerprint, error.detail)

    def test_anonymous(self) -> None:
        """A server that proved no key is refused."""
        pinned = PinnedServers([identity(1).fingerprint])
        self.assertRaises(NotAuthorized, pinned.authorize, ANONYMOUS)

    def test_badPins(self) -> None:
        """A pin that is no fingerprint is an error, and so is no pin at all."""
        self.assertRaises(CredentialError, PinnedServers, ["SHA256:nonsense"])
        self.assertRaises(CredentialError, PinnedServers, [])


class KnownServersMixin(DirectoryMixin):
    """A file of known servers."""

    def setUp(self) -> None:
        super().setUp()
        self.file = self.path("known_servers")
        self.clock = Clock()

    def known(
        self, *lines: str, host: str = "example.org", port: int = 9000, firstUse: bool = False
    ) -> KnownServers:
        """The authorizer of a file of these lines."""
        write(self.file, "".join(f"{text}\n" for text in lines).encode())
        return KnownServers(self.file, host, port, firstUse, clock=self.clock)

    def refused(
        self, known: KnownServers, peer: Identity, code: ErrorCode = ErrorCode.NOT_AUTHORIZED
    ) -> str:
        """Why a server is refused."""
        error = self.assertRaises(NotAuthorized, known.authorize, peer)
        self.assertEqual(error.code, code)
        self.assertTrue(error.detail.isprintable())
        return error.detail

    def undecided(self, known: KnownServers, peer: Identity) -> str:
        """Why it cannot be said whether a server is believed, which time can mend."""
        return self.refused(known, peer, ErrorCode.UNDECIDED)

    def warnings(self) -> list[str]:
        """What is logged of damaged lines from now on."""
        logged: list[str] = []

        def observe(event: Any) -> None:
            if event["log_namespace"].startswith("thing.trust.known"):
                logged.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)  # type: ignore[attr-defined]
        return logged

    def lines(self) -> list[str]:
        """The lines of the file."""
        return read(self.file).decode().splitlines()


class KnownServersTests(KnownServersMixin, TestCase):
    """Servers that are known by a file."""

    def test_known(self) -> None:
        """A server that has a key of the file is admitted, by the name that the file has."""
        known = self.known("# mine", "", f"{SERVER} {line(1, 'x')}", f"{SERVER}\t{line(2)}")
        verifyObject(IAuthorizer, known)
        verifyObject(IKeyContinuity, known)
        for number in 1, 2:
            named = known.authorize(identity(number))
            self.assertEqual(named.name, SERVER)
            self.assertEqual(named.publicKey, identity(number).publicKey)

    def test_unknown(self) -> None:
        """A server that is not in the file is refused, with the line that would admit it."""
        known = self.known(
            f"[other.org]:9000 {line(1)}",
            f"[example.org]:9001 {line(1)}",
            f"example.org {line(1)}",
            f"[example.org]:9000,!* {line(1)}",
        )
        self.assertEqual(
            self.refused(known, identity(1)),
            f"{SERVER} is not in {self.file}; if {identity(1).fingerprint} is truly its key, "
            f"add the line: {SERVER} {line(1)}",
        )
        self.assertEqual(len(self.lines()), 4)

    def test_changed(self) -> None:
        """Another key than the known ones is refused loudly, on first use too."""
        text = f"{SERVER} {line(1)}"
        for firstUse in False, True:
            known = self.known("", text, f"*.org,{SERVER} {line(2)}", firstUse=firstUse)
            detail = self.refused(known, identity(3))
            self.assertIn(f"THE KEY OF {SERVER} HAS CHANGED", detail)
            self.assertIn(f"proved {identity(3).fingerprint}", detail)
            self.assertIn(f"{self.file}:2 has {identity(1).fingerprint}", detail)
            self.assertIn(f"{self.file}:3 has {identity(2).fingerprint}", detail)
            self.assertTrue(detail.endswith(f"{SERVER} {line(3)}"))
            self.assertEqual(self.lines()[1], text)

    def test_names(self) -> None:
        """Lists, patterns, negation and letter case mean what they mean to ssh."""
        for hosts, matches in (
            ("[a.org]:1,[example.org]:9000", True),
            ("[Example.ORG]:9000", True),
            ("[*.org]:9000", True),
            ("[example.org]:*", True),
            ("[e?ample.org]:9000", True),
            ("*", True),
            ("*,![example.org]:9000", False),
            ("![other.org]:9000", False),
            ("[?example.org]:9000", False),
            ("e*", False),
            ("[abc", False),
        ):
            known = self.known(f"{hosts} {line(1)}", host="EXAMPLE.org")
            if matches:
                self.assertEqual(known.authorize(identity(1)).name, SERVER)
            else:
                self.assertIn("is not in", self.refused(known, identity(1)))

    def test_addresses(self) -> None:
        """Addresses are known as names are, and port 22 is written like any other."""
        for host, port, name in (
            ("::1", 9000, "[::1]:9000"),
            ("fe80::1%eth0", 9000, "[fe80::1%eth0]:9000"),
            ("192.0.2.1", 22, "[192.0.2.1]:22"),
        ):
            known = self.known(f"{name} {line(1)}", host=host, port=port)
            self.assertEqual(known.authorize(identity(1)).name, name)

    def test_badAddress(self) -> None:
        """A host or port that could not stand in the file is an error."""
        write(self.file, b"")
        for host in "", "a b", "a,b", "*", "a\nb", "[a]", "a\n", "@a", "\udcff":
            self.refusal(KnownServers, self.file, host, 9000)
        for port in 0, -1, 65536:
            self.refusal(KnownServers, self.file, "example.org", port)

    def test_revoked(self) -> None:
        """A key that is marked as revoked is refused, known or not, on first use too."""
        for hosts in "*", SERVER, f"[other.org]:1,{SERVER}":
            for firstUse in False, True:
                revoked = f"@revoked {hosts} {line(1)}"
                for other in [], [f"{SERVER} {line(1)}"]:
                    known = self.known(*other, revoked, firstUse=firstUse)
                    self.assertEqual(
                        self.refused(known, identity(1)),
                        f"THE KEY OF {SERVER} IS REVOKED: {identity(1).fingerprint} "
                        f"by {self.file}:{len(other) + 1}",
                    )
                    self.assertEqual(len(self.lines()), len(other) + 1)

    def test_revokedOfOthers(self) -> None:
        """A key that is revoked for another host only is not revoked here."""
        known = self.known(f"@revoked [other.org]:9000 {line(1)}", f"{SERVER} {line(1)}")
        known.authorize(identity(1))

    def test_sharedWithSSH(self) -> None:
        """Lines with ssh's other types of key and other markers are skipped."""
        known = self.known(
            f"{SERVER} ssh-rsa AAAAB3NzaC1yc2E= x",
            f"{SERVER} ecdsa-sha2-nistp256 AAAA",
            f"{SERVER} ssh-ed25519-cert-v01@openssh.com AAAA",
            f"@cert-authority * {line(2)}",
            f"@revoked * {line(3)}".replace("ssh-ed25519", "ssh-rsa"),
            f"@something\t* {line(4)}",
            f"{SERVER} 1024 35 123456789",
            f"{SERVER} {line(1)}",
        )
        known.authorize(identity(1))
        for number in 2, 3, 4:
            self.assertIn("HAS CHANGED", self.refused(known, identity(number)))

    def test_damaged(self) -> None:
        """A damaged line costs itself and no other, and the log says so, once."""
        logged = self.warnings()
        for number, text in enumerate(
            (
                "garbage",
                "github.com",
                "github.com ssh-ed25519",
                f"github.com {line(2)[:-1]}",
                f"|1|AAAA|BBBB {line(2)}",
                f"|2|AAAA {line(2)}",
                f"@revoked github.com {line(1)[:-1]}",
                "@revoked",
                "\0" * 64,
                f"github.com {line(2)}gitlab.com {line(2)}",
                f"{SERVER} {line(1)[:-1]}",
                f"{SERVER} {line(1)}\0",
            ),
            1,
        ):
            for lines in ([text, f"{SERVER} {line(1)}"], [f"{SERVER} {line(1)}", text]):
                known = self.known(*lines)
                for _ in range(2):
                    self.assertEqual(known.authorize(identity(1)).name, SERVER)
                self.assertIn("HAS CHANGED", self.refused(known, identity(3)))
            self.assertEqual(len(logged), 2 * number, text)
            self.assertTrue(logged[-1].startswith(f"{self.file}:2 is damaged"), logged)

    def test_manyDamaged(self) -> None:
        """What is no file of hosts is not read to its end, and floods no log."""
        logged = self.warnings()
        self.known(*map(str, range(MAX_DAMAGED)), f"{SERVER} {line(1)}").authorize(identity(1))
        self.assertEqual(len(logged), MAX_TOLD + 1)
        self.assertEqual(logged[-1], f"{self.file}: more lines are damaged")
        self.assertIn("not a file of hosts", self.refusal(self.known, *["x"] * (MAX_DAMAGED + 1)))

    def test_notDamaged(self) -> None:
        """Long lines, and hosts that are called as types of keys are, are as good as others."""
        logged = self.warnings()
        known = self.known(
            "x" * 9000 + f" {line(2)}",
            f"ssh-gw {line(2)}",
            f"ecdsa-lab,ssh-ed25519 {line(2)}",
            f"{SERVER} {line(1)}",
        )
        known.authorize(identity(1))
        known = self.known(f"[ssh-gw]:9000 {line(1)}", host="ssh-gw")
        known.authorize(identity(1))
        self.assertEqual(logged, [])

    def test_damagedHere(self) -> None:
        """If a key of this server is damaged, no other is believed, on first use neither."""
        for text in (SERVER, f"{SERVER} ssh-ed25519 AAAA", f"* {line(1)[:-1]}", f"{SERVER} x y"):
            for firstUse in False, True:
                known = self.known("# mine", text, firstUse=firstUse)
                self.assertEqual(
                    self.refused(known, identity(1)),
                    f"{SERVER} is in {self.file}:2, but its key there is damaged: "
                    "mend the line, or take it out",
                )
                self.assertEqual(self.lines(), ["# mine", text])

    def test_keyAlone(self) -> None:
        """A public key alone is a line of no server, for ssh as for us."""
        for text in (line(2, "somebody"), "ssh-rsa AAAA", "ssh-dss AAAA", "ssh-gw"):
            known = self.known(text, firstUse=True)
            self.assertEqual(known.authorize(identity(1)).name, SERVER)
            self.assertEqual(self.lines(), [text, f"{SERVER} {line(1)}"])

    def test_damagedRevocation(self) -> None:
        """If it cannot be read what is revoked for this server, nothing is believed of it."""
        for text in (f"@revoked {SERVER}", f"@revoked * {line(2)[:-1]}"):
            self.assertEqual(
                self.refusal(self.known, f"{SERVER} {line(1)}", text),
                f"{self.file}:2: what it revokes cannot be read",
            )

    def test_byteOrderMark(self) -> None:
        """A byte order mark hides nothing: a key that has changed is not taken for the first."""
        for firstUse in False, True:
            write(self.file, b"\xef\xbb\xbf" + f"{SERVER} {line(1)}\n".encode())
            known = KnownServers(self.file, "example.org", 9000, firstUse)
            known.authorize(identity(1))
            self.assertIn("HAS CHANGED", self.refused(known, identity(2)))
            for encoding in "utf-16-le", "utf-16-be":
                write(self.file, f"\ufeff{SERVER} {line(1)}\n".encode(encoding))
                self.assertIn("UTF-16", self.undecided(known, identity(1)))

    def test_readAgain(self) -> None:
        """A change to the file counts at once; a file that cannot be read admits nobody."""
        known = self.known(f"{SERVER} {line(1)}")
        self.known(f"{SERVER} {line(2)}")
        self.assertEqual(known.authorize(identity(2)).name, SERVER)
        write(self.file, f"{SERVER} {line(2)}\n@revoked * nonsense".encode())
        self.assertIn(f"{self.file}:2: ", self.undecided(known, identity(2)))
        os.remove(self.file)
        self.assertIn("No such file", self.undecided(known, identity(2)))

    def test_whyRevoked(self) -> None:
        """A key that is revoked for this server is so whatever proves it."""
        known = self.known(f"@revoked {SERVER} {line(1)}", f"{SERVER} {line(2)}")
        verifyObject(IRevocations, known)
        why = f"the key {identity(1).fingerprint} is revoked by {self.file}:1"
        self.assertEqual(known.whyRevoked(identity(1)), why)
        self.assertIsNone(known.whyRevoked(identity(2)))
        os.remove(self.file)
        self.assertIn("No such file", str(known.whyRevoked(identity(2))))

    def test_missing(self) -> None:
        """A file that is missing is an error, unless keys are believed on first use."""
        self.assertIn("No such file", self.refusal(KnownServers, self.file, "example.org", 9000))
        KnownServers(self.file, "example.org", 9000, firstUse=True)
        self.assertFalse(os.path.exists(self.file))

    def test_anonymous(self) -> None:
        """A server that proved no key is refused, on first use too."""
        self.assertIn("no raw key", self.refused(self.known(firstUse=True), ANONYMOUS))

    @settings(deadline=None)
    @given(
        st.booleans(),
        st.binary(max_size=200)
        | st.lists(
            st.sampled_from(
                [
                    line(1),
                    line(2),
                    SERVER,
                    "ssh-ed25519",
                    "@revoked",
                    "announced-by=",
                    "@",
                    "|1|",
                    "|",
                    "=",
                    "*",
                    "?",
                    "[",
                    "!",
                    ",",
                    " ",
                    "\t",
                    "\n",
                    "#",
                    "\x0b",
                    "\x85",
                    "\udcff",
                ]
            ),
            max_size=20,
        ).map(lambda parts: "".join(parts).encode("utf-8", "surrogateescape")),
    )
    def test_anyBytes(self, firstUse: bool, content: bytes) -> None:
        """Of any bytes come an answer, a refusal or an error; and nothing of them is lost."""
        write(self.file, content)
        try:
            known = KnownServers(self.file, "example.org", 9000, firstUse)
        except CredentialError as error:
            self.assertTrue(str(error).startswith(f"{self.file}:"))
            return
        try:
            known.authorize(identity(1))
            known.keysAnnounced(identity(1), identity(2))
            known.authorize(identity(2))
        except NotAuthorized:
            self.assertTrue(content or not firstUse)
        self.assertTrue(read(self.file).startswith(content))


class FirstUseTests(KnownServersMixin, TestCase):
    """The key that is believed because it is the first."""

    def test_stores(self) -> None:
        """The first key is stored in a file for its owner alone, and reported once."""
        heard: list[Identity] = []
        known = KnownServers(self.file, "example.org", 9000, True, heard.append)
        named = known.authorize(identity(1))
        self.assertEqual(named.name, SERVER)
        self.assertEqual(self.lines(), [f"{SERVER} {line(1)}"])
        self.assertEqual(modeOf(self.file), 0o600)
        self.assertEqual(known.authorize(identity(1)), named)
        self.assertEqual(heard, [named])
        self.assertIn("HAS CHANGED", self.refused(known, identity(2)))
        self.assertEqual(os.listdir(self.directory), ["known_servers"])

    def test_keepsFile(self) -> None:
        """What the file held, its mode and a link to it stay as they were."""
        target = write(self.path("target"), b"# no newline", 0o640)
        os.symlink("target", self.file)
        KnownServers(self.file, "example.org", 9000, True).authorize(identity(1))
        self.assertTrue(os.path.islink(self.file))
        self.assertEqual(read(target).decode(), f"# no newline\n{SERVER} {line(1)}\n")
        self.assertEqual(modeOf(target), 0o640)

    def test_notStored(self) -> None:
        """A key that cannot be stored is not believed."""
        known = KnownServers(self.path("missing/file"), "example.org", 9000, True)
        self.assertIn("No such file", self.undecided(known, identity(1)))
        known = self.known("# mine", firstUse=True)
        self.patch(os, "rename", mock.Mock(side_effect=OSError(5, "Input/output error")))
        refusal = self.undecided(known, identity(1))
        self.assertIn("Input/output error", refusal)
        self.assertTrue(refusal.endswith(f"add the line: {SERVER} {line(1)}"), refusal)
        self.assertEqual(self.lines(), ["# mine"])
        self.assertEqual(os.listdir(self.directory), ["known_servers"])

    def test_mountedAlone(self) -> None:
        """It is stored where the file alone is mounted, as in containers."""
        known = self.known("# mine", firstUse=True)
        self.patch(os, "rename", mock.Mock(side_effect=OSError(errno.EBUSY, "busy")))
        known.authorize(identity(1))
        known.keysAnnounced(identity(1), identity(2))
        self.assertEqual(len(self.lines()), 3)
        self.assertEqual(known.authorize(identity(2)).name, SERVER)

    def test_lostRace(self) -> None:
        """If another process stores a key in between, that key counts."""
        self.known(firstUse=True).authorize(identity(1))
        heard: list[Identity] = []
        known = KnownServers(self.file, "example.org", 9000, True, heard.append)
        # The first look finds nothing yet, the second one, under the lock, does.
        self.patch(known, "_read", lambda: b"")
        known.authorize(identity(1))
        self.assertIn("HAS CHANGED", self.refused(known, identity(2)))
        self.assertEqual(heard, [])
        self.assertEqual(self.lines(), [f"{SERVER} {line(1)}"])

    def test_lockHeld(self) -> None:
        """A lock that another holds for too long is a refusal, not a wait without end."""
        known = self.known(firstUse=True)
        with files.lockedFile(self.file):
            waiting = known.authorize(identity(1))
            self.clock.pump([files.LOCK_INTERVAL] * (files.LOCK_TRIES - 2))
            self.assertNoResult(waiting)
            self.clock.advance(files.LOCK_INTERVAL)
        error = self.failureResultOf(waiting, NotAuthorized).value
        self.assertIn("another process holds its lock", error.detail)
        self.assertIs(error.code, ErrorCode.UNDECIDED)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertLessEqual(self.clock.seconds(), 1.0)
        known.authorize(identity(1))

    def test_lockIsLetGo(self) -> None:
        """As soon as another has let go of the lock the key is stored; until then nobody waits."""
        heard: list[Identity] = []
        known = KnownServers(self.file, "example.org", 9000, True, heard.append, self.clock)
        with files.lockedFile(self.file):
            waiting = known.authorize(identity(1))
            self.clock.pump([files.LOCK_INTERVAL] * 3)
        self.assertNoResult(waiting)
        self.assertEqual(heard, [])
        self.clock.advance(files.LOCK_INTERVAL)
        self.assertEqual(heard, [self.successResultOf(waiting)])
        self.assertEqual(self.lines(), [f"{SERVER} {line(1)}"])

    def test_otherKeyMeanwhile(self) -> None:
        """What another stored while it had the lock counts."""
        known = self.known(firstUse=True)
        with files.lockedFile(self.file) as file:
            waiting = known.authorize(identity(1))
            file.replace(f"{SERVER} {line(2)}\n".encode())
        self.clock.advance(files.LOCK_INTERVAL)
        self.assertIn("HAS CHANGED", self.failureResultOf(waiting, NotAuthorized).value.detail)
        self.assertEqual(self.lines(), [f"{SERVER} {line(2)}"])

    def test_cancelled(self) -> None:
        """A session that ends while its server's file is locked leaves nothing behind."""
        known = self.known(firstUse=True)
        with files.lockedFile(self.file):
            waiting = known.authorize(identity(1))
            waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.lines(), [])

    def test_strangeDirectory(self) -> None:
        """Whoever owns the directory gets no other file by putting it in a file's place."""
        secret = write(self.path("secret"), b"not yours", 0o600)
        known = self.known("# mine", firstUse=True)
        os.chmod(self.file, 0o666)
        synced = os.fsync

        def steal(descriptor: int) -> None:
            self.patch(os, "fsync", synced)
            for name in os.listdir(self.directory):
                if name.startswith("."):
                    os.rename(self.path(name), self.path("moved"))
                    os.symlink("secret", self.path(name))

        self.patch(os, "fsync", steal)
        known.authorize(identity(1))
        self.assertFalse(os.path.islink(self.file))
        self.assertEqual(modeOf(secret), 0o600)
        self.assertEqual(read(secret), b"not yours")

    def test_race(self) -> None:
        """Clients that store at once lose nothing, and disagree about no server."""
        code = (
            "from twisted.internet.defer import ensureDeferred, maybeDeferred\n"
            "from twisted.internet.task import react\n"
            "from thing.core.credentials import CredentialKind, Identity\n"
            "from thing.errors import NotAuthorized\n"
            "from thing.trust import KnownServers, unlocking\n"
            "unlocking.LOCK_TRIES = 3000\n"
            "peer = Identity(CredentialKind.ED25519, bytes([int(sys.argv[2])]) * 32)\n"
            "async def meet(reactor):\n"
            "    for host in ['shared', *(f'{sys.argv[2]}-{n}.org' for n in range(5))]:\n"
            "        known = KnownServers(sys.argv[1], host, 9000, True)\n"
            "        try:\n"
            "            print((await maybeDeferred(known.authorize, peer)).name)\n"
            "        except NotAuthorized as error:\n"
            "            assert 'HAS CHANGED' in error.detail, error\n"
            "react(lambda reactor: ensureDeferred(meet(reactor)))\n"
        )
        answers = runTogether(code, [[self.file, str(number)] for number in range(1, 5)])
        names = sorted(name for answer in answers for name in answer)
        self.assertEqual(names, sorted(text.split()[0] for text in self.lines()))
        self.assertEqual(len(set(names)), 1 + 4 * 5)


class NextKeyTests(KnownServersMixin, TestCase):
    """By which keys a known server says that it holds."""

    def test_rotation(self) -> None:
        """The next key is believed beside the current one, and then in its place."""
        known = self.known(f"{SERVER} {line(1)}", "# mine")
        known.keysAnnounced(identity(1), identity(2))
        for number in 1, 2:
            known.authorize(identity(number))
        self.assertEqual(self.lines(), [f"{SERVER} {line(1)}", "# mine", learned(2, 1)])
        known.keysAnnounced(identity(2), identity(3))
        for number in 2, 3:
            known.authorize(identity(number))
        self.assertIn("HAS CHANGED", self.refused(known, identity(1)))
        self.assertEqual(self.lines(), ["# mine", learned(2, 1), learned(3, 1, 2)])
        known.keysAnnounced(identity(3), None)
        self.assertEqual(self.lines(), ["# mine", learned(3, 1, 2)])

    def test_notYetReplaced(self) -> None:
        """As long as the new key announces the one before, both are believed; and back again."""
        known = self.known(f"{SERVER} {line(1)}")
        known.keysAnnounced(identity(1), identity(2))
        both = self.lines()
        for _ in range(2):
            known.keysAnnounced(identity(2), identity(1))
            known.keysAnnounced(identity(1), identity(2))
        self.assertEqual(self.lines(), both)
        known.keysAnnounced(identity(2), None)
        self.assertEqual(self.lines(), [learned(2, 1)])
        known.keysAnnounced(identity(2), identity(1))
        known.keysAnnounced(identity(1), None)
        self.assertEqual(self.lines(), [learned(1, 2)])

    def test_retiredKeyPushesNothingOut(self) -> None:
        """Who finds the key before takes nothing from the server that has the next one."""
        known = self.known(f"{SERVER} {line(1)}")
        known.keysAnnounced(identity(1), identity(2))
        known.keysAnnounced(identity(1), None)
        for number in range(3, 3 + servers.MAX_KEYS - 2):
            known.keysAnnounced(identity(1), identity(number))
            known.keysAnnounced(identity(number), None)
            known.keysAnnounced(identity(number), identity(1))
        known.authorize(identity(2))
        known.keysAnnounced(identity(2), None)
        self.assertIn(learned(2, 1), self.lines())
        self.assertNotIn(f"{SERVER} {line(1)}", self.lines())

    def test_writtenStays(self) -> None:
        """A key that somebody wrote beside another goes for no announcement."""
        lines = [f"{SERVER} {line(1)}", f"{SERVER} {line(2)}"]
        known = self.known(*lines)
        known.keysAnnounced(identity(1), None)
        known.keysAnnounced(identity(1), identity(2))
        known.keysAnnounced(identity(2), None)
        self.assertEqual(self.lines(), lines)

    def test_otherNamesStay(self) -> None:
        """Of a line for several servers this one's name goes; patterns and revoked keys stay."""
        other = f"[other.org]:9000 {line(1)}"
        revoked = f"@revoked [*]:9001 {line(1)}"
        lists = f"[a.org]:9000,[Example.org]:9000,[b.org]:9000 {line(1, 'x')}"
        pattern = f"{SERVER},[*.org]:9000 {line(1)}"
        known = self.known(other, revoked, lists, pattern, f"  {SERVER} {line(1)}")
        known.keysAnnounced(identity(1), identity(2))
        for _ in range(2):
            known.keysAnnounced(identity(2), None)
            kept = [other, revoked, f"[a.org]:9000,[b.org]:9000 {line(1, 'x')}"]
            self.assertEqual(self.lines(), [*kept, f"[*.org]:9000 {line(1)}", learned(2, 1)])

    def test_fallsWithAnnouncer(self) -> None:
        """A key is believed no longer once one is revoked by whose word it was."""
        known = self.known(f"{SERVER} {line(1)}")
        known.keysAnnounced(identity(1), identity(2))
        known.keysAnnounced(identity(2), identity(3))
        known.keysAnnounced(identity(3), identity(4))
        before = self.lines()
        self.assertEqual(before, [learned(3, 1, 2), learned(4, 1, 2, 3)])
        for number in 1, 2, 3:
            for firstUse in False, True:
                known = self.known(
                    *before,
                    f"@revoked {SERVER} {line(number)}",
                    f"{SERVER} {line(9)}",
                    firstUse=firstUse,
                )
                why = self.refused(known, identity(4))
                self.assertIn(f"announced by {identity(number).fingerprint}", why)
                self.assertRaises(NotAuthorized, known.keysAnnounced, identity(4), identity(5))
                self.assertRaises(NotAuthorized, known.keysAnnounced, identity(9), identity(4))
                known.authorize(identity(9))
        known = self.known(*before, f"@revoked [other.org]:9000 {line(1)}")
        known.authorize(identity(4))

    def test_fallenAlone(self) -> None:
        """If no other key is known either, one that fell is not believed on first use."""
        known = self.known(f"@revoked {SERVER} {line(1)}", learned(2, 1), firstUse=True)
        self.assertIn("REVOKED", self.refused(known, identity(2)))
        known.authorize(identity(3))

    def test_writtenDoesNotFall(self) -> None:
        """A key that somebody wrote there stands by itself, also if it was announced before."""
        known = self.known(f"@revoked {SERVER} {line(1)}", learned(2, 1), f"{SERVER} {line(2)}")
        self.assertEqual(known.authorize(identity(2)).announcers, ())
        known.keysAnnounced(identity(2), identity(3))
        self.assertIn(learned(3, 2), self.lines())

    def test_announcers(self) -> None:
        """A server that is admitted by announced keys comes with those."""
        known = self.known(f"{SERVER} {line(1)}", learned(3, 1, 2))
        self.assertEqual(known.authorize(identity(1)).announcers, ())
        announcers = tuple(identity(number).publicKey for number in (1, 2))
        self.assertEqual(known.authorize(identity(3)).announcers, announcers)

    def test_damagedAnnouncers(self) -> None:
        """Announcers that cannot be read are an error, and no comment."""
        for text in "", ",", line(2), line(2).split()[1] + ",", "AAAA":
            self.assertRaises(
                CredentialError, self.known, f"{SERVER} {line(1)} announced-by={text}"
            )
        self.known(f"{SERVER} {line(1, 'is announced-by=nobody')}").authorize(identity(1))

    def test_manyChanges(self) -> None:
        """A key can change often, and the memory of that is bounded; then somebody must write."""
        known = self.known(f"{SERVER} {line(0)}")
        for number in range(succession.MAX_ANNOUNCERS):
            known.keysAnnounced(identity(number), identity(number + 1))
        self.assertEqual(len(self.lines()), 2)
        last = succession.MAX_ANNOUNCERS
        why = str(
            self.assertRaises(
                CredentialError, known.keysAnnounced, identity(last), identity(last + 1)
            )
        )
        self.assertIn("by hand", why)
        known = self.known(f"{SERVER} {line(last)}")
        known.keysAnnounced(identity(last), identity(last + 1))

    def test_idempotent(self) -> None:
        """A key that is known already is not stored again, nor is the file written."""
        known = self.known(f"{SERVER} {line(1)}", f"[*]:9000 {line(2)}")
        self.patch(os, "rename", mock.Mock(side_effect=AssertionError("the file was written")))
        known.keysAnnounced(identity(1), identity(2))
        known.keysAnnounced(identity(1), identity(1))

    def test_notKnown(self) -> None:
        """A server that is not known, or not by that key, cannot announce any."""
        for text in f"{SERVER} {line(1)}", f"[other.org]:9000 {line(2)}":
            for firstUse in False, True:
                known = self.known(text, firstUse=firstUse)
                self.assertRaises(NotAuthorized, known.keysAnnounced, identity(2), identity(3))
                self.assertEqual(self.lines(), [text])

    def test_revoked(self) -> None:
        """A revoked key announces nothing and is not announced."""
        lines = [f"@revoked * {line(1)}", f"{SERVER} {line(1)}", f"{SERVER} {line(2)}"]
        known = self.known(*lines)
        for current, following in (1, 3), (2, 1):
            self.assertRaises(
                NotAuthorized, known.keysAnnounced, identity(current), identity(following)
            )
        self.assertEqual(self.lines(), lines)

    def test_lockHeld(self) -> None:
        """While another process has the lock, the next key waits for it, but not for ever."""
        known = self.known(f"{SERVER} {line(1)}")
        with files.lockedFile(self.file):
            kept = known.keysAnnounced(identity(1), identity(2))
            self.clock.advance(files.LOCK_INTERVAL)
        self.assertNoResult(kept)
        self.clock.advance(files.LOCK_INTERVAL)
        self.assertIsNone(self.successResultOf(kept))
        self.assertEqual(self.lines(), [f"{SERVER} {line(1)}", learned(2, 1)])
        with files.lockedFile(self.file):
            kept = known.keysAnnounced(identity(1), identity(3))
            self.clock.pump([files.LOCK_INTERVAL] * files.LOCK_TRIES)
        self.failureResultOf(kept, CredentialError)

    def test_noKey(self) -> None:
        """What is announced must be a key."""
        known = self.known(f"{SERVER} {line(1)}")
        self.assertRaises(NotAuthorized, known.keysAnnounced, identity(1), ANONYMOUS)

    def test_bound(self) -> None:
        """Of too many keys none goes: the next one is refused."""
        other = f"[other.org]:9000 {line(99)}"
        known = self.known(f"{SERVER} {line(1)}", other)
        for number in range(2, 1 + servers.MAX_KEYS):
            known.keysAnnounced(identity(1), identity(number))
        before = self.lines()
        error = self.assertRaises(CredentialError, known.keysAnnounced, identity(1), identity(50))
        self.assertIn(f"has {servers.MAX_KEYS} keys", str(error))
        self.assertEqual(self.lines(), before)
        known.keysAnnounced(identity(2), identity(50))
        self.assertEqual(self.lines(), [*before[1:], learned(50, 1, 2)])

    def test_boundOfBelieved(self) -> None:
        """Keys that are believed no longer are in nobody's way."""
        fallen = [learned(number, 1) for number in range(2, 2 + servers.MAX_KEYS)]
        known = self.known(f"@revoked {SERVER} {line(1)}", *fallen, f"{SERVER} {line(50)}")
        known.keysAnnounced(identity(50), identity(51))
        known.authorize(identity(51))


class SSHKeygenTests(KnownServersMixin, TestCase):
    """Files that are exchanged with the real ssh-keygen."""

    skip = NO_SSH_KEYGEN

    def test_findsOurs(self) -> None:
        """ssh-keygen finds the server that was stored, by the same key."""
        KnownServers(self.file, "Example.org", 9000, True).authorize(identity(1))
        found = sshKeygen("-F", SERVER, "-f", self.file).splitlines()
        self.assertEqual(found[-1], f"{SERVER} {line(1)}")
        self.assertIn(identity(1).fingerprint, sshKeygen("-lf", self.file))

    def test_hashed(self) -> None:
        """A file whose names ssh-keygen hashed means what it meant before."""
        lines = [f"{SERVER},[other.org]:9000 {line(1)}", f"[third.org]:9000 {line(2)}"]
        self.known(*lines)
        sshKeygen("-H", "-f", self.file)
        self.assertTrue(all(text.startswith("|1|") for text in self.lines()))
        for host in "example.org", "OTHER.org":
            known = KnownServers(self.file, host, 9000)
            known.authorize(identity(1))
            self.assertIn("HAS CHANGED", self.refused(known, identity(2)))
        known = KnownServers(self.file, "example.org", 9001)
        self.assertIn("is not in", self.refused(known, identity(1)))

    def test_hashedRotation(self) -> None:
        """A server whose name is hashed is followed from key to key, and ssh-keygen finds it."""
        self.known(f"{SERVER} {line(1)}", f"[other.org]:9000 {line(1)}")
        sshKeygen("-H", "-f", self.file)
        known = KnownServers(self.file, "example.org", 9000)
        known.keysAnnounced(identity(1), identity(99))
        self.assertIn(line(1), sshKeygen("-F", SERVER, "-f", self.file))
        known.keysAnnounced(identity(99), None)
        found = sshKeygen("-F", SERVER, "-f", self.file)
        self.assertIn(line(99), found)
        self.assertNotIn(line(1), found)
        self.assertIn(line(1), sshKeygen("-F", "[other.org]:9000", "-f", self.file))
        self.assertIn(identity(99).fingerprint, sshKeygen("-lf", self.file))

    def test_judgedAlike(self) -> None:
        """Whatever else is in a file, a server is found by us if ssh-keygen finds it there."""
        good = f"{SERVER} {line(1)}"
        for content, isFound in (
            (f"garbage\n{good}", True),
            (f"github.com\n{good}", True),
            (f"github.com ssh-ed25519 AAAA\n{good}", True),
            (f"{good}\r\n", True),
            (f"   {good}", True),
            (good.replace(" ", "\t"), True),
            (f"{'x' * 9000}\n{good}", True),
            ("\0" * 64 + "\n" + good, True),
            (f"|1|abc=|def= {line(2)}\n{good}", True),
            (f"ssh-gw {line(2)}\n{good}", True),
            (f"@unknown * {line(2)}\n{good}", True),
            (f"{'a.example,' * 2000}{good}", True),
            (f"!*.com,[*.org]:9??? {line(1)}", True),
            (f"#{good}", False),
            (f"x{good}", False),
            (f"{SERVER},!*.org* {line(1)}", False),
            (f"example.org {line(1)}", False),
        ):
            write(self.file, content.encode())
            ours = KnownServers(self.file, "example.org", 9000)
            if isFound:
                self.assertIn(SERVER, sshKeygen("-F", SERVER, "-f", self.file), content)
                ours.authorize(identity(1))
            else:
                self.assertRaises(
                    subprocess.CalledProcessError, sshKeygen, "-F", SERVER, "-f", self.file
                )
                self.assertIn("is not in", self.refused(ours, identity(1)))
