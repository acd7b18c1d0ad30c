"""What many rows do alike: say something wrong and be refused, or something odd and go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from thing.conformance.bench import Bench, ClientBench
from thing.conformance.check import Run
from thing.conformance.peer import Peer
from thing.conformance.verdict import Over, judge
from thing.conformance.words import Twists
from thing.core.layout import Message
from thing.core.messages import MessageType
from thing.errors import ErrorCode

Said = Iterable[Message | bytes]
Say = Callable[[Any], Said]
"""Makes the messages that are said in a session, for a peer."""


def refusing(say: Say, *codes: ErrorCode) -> Run:
    """
    Say something in a session, which the peer must refuse.

    :param say: makes what is said.
    :param codes: with one of these.
    :return: what a row does.
    """

    async def run(bench: Bench[Peer]) -> None:
        peer = await bench.session()
        peer.send(*say(peer))
        await peer.refused(*codes)

    return run


def taking(say: Say) -> Run:
    """
    Say something in a session, after which that must go on.

    :param say: makes what is said.
    :return: what a row does.
    """

    async def run(bench: Bench[Peer]) -> None:
        peer = await bench.session()
        peer.send(*say(peer))
        await peer.alive()

    return run


def sending(make: Callable[[Any], bytes], *codes: ErrorCode) -> Run:
    """
    Send octets in a session, which the peer must refuse.

    :param make: makes the octets, records or not.
    :param codes: with one of these.
    :return: what a row does.
    """

    async def run(bench: Bench[Peer]) -> None:
        peer = await bench.session()
        peer.line.send(make(peer))
        await peer.refused(*codes)

    return run


def refusingHandshake(twists: Twists, *codes: ErrorCode, **choice: Any) -> Run:
    """
    Go through a handshake that is wrong, which the peer must refuse.

    :param twists: what is wrong.
    :param codes: with one of these; none for an end without a word.
    :param choice: what of this side is otherwise.
    :return: what a row does.
    """

    async def run(bench: Bench[Peer]) -> None:
        peer = await bench.peer(twists, **choice)
        await refusedIn(peer, *codes)

    return run


async def refusedIn(peer: Peer, *codes: ErrorCode) -> None:
    """
    Go through a handshake, and see that the peer refuses it.

    :param peer: the connection.
    :param codes: with one of these.
    """
    try:
        await peer.handshake()
    except Over as end:
        judge(end, codes)
    else:
        await peer.refused(*codes)


def takingHandshake(twists: Twists, **choice: Any) -> Run:
    """
    Go through a handshake that is odd, and not wrong.

    :param twists: what is odd.
    :param choice: what of this side is otherwise.
    :return: what a row does.
    """

    async def run(bench: Bench[Peer]) -> None:
        peer = await bench.session(twists, **choice)
        await peer.alive()

    return run


def first(octets: bytes, *codes: ErrorCode) -> Run:
    """
    Send octets as the first of a connection, to a server.

    :param octets: the octets.
    :param codes: the codes of which it must refuse them with one; none for an end without a word.
    :return: what a row does.
    """

    async def run(bench: Bench[Peer]) -> None:
        peer = await bench.peer()
        peer.line.send(octets)
        if codes:
            await peer.refused(*codes)
        else:
            await peer.cut()

    return run


def changing(kind: MessageType, change: Callable[[Any], Any]) -> Twists:
    """
    Change a message before it is proved.

    :param kind: which.
    :param change: makes another of it.
    :return: what is changed.
    """
    return Twists(message={kind: change})


def stating(kind: MessageType, **fields: Any) -> Twists:
    """
    Change fields of a message before it is proved.

    :param kind: which.
    :param fields: their values.
    :return: what is changed.
    """
    return changing(kind, lambda each: replace(each, **fields))


def replacing(kind: MessageType, change: Callable[[bytes], Iterable[bytes]]) -> Twists:
    """
    Send something else than a message.

    :param kind: which.
    :param change: makes what is sent, of its octets with the type.
    :return: what is changed.
    """
    return Twists(octets={kind: change})


def misconfirming(twists: Twists, code: ErrorCode) -> Run:
    """
    Confirm wrongly, to a client; what it says of that is not under the session's keys.

    :param twists: what is wrong.
    :param code: with which it must be refused.
    :return: what a row does.
    """

    async def run(bench: ClientBench) -> None:
        peer = await bench.peer(twists)
        await peer.hear()
        peer.answer()
        await peer.exchange()
        peer.prove()
        await peer.finish(confirming=False)
        await peer.refused(code)

    return run
