"""A thing joins: with a token, and with its own key from then on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError

from tests.joining import SERVER, JoinCase, Node, Way
from tests.trust.test_keys import read, write
from thing.endpoints.joining import (
    PATIENCE,
    Joined,
    JoinFailed,
    Joining,
    JoinRefused,
    NotReached,
    OtherServer,
)
from thing.errors import CredentialError
from thing.fleet.inviting import Inviter
from thing.identity import fingerprint
from thing.session.joinmessages import JoinReply, Refusal
from thing.trust import IdentityKey, KnownServers
from thing.trust.invitations import State
from thing.trust.jointoken import JoinToken

OTHER = "[2001:db8::1]:9001"


class JoiningCase(JoinCase):
    """A thing that joins, and the ways that lead to servers."""

    def setUp(self) -> None:
        super().setUp()
        self.key = IdentityKey.generate()
        self.known = self.path("known_servers")
        self.ways: dict[tuple[str, int], Node | None] = {("example.org", 9000): self.node}
        self.asked = 0
        self.then: Callable[[], object] = lambda: None

    def way(self, host: str, port: int) -> Any:
        return Way(self, self.ways.get((host, port)))

    def note(self) -> None:
        self.asked += 1
        self.then()

    def joining(self, token: JoinToken, key: IdentityKey | None = None) -> Deferred[Joined]:
        """Begin to join."""
        joining = Joining(
            token,
            key or self.key,
            self.known,
            endpointFor=self.way,
            clock=self.clock,
            onAsked=self.note,
        ).run()
        self.settle()
        return joining

    def joined(self, token: JoinToken, key: IdentityKey | None = None) -> Joined:
        joining = self.joining(token, key)
        self.settle(1)
        return self.successResultOf(joining)

    def failed(self, token: JoinToken, *errors: type[Exception], within: float = 1) -> str:
        joining = self.joining(token)
        self.settle(within)
        text = self.failureResultOf(joining, *(errors or (JoinFailed,))).getErrorMessage()
        self.assertNotIn("\n", text)
        return text


class JoinTests(JoiningCase):
    """How it goes well."""

    def test_joins(self) -> None:
        """The key is authorized, the server is known, and a first session was had."""
        _, token = self.invited()
        joined = self.joined(token)
        self.assertEqual(joined, Joined("lamp", self.serverKey.fingerprint, SERVER))
        self.assertEqual(self.nameOf(self.key), "lamp")
        public = self.serverKey.publicLine()
        self.assertEqual(read(self.known).decode(), f"[example.org]:9000 {public}\n")
        names = [pair.server.peer and pair.server.peer.name for pair in self.pairs]
        self.assertEqual(names, [f"join:{token.invitation}", "lamp"])
        self.assertEqual(self.asked, 1)
        for pair in self.pairs:
            self.assertTrue(pair.client.end.clean)

    def test_addresses(self) -> None:
        """The first address that answers is enough, and the server is known by all."""
        self.ways = {("2001:db8::1", 9001): self.node}
        _, token = self.invited(servers=(SERVER, OTHER))
        joined = self.joined(token)
        self.assertEqual((joined.name, joined.address, joined.trouble), ("lamp", OTHER, ""))
        self.assertEqual(
            [line.split()[0] for line in read(self.known).decode().splitlines()],
            ["[example.org]:9000", "[2001:db8::1]:9001"],
        )

    def test_known(self) -> None:
        """What is known of the server already, and of others, stays."""
        before = f"# hosts\n[example.org]:9000 {self.serverKey.publicLine()}\n".encode()
        write(self.known, before)
        _, token = self.invited()
        self.joined(token)
        self.assertEqual(read(self.known), before)

    def test_confirmed(self) -> None:
        """If somebody must say yes it waits, and comes again if its session is lost meanwhile."""
        made, token = self.invited(confirm=True)
        joining = self.joining(token)
        self.settle(2 * PATIENCE)
        self.pairs[-1].cut()
        self.settle(PATIENCE)
        self.assertNoResult(joining)
        self.assertEqual(self.asked, 2)
        self.successResultOf(self.node.inviter.confirm(made.id, self.key.fingerprint))
        self.settle(2)
        self.assertEqual(self.successResultOf(joining).name, "lamp")

    def test_later(self) -> None:
        """A server that is away, or cannot write now, is asked again."""
        _, token = self.invited()
        self.ways.clear()
        joining = self.joining(token)
        self.settle(5)
        self.ways[("example.org", 9000)] = self.node
        before = read(self.things)
        write(self.things, b"damaged\n")
        self.settle(5)
        self.assertNoResult(joining)
        write(self.things, before)
        self.settle(5)
        self.assertEqual(self.successResultOf(joining).name, "lamp")

    def test_replyLost(self) -> None:
        """If it has joined, and just was not told, the same token and key are enough."""
        _, token = self.invited()
        asking = Inviter.admit

        async def admit(*arguments: Any) -> JoinReply:
            reply = await asking(*arguments)
            self.pairs[-1].cut()
            return reply

        with mock.patch.object(Inviter, "admit", admit):
            joining = self.joining(token)
        self.assertNoResult(joining)
        self.settle(3)
        self.assertEqual(
            self.successResultOf(joining), Joined(None, self.serverKey.fingerprint, SERVER)
        )
        self.assertEqual(len(self.lines()), 1)
        self.assertIn(b"[example.org]:9000 ", read(self.known))
        self.assertEqual(self.joined(token).trouble, "")

    def test_rotation(self) -> None:
        """A token holds when the server has another key meanwhile, which it was about to have."""
        following = IdentityKey.generate()
        following.save(self.path("next"))
        self.node = self.anotherNode(nextIdentity=self.path("next"))
        _, token = self.invited()
        self.ways[("example.org", 9000)] = self.anotherNode(identity=self.path("next"))
        self.assertEqual(self.joined(token).server, following.fingerprint)
        self.assertIn(following.publicLine().encode(), read(self.known))

    def test_nextKey(self) -> None:
        """The key to come is known by the word of the one that holds, so that it can follow it."""
        following = IdentityKey.generate()
        following.save(self.path("next"))
        self.node = self.anotherNode(nextIdentity=self.path("next"))
        self.ways[("example.org", 9000)] = self.node
        _, token = self.invited()
        self.joined(token)
        first, second = read(self.known).decode().splitlines()
        self.assertEqual(first, f"[example.org]:9000 {self.serverKey.publicLine()}")
        self.assertTrue(second.startswith(f"[example.org]:9000 {following.publicLine()} "))

    def test_laggingNode(self) -> None:
        """The first session may be with a node that has not read the file anew yet."""
        lagging = self.anotherNode()
        _, token = self.invited()
        self.then = lambda: self.ways.update({("example.org", 9000): lagging})
        joining = self.joining(token)
        self.settle(1)
        self.assertNoResult(joining)
        assert lagging.factory.trust is not None
        lagging.factory.trust.reload()
        self.settle(3)
        self.assertEqual(self.successResultOf(joining).trouble, "")

    def test_trouble(self) -> None:
        """Without a first session it has joined all the same, and says why there was none."""
        _, token = self.invited()
        self.then = self.ways.clear
        joining = self.joining(token)
        self.settle(20)
        joined = self.successResultOf(joining)
        self.assertEqual(joined.name, "lamp")
        self.assertIn(f"{SERVER}: ", joined.trouble)


class RefusalTests(JoiningCase):
    """How it does not."""

    def test_used(self) -> None:
        """A token that was stolen after its use is of no use, nor is one withdrawn or made up."""
        _, token = self.invited()
        self.joined(token)
        thief = self.joining(token, IdentityKey.generate())
        self.settle(1)
        error = self.failureResultOf(thief, JoinRefused).value
        self.assertIn("used or withdrawn, or its time is over", str(error))
        self.key = IdentityKey.generate()
        made, token = self.invited("kettle")
        self.failed(replace(token, key=bytes(32)), JoinRefused)
        self.successResultOf(self.node.inviter.withdraw(made.id))
        self.failed(token, JoinRefused)
        self.assertEqual(len(self.lines()), 1)

    def test_refused(self) -> None:
        """What the server says for good is told, and not tried again."""
        _, token = self.invited()
        write(self.things, self.serverKey.publicLine("lamp").encode())
        text = self.failed(token, JoinRefused)
        self.assertEqual(text, f"{SERVER}: {Refusal.NAME_TAKEN.sentence}")
        self.assertEqual(self.asked, 1)
        self.assertFalse(os.path.exists(self.known))

    def test_nobody(self) -> None:
        """If nobody answers it gives up in the end."""
        self.ways.clear()
        _, token = self.invited(servers=(SERVER, OTHER))
        text = self.failed(token, NotReached, within=PATIENCE + 2)
        self.assertIn(f"{SERVER}: ", text)
        self.assertIn(f"{OTHER}: ", text)

    def test_cannotWrite(self) -> None:
        """A server that cannot write its files for so long is told of; the invitation is open."""
        made, token = self.invited()
        write(self.things, b"damaged\n")
        text = self.failed(token, NotReached, within=PATIENCE + 4)
        self.assertEqual(text, f"{SERVER}: {Refusal.NOT_NOW.sentence}")
        found = self.state(made)
        assert found is not None
        self.assertIs(found.state, State.OPEN)

    def copies(self) -> Node:
        """A node of the same server that has files of its own."""
        copies = {"authorized": self.path("copy"), "invitations": self.path("copy-invitations")}
        write(copies["authorized"], b"# things\n")
        return self.anotherNode(**copies)

    def test_otherIsAway(self) -> None:
        """What one node refuses, as it has other files, is asked of one that is away until then."""
        self.ways = {("example.org", 9000): self.copies()}
        _, token = self.invited(servers=(SERVER, OTHER))
        joining = self.joining(token)
        self.settle(PATIENCE / 2)
        self.assertNoResult(joining)
        self.ways[("2001:db8::1", 9001)] = self.node
        self.settle(5)
        joined = self.successResultOf(joining)
        self.assertEqual((joined.name, joined.address), ("lamp", OTHER))

    def test_otherStaysAway(self) -> None:
        """If that one stays away, or refuses too, the token is taken nowhere."""
        self.ways = {("example.org", 9000): self.copies()}
        _, token = self.invited(servers=(SERVER, OTHER))
        self.assertIn(OTHER, self.failed(token, JoinRefused, within=PATIENCE + 4))
        self.ways[("2001:db8::1", 9001)] = self.copies()
        self.failed(token, JoinRefused)

    def test_cancelled(self) -> None:
        """It may be cancelled, whatever it waits for; no session stays."""
        _, token = self.invited(confirm=True)
        for begin in (lambda: None, self.ways.clear):
            begin()
            joining = self.joining(token)
            self.settle(3)
            joining.cancel()
            self.failureResultOf(joining, CancelledError)
            self.settle(2)
            self.assertEqual(self.node.factory.guests, set())

    def test_cancelledConnecting(self) -> None:
        """Who is cancelled while it connects does not go on with the next address."""
        connecting: list[Deferred[Any]] = []

        class Nowhere:
            def connect(self, factory: Any) -> Deferred[Any]:
                connecting.append(Deferred(lambda it: it.errback(ConnectingCancelledError(None))))
                return connecting[-1]

        _, token = self.invited(servers=("example.org:9000", OTHER))
        self.patch(self, "way", lambda host, port: Nowhere())
        joining = self.joining(token)
        joining.cancel()
        self.failureResultOf(joining, CancelledError)
        self.assertEqual(len(connecting), 1)

    def test_inTheMiddle(self) -> None:
        """Who stands between has not the secret: it is not believed, and learns no key's name."""
        _, token = self.invited()
        stranger = IdentityKey.generate()
        stranger.save(self.path("stranger"))
        given = {
            "identity": self.path("stranger"),
            "authorized": write(self.path("theirs"), b"# things\n"),
            "invitations": self.path("their-invitations"),
        }
        self.ways[("example.org", 9000)] = Node(given, self.clock, self.wallClock)
        self.failed(token, OtherServer)
        self.assertEqual(self.asked, 0)
        self.assertFalse(os.path.exists(self.known))

    def test_otherKey(self) -> None:
        """A server that has the secret but says that it has another key is not believed."""
        _, token = self.invited()
        lying = replace(token, fingerprints=(fingerprint(bytes(32)),))
        text = self.failed(lying, OtherServer)
        self.assertIn(f"its key is {self.serverKey.fingerprint}, but the token has", text)
        self.assertFalse(os.path.exists(self.known))

    def test_conflict(self) -> None:
        """If the file of known servers has other keys, nothing is done at all."""
        other = IdentityKey.generate()
        before = f"[example.org]:9000 {other.publicLine()}\n".encode()
        write(self.known, before)
        made, token = self.invited()
        text = self.failed(token, OtherServer)
        self.assertIn(f"{self.known} has other keys for [example.org]:9000", text)
        self.assertIn(other.fingerprint, text)
        self.assertEqual((self.asked, read(self.known)), (0, before))
        found = self.state(made)
        assert found is not None
        self.assertIs(found.state, State.OPEN)

    def test_revokedServer(self) -> None:
        """If the file revokes the server's key, or has it damaged, nobody is asked for anything."""
        for line, word in (
            (f"@revoked * {self.serverKey.publicLine()}", "REVOKED"),
            ("[example.org]:9000 ssh-ed25519 AAAA", "damaged"),
        ):
            write(self.known, f"{line}\n".encode())
            _, token = self.invited()
            self.assertIn(word, self.failed(token, OtherServer))
            self.assertEqual((self.asked, self.lines(), self.pairs), (0, [], []))

    def test_badFile(self) -> None:
        """A file of known servers that is of no use is told before anything is asked."""
        write(self.known, "hosts".encode("utf-16"))
        _, token = self.invited()
        self.assertIn("UTF-16", self.failed(token))
        self.assertEqual(self.asked, 0)

    def test_badReply(self) -> None:
        """A reply that is none is told in one line."""
        for reply in (b"", b"[]", b"{}", b'{"name": ""}', b'{"name": "a\\nb", "server": "x"}'):
            self.key = IdentityKey.generate()
            _, token = self.invited(replace=True)
            with mock.patch.object(JoinReply, "encode", return_value=reply):
                self.failed(token)
        _, token = self.invited("kettle")
        write(self.things, self.serverKey.publicLine("kettle").encode())
        with mock.patch("thing.fleet.inviting.encodeRefusal", return_value=b'{"refused": []}'):
            self.failed(token)


class KnownFingerprintsTests(JoiningCase):
    """By which keys a server is believed."""

    def test_fingerprints(self) -> None:
        """Those that the file has for it, and no revoked ones."""
        one, two = IdentityKey.generate(), IdentityKey.generate()
        name = "[example.org]:9000"
        write(
            self.known,
            "\n".join(
                (
                    f"{name} {one.publicLine()}",
                    f"{name} {two.publicLine()}",
                    f"@revoked {name} {two.publicLine()}",
                    f"[example.org]:1 {self.key.publicLine()}",
                )
            ).encode(),
        )
        servers = KnownServers(self.known, "example.org", 9000)
        self.assertEqual(servers.fingerprints(), [one.fingerprint])
        write(self.known, "hosts".encode("utf-16"))
        self.assertRaises(CredentialError, servers.fingerprints)
