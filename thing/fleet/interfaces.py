"""
What a program, and Thing's own HTTP server, can ask of a fleet.

These are for those who write a presence of their own, too; nothing here does anything.
"""

from __future__ import annotations

from zope.interface import Attribute, Interface

# zope.interface methods have no self.


class IPresence(Interface):
    """
    Who is here, where, since when; what happens; a word to a thing, wherever it is.

    A question that a shared registry does not answer in time is answered from
    what this node knows; the answer says so.
    """

    node = Attribute("This node's name.")

    local = Attribute("The sessions of this node, a :class:`~thing.fleet.local.LocalRegistry`.")

    def things(after, limit, wanted):  # type: ignore[no-untyped-def]
        """
        List things in the order of their ids, as :mod:`thing.fleet.order` has it.

        :param after: the id behind which to begin; the empty string for the first.
        :param limit: how many at most, 1 to 1000.
        :param wanted: a :class:`~thing.fleet.model.Filter`.
        :return: a Deferred of a :class:`~thing.fleet.model.Page`; it may be short, and another
            follow all the same.
        """

    def thing(id):  # type: ignore[no-untyped-def]
        """
        Tell what is known of one thing, here or gone.

        :param id: which.
        :return: a Deferred of a :class:`~thing.fleet.model.ThingRecord`, or None.
        """

    def nodes():  # type: ignore[no-untyped-def]
        """
        Tell how the nodes are, this one first.

        :return: a Deferred of a list of :class:`~thing.fleet.model.NodeRecord`.
        """

    def deliver(id, message, timeout):  # type: ignore[no-untyped-def]
        """
        Send a message to a thing on any node, as a request.

        :param id: which thing.
        :param message: the octets.
        :param timeout: how long the thing may take to answer, seconds.
        :return: a Deferred of what the thing answered: octets, often none. It fails with
            ``NotPresent``, ``Undelivered``, ``RequestFailed``, ``RequestTimedOut`` or
            ``LocalProtocolError``.
        """

    def locate(id):  # type: ignore[no-untyped-def]
        """
        Tell where a thing is, without what only its node measures.

        :param id: which.
        :return: a Deferred of a :class:`~thing.fleet.model.ThingRecord`, or None. It fails with
            ``Undelivered`` if a shared registry does not say.
        """

    def dismiss(id):  # type: ignore[no-untyped-def]
        """
        Ask a thing on any node to leave; whether it comes back is up to it.

        :param id: which thing.
        :return: a Deferred of None, fired once it is asked. It fails with ``NotPresent`` or
            ``Undelivered``.
        """

    def forget(node):  # type: ignore[no-untyped-def]
        """
        Show a node that stopped or was lost no more; if it comes back, it is shown again.

        :param node: its name.
        :return: a Deferred of None, fired once it is forgotten. It fails with ``NotPresent`` if
            nobody has heard of it, with ``NotLost`` while it is up, or with ``Undelivered``.
        """

    def forgetThing(id):  # type: ignore[no-untyped-def]
        """
        Remember a thing no more that is gone; if it comes back, it is a new one.

        :param id: which thing.
        :return: a Deferred of None, fired once it is forgotten. It fails with ``NotPresent`` if
            nobody has heard of it, with ``NotGone`` while it is here, or with ``Undelivered``.
        """

    def subscribe(receiver, after=None, room=None):  # type: ignore[no-untyped-def]
        """
        Make a subscription, which is told what happens, in order.

        Nothing is told before it is started, so that the receiver has what ends it from the
        first event on::

            subscription = presence.subscribe(receive)
            subscription.start()

        Who implements this may hand out a :class:`~thing.fleet.subscriptions.Subscription`.

        :param receiver: called with each :class:`~thing.fleet.model.FedEvent`; with None
            when events that follow ``after`` are lost, so that what was known must be asked
            anew. What it raises is logged, and keeps nobody else from being told.
        :param after: the position behind which to begin; None for where it is started.
        :param room: tells whether the receiver takes more of what was; what would have to be
            read for it is left where it is until then. None for one that always does.
        :return: an :class:`ISubscription`.
        :raises ValueError: if ``after`` is no position.
        """


class IReaches(Interface):
    """The ways that operators have to services of a fleet's things."""

    here = Attribute(
        "Those by way of this node, and its figures, a :class:`~thing.fleet.reaches.Reaches`."
    )

    def listed(thing=None):  # type: ignore[no-untyped-def]
        """
        List those that are open.

        :param thing: only those to this one; None for all.
        :return: a Deferred of a list of :class:`~thing.fleet.model.ReachRecord`, and whether
            these are all, as far as anybody knows.
        """

    def end(id):  # type: ignore[no-untyped-def]
        """
        End one.

        :param id: which, 16 hexadecimal digits.
        :return: a Deferred of None, fired once it is ended. It fails with ``NotPresent`` or
            ``Undelivered``.
        """


class ISubscription(Interface):
    """Somebody who is told what happens, from :meth:`start` until :meth:`cancel`."""

    active = Attribute("Whether it is started, and not cancelled.")

    catchingUp = Attribute(
        "Whether it is told what was, as fast as that can be read, and not yet what happens."
    )

    def start():  # type: ignore[no-untyped-def]
        """
        Begin to be told.

        What was may be told before this returns. Of a subscription that was started or
        cancelled before, nothing is changed.
        """

    def cancel():  # type: ignore[no-untyped-def]
        """
        Be told nothing more, from now on.

        It may be called at any time, by the receiver while it is told something, too, and
        more than once.
        """


class ISharedPresence(IPresence):
    """A presence that keeps its registry where other nodes reach it, too."""

    registry = Attribute("Whether that can be reached: ``connected``, ``impaired`` or ``away``.")

    connections = Attribute(
        "By what each connection to it is for, why it is down, in one line; empty if it is up."
    )

    waiting = Attribute("How many writes it has not answered yet.")

    dropped = Attribute("How many messages of things were lost, since it was away for too long.")

    malformed = Attribute("How many things that were read from it made no sense.")

    def ask(op, question, node=None):  # type: ignore[no-untyped-def]
        """
        Ask another node something, or all that are up the same.

        :param op: what they are asked, as they serve it.
        :param question: a dictionary, what else belongs to it; JSON can hold it.
        :param node: only this one; None for all.
        :return: a Deferred of a list of their answers, dictionaries that anybody who may write to
            the registry may have made up, and whether all have answered in time.
        """

    def serve(op, answerer):  # type: ignore[no-untyped-def]
        """
        Answer what other nodes ask by :meth:`ask`.

        :param op: which question.
        :param answerer: called with the question, a dictionary; returns the answer, another.
        """
