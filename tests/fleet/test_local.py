"""The sessions of one node: who is here, who takes whose place, and what is told of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.fleet.inmemory import WALL, PresenceCase
from tests.pairs import Pair
from thing import EndReason, ErrorCode, IdentityKey
from thing.events import Cause
from thing.fleet import (
    Filter,
    Kind,
    MemoryPresence,
    NotGone,
    NotLost,
    NotPresent,
    Status,
    Twins,
    directory,
)
from thing.fleet.damper import FIRST_WAIT, TAKEOVERS
from thing.fleet.directory import MOST_ENDINGS
from thing.fleet.searching import SEARCH_TIME
from thing.identity import Identity
from thing.session.protocol import linkOf


class JoinTests(PresenceCase):
    """Who is here."""

    def test_joined(self) -> None:
        """A session that is up is a thing that is here, with all that is known of it."""
        presence = self.presence()
        pair = self.connect(presence)
        self.assertEqual(self.kinds(), [Kind.JOINED])
        event = self.told[0].event
        self.assertEqual((event.id, event.node, event.at), ("lamp", "node", WALL))
        self.assertEqual(event.session, pair.server.sessionId)
        self.assertEqual(event.data["name"], "lamp")
        self.assertEqual(event.data["fingerprint"], self.key("lamp").fingerprint)
        record = self.successResultOf(presence.thing("lamp"))
        assert record is not None and record.traffic is not None
        self.assertIs(record.status, Status.PRESENT)
        self.assertEqual(record.session, pair.client.sessionId)
        self.assertEqual((record.epoch, record.sequence), (event.epoch, 1))
        self.assertEqual(record.address, "192.0.2.1:1")
        self.assertEqual(record.since, WALL)
        self.assertEqual(record.endings, ())

    def test_handshakeIsNotEnough(self) -> None:
        """Who is not admitted was never here."""
        presence = self.presence()
        pair = self.connect(presence, "stranger", IdentityKey.generate())
        self.assertRejected(pair, ErrorCode.NOT_AUTHORIZED)
        self.assertEqual(self.told, [])
        self.assertIsNone(self.successResultOf(presence.thing("stranger")))
        self.assertEqual(len(presence.local), 0)

    def test_unnamed(self) -> None:
        """A key without a name is called by its fingerprint."""
        key = IdentityKey.generate()
        self.book.names[key.fingerprint] = ""
        presence = self.presence()
        self.connect(presence, "unnamed", key)
        self.assertEqual(self.told[0].event.id, key.fingerprint)

    def test_anonymous(self) -> None:
        """Each anonymous session is a thing of its own, and forgotten when it has left."""
        presence = self.presence()
        pairs = [self.connect(presence, None) for _ in range(3)]
        ids = [fed.event.id for fed in self.told]
        self.assertEqual(ids, [f"anonymous#{pair.server.sessionId[:16]}" for pair in pairs])
        pairs[0].client.goodbye()
        pairs[0].pump()
        self.assertEqual(self.kinds(ids[0]), [Kind.JOINED, Kind.LEFT])
        self.assertIsNone(self.successResultOf(presence.thing(ids[0])))
        self.assertEqual(len(presence.local), 2)

    def test_numberSign(self) -> None:
        """A name with a number sign is a name like any other: it is remembered."""
        presence = self.presence()
        pair = self.connect(presence, "lamp#3")
        pair.client.goodbye()
        pair.pump()
        record = self.successResultOf(presence.thing("lamp#3"))
        assert record is not None
        self.assertIs(record.status, Status.GONE)

    def test_traffic(self) -> None:
        """What goes in and out is counted, and the heartbeats are."""
        presence = self.presence()
        pair = self.connect(presence)
        pair.client.sendMessage(b"one")
        pair.server.sendMessage(b"two")
        pair.server.sendMessage(b"three")
        pair.advance(31.0)
        record = self.successResultOf(presence.thing("lamp"))
        assert record is not None and record.traffic is not None
        traffic = record.traffic
        self.assertEqual((traffic.messagesIn, traffic.messagesOut), (1, 2))
        self.assertEqual((traffic.streams, traffic.creditStalls), (0, 0))
        self.assertEqual(traffic.octetsIn, pair.client.octetsSent)
        self.assertEqual(traffic.octetsOut, pair.client.octetsReceived)
        self.assertGreater(traffic.octetsIn, 0)
        self.assertEqual(traffic.heartbeats, pair.client.of("heartbeatSent")[-1])
        self.assertEqual(traffic.roundTripTime, 0.0)
        assert traffic.silence is not None and pair.server.ttl is not None
        self.assertLess(traffic.silence, pair.server.ttl / 2)
        self.assertEqual(record.lastSeen, self.wallClock() - traffic.silence)

    def test_late(self) -> None:
        """A missed heartbeat shows at once; so does the next one that comes."""
        presence = self.presence()
        pair = self.connect(presence)
        pair.advance(10.0)
        pair.clientEnd.frozen = True
        ttl = pair.server.ttl
        assert ttl is not None
        pair.advance(0.7 * ttl)
        self.assertEqual(self.kinds(), [Kind.JOINED, Kind.LATE])
        self.assertGreaterEqual(self.told[1].event.data["silence"], ttl / 2)
        record = self.successResultOf(presence.thing("lamp"))
        assert record is not None
        self.assertIs(record.status, Status.LATE)
        pair.clientEnd.frozen = False
        pair.advance(0.1)
        self.assertEqual(self.kinds(), [Kind.JOINED, Kind.LATE, Kind.RENEWED])
        record = self.successResultOf(presence.thing("lamp"))
        assert record is not None
        self.assertIs(record.status, Status.PRESENT)
        self.assertOrdered()

    def test_messages(self) -> None:
        """What a thing sends is told: text as text, and other octets in base64."""
        presence = self.presence()
        pair = self.connect(presence)
        pair.client.sendMessage("21 °C".encode())
        pair.client.sendMessage(b"\xff\x00")
        pair.pump()
        self.assertEqual(
            [fed.event.data for fed in self.told[1:]], [{"text": "21 °C"}, {"base64": "/wA="}]
        )
        self.assertEqual(pair.server.messages, ["21 °C".encode(), b"\xff\x00"])

    def test_requests(self) -> None:
        """What a thing asks is a message as well."""
        presence = self.presence()
        pair = self.connect(presence)
        answer = pair.client.request(b"how late is it?")
        pair.pump()
        self.assertEqual(self.successResultOf(answer), b"")
        self.assertEqual(self.told[1].event.data, {"text": "how late is it?"})

    def test_streamsAreNoMessages(self) -> None:
        """Pieces of a stream are not told."""
        presence = self.presence(stream=True)
        pair = self.connect(presence)
        pair.client.sendMessage(b"octets")
        pair.pump()
        self.assertEqual(self.kinds(), [Kind.JOINED])

    def test_protocolSeesItself(self) -> None:
        """When the protocol is told that it is up, it is in the registry, and may ask it."""
        presence = self.presence()
        found: list[object] = []
        pair = self.pair(serverFactory=presence.local.factory, clock=self.clock)
        pair.server.doing["handshakeCompleted"] = lambda: found.append(len(presence.local))
        self.book.names[pair.clientFactory.settings.credential.data.hex()] = ""
        self.book.names.update({self._fingerprint(pair): "lamp"})
        pair.connect().pump()
        self.assertEqual(found, [1])

    def _fingerprint(self, pair: Pair) -> str:
        from thing.identity import fingerprint

        credential = pair.clientFactory.settings.credential  # type: ignore[union-attr]
        return fingerprint(credential.data)


class LeaveTests(PresenceCase):
    """How a thing leaves, and what is remembered."""

    def left(self, pair: Pair) -> dict[str, object]:
        """What was told of the end of a session."""
        (event,) = [fed.event for fed in self.told if fed.event.kind is Kind.LEFT]
        self.assertEqual(event.session, pair.server.sessionId)
        return event.data

    def test_goodbye(self) -> None:
        """A goodbye is told as such, and the thing is remembered."""
        presence = self.presence()
        pair = self.connect(presence)
        pair.advance(5.0)
        pair.client.goodbye()
        pair.pump()
        self.assertEqual(self.left(pair)["cause"], "GOODBYE")
        record = self.successResultOf(presence.thing("lamp"))
        assert record is not None
        self.assertIs(record.status, Status.GONE)
        self.assertIsNone(record.traffic)
        self.assertEqual(record.lastSeen, WALL + 5.0)
        self.assertEqual([ending.cause for ending in record.endings], ["GOODBYE"])
        self.assertEqual(record.endings[0].session, pair.server.sessionId)

    def test_flatLine(self) -> None:
        """Silence for a TTL is a flat line, within the TTL; before that it was late."""
        presence = self.presence()
        pair = self.connect(presence)
        pair.freeze()
        pair.advance(31.0)
        self.assertEqual(self.kinds(), [Kind.JOINED, Kind.LATE, Kind.LEFT])
        self.assertEqual(self.left(pair)["cause"], "FLAT_LINED")
        self.assertEqual(self.left(pair)["reason"], "HEARTBEAT_MISSED")
        self.assertOrdered()

    def test_endings(self) -> None:
        """A few ends are remembered, the latest first, and outlive the next session."""
        presence = self.presence()
        for _ in range(MOST_ENDINGS + 2):
            pair = self.connect(presence)
            pair.client.abort()
            pair.pump()
        pair = self.connect(presence)
        pair.client.goodbye()
        pair.pump()
        self.connect(presence)
        record = self.successResultOf(presence.thing("lamp"))
        assert record is not None
        causes = [ending.cause for ending in record.endings]
        self.assertEqual(causes, ["GOODBYE"] + ["TRUNCATED"] * (MOST_ENDINGS - 1))
        self.assertIs(record.status, Status.PRESENT)
        self.assertOrdered()

    def test_lastWord(self) -> None:
        """A last word is published if the thing ends without goodbye, and only then."""
        presence = self.presence()
        for end, expected in (
            ("goodbye", [Kind.JOINED, Kind.LEFT]),
            ("abort", [Kind.JOINED, Kind.LAST_WORD, Kind.LEFT]),
        ):
            self.told.clear()
            pair = self.connect(presence)
            pair.client.setLastWord(b"tell them")
            pair.pump()
            getattr(pair.client, end)()
            pair.pump()
            self.assertEqual(self.kinds(), expected)
        self.assertEqual(self.told[1].event.data, {"text": "tell them"})
        self.assertOrdered()

    def test_forgotten(self) -> None:
        """Only so many that are gone are remembered; who went first is forgotten first."""
        presence = self.presence()
        presence.local.directory._mostGone = 2
        for name in ("a", "b", "c", "a"):
            pair = self.connect(presence, name)
            pair.client.goodbye()
            pair.pump()
        gone = self.successResultOf(presence.things("", 10, Filter(status=Status.GONE)))
        self.assertEqual([record.id for record in gone.things], ["a", "c"])


class TwinTests(PresenceCase):
    """One identity that connects while it is connected."""

    def test_replace(self) -> None:
        """The newer session takes over, and the older one is told why."""
        presence = self.presence()
        older = self.connect(presence)
        newer = self.connect(presence)
        self.assertEqual(self.kinds(), [Kind.JOINED, Kind.MOVED])
        moved = self.told[1].event
        self.assertEqual(moved.data["fromSession"], older.server.sessionId)
        self.assertEqual(moved.data["fromEpoch"], self.told[0].event.epoch)
        self.assertEqual(moved.session, newer.server.sessionId)
        older.pump()
        self.assertEqual(older.client.of("goingAway"), [EndReason.REPLACED])
        self.assertIs(older.client.end.cause, Cause.GOODBYE)
        self.assertIs(older.client.end.reason, EndReason.REPLACED)
        self.assertIsNone(newer.client.termination)
        self.assertEqual(len(presence.local), 1)
        record = self.successResultOf(presence.thing("lamp"))
        assert record is not None
        self.assertEqual(record.session, newer.server.sessionId)
        self.assertEqual([ending.cause for ending in record.endings], ["REPLACED"])
        self.assertEqual(self.kinds(), [Kind.JOINED, Kind.MOVED])
        self.assertOrdered()

    def test_onlyWhenUp(self) -> None:
        """Until the newer session is up, its key proved and admitted, the older one stays."""
        presence = self.presence()
        older = self.connect(presence)
        admit, waiting = self.book.authorize, Deferred[Identity]()
        self.patch(self.book, "authorize", lambda identity: waiting)
        newer = self.connect(presence)
        self.assertIsNone(newer.server.session)
        older.advance(5.0)
        self.assertEqual((older.client.of("goingAway"), self.kinds()), ([], [Kind.JOINED]))
        identity = linkOf(newer.server).driver.proved
        assert identity is not None
        waiting.callback(admit(identity))
        newer.pump()
        older.pump()
        self.assertEqual(older.client.of("goingAway"), [EndReason.REPLACED])
        self.assertEqual(self.kinds(), [Kind.JOINED, Kind.MOVED])

    def test_staleEndChangesNothing(self) -> None:
        """The late end of a session that was replaced is not the thing's end."""
        presence = self.presence()
        older = self.connect(presence)
        older.server.setLastWord = None  # type: ignore[assignment]
        older.freeze()
        newer = self.connect(presence)
        newer.advance(40.0)
        self.assertIs(older.server.end.cause, Cause.FLAT_LINED)
        self.assertEqual(self.kinds(), [Kind.JOINED, Kind.MOVED])
        record = self.successResultOf(presence.thing("lamp"))
        assert record is not None
        self.assertIs(record.status, Status.PRESENT)

    def test_lastWordOfTheReplaced(self) -> None:
        """A thing that has moved has not ended: its older session's last word is dropped."""
        presence = self.presence()
        older = self.connect(presence)
        older.client.setLastWord(b"tell them")
        older.pump()
        older.freeze()
        self.connect(presence).advance(40.0)
        self.assertNotIn(Kind.LAST_WORD, self.kinds())

    def test_otherKey(self) -> None:
        """Another key of the same name takes nothing over, whatever the policy."""
        for twins in (Twins.REPLACE, Twins.REFUSE):
            presence = self.presence(twins)
            holder = self.connect(presence)
            other = IdentityKey.generate()
            self.book.names[other.fingerprint] = "lamp"
            newcomer = self.connect(presence, "lamp", other)
            self.assertRejected(newcomer, ErrorCode.IDENTITY_IN_USE)
            self.assertIsNone(holder.client.termination)
            holder.client.goodbye()
            holder.pump()
            self.assertIsNotNone(self.connect(presence, "lamp", other).client.session)

    def test_refuse(self) -> None:
        """The newcomer is refused while the older session is up."""
        presence = self.presence(Twins.REFUSE)
        holder = self.connect(presence)
        self.assertRejected(self.connect(presence), ErrorCode.IDENTITY_IN_USE)
        self.assertIsNone(holder.client.termination)
        holder.client.goodbye()
        holder.pump()
        self.assertIsNotNone(self.connect(presence).client.session)
        self.assertEqual(self.kinds(), [Kind.JOINED, Kind.LEFT, Kind.JOINED])
        self.assertOrdered()

    def test_refusedForAsLong(self) -> None:
        """A newcomer is told how long the session of a thing that lost power still has."""
        presence = self.presence(Twins.REFUSE)
        holder = self.connect(presence)
        holder.freeze()
        newcomer = self.connect(presence)
        wait = newcomer.client.end.retryAfter
        self.assertEqual(wait, holder.server.ttl)
        newcomer.advance(7.0)
        self.assertEqual(self.connect(presence).client.end.retryAfter, wait - 7.0)
        newcomer.advance(wait - 7.0)
        self.assertIsNotNone(self.connect(presence).client.session)

    def test_allow(self) -> None:
        """Each session is a thing of its own."""
        presence = self.presence(Twins.ALLOW)
        pairs = [self.connect(presence) for _ in range(2)]
        page = self.successResultOf(presence.things("", 10, Filter(text="lamp#")))
        self.assertEqual(
            {record.id for record in page.things},
            {f"lamp#{pair.server.sessionId[:16]}" for pair in pairs},
        )
        self.assertEqual({record.name for record in page.things}, {"lamp"})

    def test_fight(self) -> None:
        """Twins that keep replacing each other are reported, and newcomers wait."""
        presence = self.presence()
        for _ in range(TAKEOVERS + 2):
            last = self.connect(presence)
            self.assertIsNotNone(last.client.session)
        self.assertEqual(self.kinds()[-1], Kind.TWINS)
        self.assertEqual(self.told[-1].event.data, {"wait": FIRST_WAIT})
        newcomer = self.connect(presence)
        self.assertRejected(newcomer, ErrorCode.SERVER_BUSY)
        self.assertEqual(newcomer.client.end.retryAfter, FIRST_WAIT)
        self.assertIsNone(last.client.termination)
        self.assertIsNotNone(self.connect(presence, "other").client.session)
        last.advance(FIRST_WAIT)
        self.assertIsNotNone(self.connect(presence).client.session)
        self.assertOrdered()

    def test_anonymousNeverTakesOver(self) -> None:
        """Nobody takes over what is nobody's."""
        presence = self.presence()
        pairs = [self.connect(presence, None) for _ in range(2)]
        self.assertEqual([pair.client.termination for pair in pairs], [None, None])

    def test_supersede(self) -> None:
        """A thing that has a newer session on another node is given up here."""
        presence = self.presence()
        pair = self.connect(presence)
        epoch = self.told[0].event.epoch
        presence.local.supersede("lamp", "another session", epoch + 1)
        self.assertIsNone(pair.client.termination)
        presence.local.supersede("lamp", pair.server.sessionId, epoch + 7)
        pair.pump()
        self.assertIs(pair.client.end.reason, EndReason.REPLACED)
        self.assertEqual(self.kinds(), [Kind.JOINED])
        self.connect(presence)
        self.assertGreater(self.told[-1].event.epoch, epoch + 7)
        presence.local.supersede("nobody", "x", 1)

    def test_superseded(self) -> None:
        """A thing that was given up is gone from here, and how its session ended is known."""
        presence = self.presence()
        pair = self.connect(presence)
        presence.local.supersede("lamp", pair.server.sessionId, 10**15)
        record = presence.local.find("lamp")
        assert record is not None
        self.assertEqual((record.status, record.traffic), (Status.GONE, None))
        self.assertEqual([ending.cause for ending in record.endings], ["REPLACED"])
        for status in (Status.PRESENT, None):
            page = self.successResultOf(presence.things("", 10, Filter(status=status)))
            self.assertEqual(page.things, ())
        page = self.successResultOf(presence.things("", 10, Filter(status=Status.GONE)))
        self.assertEqual(page.things, (record,))


