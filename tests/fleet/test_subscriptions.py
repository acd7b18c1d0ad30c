"""A subscription: what starts it, what ends it, and who may say so."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from thing.fleet import ISubscription
from thing.fleet.subscriptions import Receiver, Subscription


class RememberedSource:
    """A source that keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.first: list[Any] = []

    def begin(self, subscription: Subscription) -> None:
        self.asked.append("begin")
        for fed in self.first:
            subscription.tell(fed)

    def end(self, subscription: Subscription) -> None:
        self.asked.append("end")


class SubscriptionTests(SynchronousTestCase):
    """One subscription to a source that remembers."""

    def setUp(self) -> None:
        self.source = RememberedSource()
        self.told: list[Any] = []

    def subscription(self, receiver: Receiver | None = None, **more: Any) -> Subscription:
        return Subscription(self.source, receiver or self.told.append, **more)

    def test_interface(self) -> None:
        """It is an ``ISubscription``."""
        verifyObject(ISubscription, self.subscription())

    def test_startAndCancel(self) -> None:
        """It is told between its start and its end, and its source knows of it then."""
        subscription = self.subscription()
        subscription.tell(None)
        self.assertEqual((self.source.asked, subscription.active), ([], False))
        subscription.start()
        self.assertTrue(subscription.active)
        subscription.tell(None)
        subscription.cancel()
        subscription.tell(None)
        self.assertEqual(self.told, [None])
        self.assertEqual((self.source.asked, subscription.active), (["begin", "end"], False))

    def test_again(self) -> None:
        """What was done is not done again."""
        subscription = self.subscription()
        for _ in range(2):
            subscription.start()
        for _ in range(2):
            subscription.cancel()
        subscription.start()
        self.assertEqual(self.source.asked, ["begin", "end"])
        self.assertFalse(subscription.active)

    def test_cancelledFirst(self) -> None:
        """One that is cancelled before it is started never begins."""
        subscription = self.subscription()
        subscription.cancel()
        subscription.start()
        self.assertEqual((self.source.asked, subscription.active), ([], False))

    def test_cancelledByTheFirst(self) -> None:
        """Its receiver may cancel it at the first event, before its start is over."""
        self.source.first = [None, None]
        subscription = self.subscription(lambda fed: (self.told.append(fed), subscription.cancel()))
        subscription.start()
        self.assertEqual(self.told, [None])
        self.assertEqual(self.source.asked, ["begin", "end"])

    def test_broken(self) -> None:
        """What the receiver raises is logged, and its source does not see it."""

        def receive(fed: object) -> None:
            self.told.append(fed)
            raise RuntimeError("told to")

        self.source.first = [None, None]
        self.subscription(receive).start()
        self.assertEqual(len(self.told), 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_position(self) -> None:
        """A position is read at once, and one that is none is refused."""
        self.assertEqual(self.subscription(after="12-3").after, (12, 3))
        self.assertIsNone(self.subscription().after)
        self.assertRaises(ValueError, self.subscription, after="nonsense")

    def test_room(self) -> None:
        """Whether there is room is the receiver's to say; one that does not say has it."""
        self.assertTrue(self.subscription().hasRoom())
        self.assertFalse(self.subscription(room=lambda: False).hasRoom())