class EpochTests(PresenceCase):
    """Epochs never go back."""

    def test_clockGoesBack(self) -> None:
        """Whatever the clock does, the next session's epoch is larger."""
        presence = self.presence()
        for step in (0.0, -3600.0, 3600.0, -1e6):
            self.wallStep = step
            pair = self.connect(presence)
            pair.client.goodbye()
            pair.pump()
        self.assertOrdered()

    def test_restart(self) -> None:
        """A server that starts anew begins above what it gave before."""
        self.connect(self.presence())
        self.clock.advance(0.01)
        self.connect(self.presence())
        self.assertOrdered()

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("connect"), st.sampled_from("ab")),
                st.tuples(
                    st.sampled_from(["goodbye", "abort", "freeze", "say"]), st.integers(0, 9)
                ),
                st.tuples(st.just("wait"), st.sampled_from([0.5, 20.0, 40.0])),
                st.tuples(st.just("step"), st.sampled_from([-3600.0, 3600.0])),
            ),
            max_size=25,
        )
    )
    def test_presenceNeverGoesBackwards(self, steps: list[tuple[str, object]]) -> None:
        """Whatever happens, each thing's events are in order, and the last one tells the truth."""
        self.setUp()
        presence = self.presence()
        pairs: list[Pair] = []
        for what, value in steps:
            if what == "connect":
                pairs.append(self.connect(presence, str(value)))
            elif what == "wait":
                self.clock.advance(float(str(value)))
            elif what == "step":
                self.wallStep += float(str(value))
            elif pairs:
                self.act(pairs[int(str(value)) % len(pairs)], what)
            for pair in pairs:
                pair.pump()
        self.assertOrdered()
        self.assertTruth(presence)
        self.tearDown()
        self.pairs = []

    def act(self, pair: Pair, what: str) -> None:
        """Something that one client does."""
        if what == "freeze":
            pair.freeze()
        elif pair.client.termination is None and what == "say":
            pair.client.sendMessage(b"hello")
        elif pair.client.termination is None and what != "say":
            getattr(pair.client, what)()

    def assertTruth(self, presence: MemoryPresence) -> None:
        """Who is here is who has a session that counts, and what was told says the same."""
        here = {session.id for session in presence.local.sessions}
        told: dict[str, Kind] = {}
        for fed in self.told:
            if fed.event.kind in (Kind.JOINED, Kind.MOVED, Kind.LEFT):
                told[fed.event.id] = fed.event.kind
        self.assertEqual(here, {id for id, kind in told.items() if kind is not Kind.LEFT})
        for session in presence.local.sessions:
            self.assertIsNone(session.protocol.termination)


class ListTests(PresenceCase):
    """Who is asked for."""

    def fleet(self) -> MemoryPresence:
        """Ten that are here, one that is late, one that is gone."""
        presence = self.presence()
        late, gone = self.connect(presence, "late"), self.connect(presence, "gone")
        gone.client.goodbye()
        gone.pump()
        late.freeze()
        for number in range(10):
            self.connect(presence, f"lamp {number}")
        self.advance(16.0)
        return presence

    def ids(
        self, presence: MemoryPresence, after: str = "", limit: int = 100, **wanted: object
    ) -> list[str]:
        """The ids on a page."""
        page = self.successResultOf(presence.things(after, limit, Filter(**wanted)))  # type: ignore[arg-type]
        return [record.id for record in page.things]

    def test_pages(self) -> None:
        """Pages follow each other without gap or overlap, whoever comes or goes meanwhile."""
        presence = self.fleet()
        seen, after = [], ""
        while True:
            page = self.successResultOf(presence.things(after, 4, Filter()))
            seen += [record.id for record in page.things]
            if page.following is None:
                break
            after = page.following
        self.assertEqual(seen, [*(f"lamp {number}" for number in range(10)), "late"])
        self.assertEqual(self.ids(presence, "lamp 7x"), ["lamp 8", "lamp 9", "late"])

    def test_exactlyOnePage(self) -> None:
        """A page that holds the last has none after it."""
        page = self.successResultOf(self.fleet().things("", 11, Filter()))
        self.assertEqual((len(page.things), page.following), (11, None))

    def test_longSearch(self) -> None:
        """However many are known, one among them is found; others have their turn meanwhile."""
        presence = self.fleet()
        self.patch(directory, "LOOKED", 4)
        searching = presence.things("", 3, Filter(text="lamp 9"))
        self.assertNoResult(searching)
        self.clock.advance(0.0)
        page = self.successResultOf(searching)
        self.assertEqual([record.id for record in page.things], ["lamp 9"])
        self.assertIsNone(page.following)

    def test_tooLongSearch(self) -> None:
        """A page that takes too long is told as it is, and another follows."""
        presence = self.fleet()
        self.patch(directory, "LOOKED", 4)
        searching = presence.things("", 3, Filter(text="lamp 9"))
        self.clock.advance(SEARCH_TIME)
        page = self.successResultOf(searching)
        self.assertEqual((page.things, page.following), ((), "lamp 7"))
        page = self.successResultOf(presence.things("lamp 7", 3, Filter(text="lamp 9")))
        self.assertEqual(
            ([record.id for record in page.things], page.following), (["lamp 9"], None)
        )

    def test_fullInSlices(self) -> None:
        """A page is as full as it is asked for, of whatever slices it is made."""
        presence = self.fleet()
        self.patch(directory, "LOOKED", 4)
        searching = presence.things("", 5, Filter(text="lamp"))
        self.clock.advance(0.0)
        page = self.successResultOf(searching)
        self.assertEqual([record.id for record in page.things], [f"lamp {n}" for n in range(5)])
        self.assertEqual(page.following, "lamp 4")

    def test_searchGivenUp(self) -> None:
        """Who does not wait any more stops the search."""
        presence = self.fleet()
        self.patch(directory, "LOOKED", 4)
        searching = presence.things("", 3, Filter(text="lamp 9"))
        searching.cancel()
        self.failureResultOf(searching, CancelledError)
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() == 0], [])

    def test_goneCostNothing(self) -> None:
        """Who asks for those that are here does not wait for a look at all that are gone."""
        presence = self.presence()
        for number in range(5):
            pair = self.connect(presence, f"gone {number}")
            pair.client.goodbye()
            pair.pump()
        self.connect(presence, "here")
        self.patch(directory, "LOOKED", 2)
        self.assertEqual(self.ids(presence), ["here"])

    def test_filters(self) -> None:
        """By status, by node, by a part of what a thing is called or where it is."""
        presence = self.fleet()
        self.assertEqual(self.ids(presence, status=Status.LATE), ["late"])
        self.assertEqual(self.ids(presence, status=Status.GONE), ["gone"])
        self.assertEqual(len(self.ids(presence, status=Status.PRESENT)), 10)
        self.assertEqual(self.ids(presence, text="LAMP 3"), ["lamp 3"])
        self.assertEqual(len(self.ids(presence, text="192.0.2.1")), 11)
        self.assertEqual(self.ids(presence, text=self.key("lamp 5").fingerprint), ["lamp 5"])
        self.assertEqual(self.ids(presence, node="elsewhere"), [])
        self.assertEqual(len(self.ids(presence, node="node")), 11)


class DeliverTests(PresenceCase):
    """A word to a thing."""

    def test_acknowledged(self) -> None:
        """What the thing answers is what the sender gets; by default that is nothing."""
        presence = self.presence()
        pair = self.connect(presence)
        answer = presence.deliver("lamp", b"on", 5.0)
        pair.pump()
        self.assertEqual(self.successResultOf(answer), b"")
        self.assertEqual(pair.client.messages, [b"on"])

    def test_notPresent(self) -> None:
        """Who is not here gets nothing, and the sender is told."""
        presence = self.presence()
        self.failureResultOf(presence.deliver("lamp", b"on", 5.0), NotPresent)
        self.failureResultOf(presence.dismiss("lamp"), NotPresent)

    def test_dismiss(self) -> None:
        """A thing is asked to leave."""
        presence = self.presence()
        pair = self.connect(presence)
        self.successResultOf(presence.dismiss("lamp"))
        self.successResultOf(presence.dismiss("lamp"))
        pair.pump()
        self.assertIs(pair.client.end.reason, EndReason.CLOSING)
        self.assertEqual(self.kinds(), [Kind.JOINED, Kind.LEFT])


class NodeTests(PresenceCase):
    """How the node is."""

    def test_record(self) -> None:
        """Sessions, handshakes, ends by cause and by minute."""
        presence = self.presence()
        pairs = [self.connect(presence, name) for name in "abc"]
        pairs[0].client.goodbye()
        pairs[1].client.abort()
        self.advance(45.0)
        pairs[2].freeze()
        self.advance(40.0)
        (record,) = self.successResultOf(presence.nodes())
        self.assertEqual((record.node, record.status, record.registry), ("node", "up", "memory"))
        self.assertEqual((record.sessions, record.completed, record.handshakes), (0, 3, 0))
        self.assertEqual(record.terminations, {"GOODBYE": 1, "TRUNCATED": 1, "FLAT_LINED": 1})
        self.assertEqual(dict(record.minutes)[int(WALL)], {"GOODBYE": 1, "TRUNCATED": 1})
        self.assertEqual(record.since, WALL)

    def test_noneIsForgotten(self) -> None:
        """There is this node only, and it is up."""
        presence = self.presence()
        self.failureResultOf(presence.forget("node"), NotLost)
        self.failureResultOf(presence.forget("other"), NotPresent)

    def test_thingForgotten(self) -> None:
        """A thing that is gone is forgotten, and one that is here is not; it may come back."""
        presence = self.presence()
        pair = self.connect(presence, "lamp")
        self.failureResultOf(presence.forgetThing("lamp"), NotGone)
        pair.client.abort()
        pair.pump()
        self.assertIsNone(self.successResultOf(presence.forgetThing("lamp")))
        self.assertIsNone(self.successResultOf(presence.thing("lamp")))
        self.failureResultOf(presence.forgetThing("lamp"), NotPresent)
        gone = presence.things("", 10, Filter(status=Status.GONE))
        self.assertEqual(self.successResultOf(gone).things, ())
        self.connect(presence, "lamp").client.abort()
        self.assertIsNotNone(self.successResultOf(presence.thing("lamp")))

    def test_clockIsSet(self) -> None:
        """Nothing that ended is yet to come, and the node is up for as long as it was."""
        presence = self.presence()
        for step in (0.0, 86400.0, -7200.0, -50e6):
            self.advance(30.0)
            self.wallStep += step
            self.connect(presence, "lamp").client.goodbye()
            self.advance(30.0)
            now = self.wallClock()
            (record,) = self.successResultOf(presence.nodes())
            self.assertAlmostEqual(now - record.since, self.clock.seconds(), delta=1.0)
            self.assertEqual(record.lastSeen, now)
            self.assertLessEqual(max(minute for minute, _ in record.minutes), now)
            self.assertEqual(sorted(dict(record.minutes)), [minute for minute, _ in record.minutes])
        self.assertEqual(sum(counts["GOODBYE"] for _, counts in record.minutes), 4)

    def test_healthCheck(self) -> None:
        """Who connects and says nothing is not among the ends that people look at."""
        presence = self.presence()
        for octets in ((), (b"GET / HTTP/1.1\r\n",)):
            protocol: Any = presence.local.factory.buildProtocol(
                IPv4Address("TCP", "192.0.2.1", 4000)
            )
            protocol.makeConnection(StringTransport())
            for part in octets:
                protocol.dataReceived(part)
            protocol.connectionLost(Failure(ConnectionDone()))
        (record,) = self.successResultOf(presence.nodes())
        self.assertEqual(record.minutes, ((int(WALL), {"REJECTED": 1}),))
        self.assertEqual(record.terminations, {"TRUNCATED": 1, "REJECTED": 1})

    def test_takenUp(self) -> None:
        """What ended before the process began is counted, as far as it can be true."""
        presence = self.presence()
        health, now = presence.health, int(WALL)
        record = health.record()
        before = (
            (now - 2 * 3600, {"GOODBYE": 1}),
            (now - 120, {"GOODBYE": 2, "NONSENSE": 3}),
            (now - now % 60, {"FLAT_LINED": 4}),
            (now + 3600, {"GOODBYE": 5}),
        )
        health.takeUp(replace(record, minutes=before))
        self.connect(presence, "lamp").client.goodbye()
        self.advance(1)
        ended: Counter[str] = Counter()
        for _, counts in health.record().minutes:
            ended.update(counts)
        self.assertEqual(ended, {"GOODBYE": 3, "FLAT_LINED": 4})
        self.assertEqual(health.record().terminations, {"GOODBYE": 1})

    def test_draining(self) -> None:
        """A node that is shutting down says so."""
        presence = self.presence()
        presence.local.factory.drain(1.0)
        (record,) = self.successResultOf(presence.nodes())
        self.assertEqual(record.status, "draining")
