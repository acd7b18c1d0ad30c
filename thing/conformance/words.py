"""What each role says, by what it means; and how a check has this side say something wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from thing.core.layout import Message
from thing.core.messages import (
    CAC,
    CCR,
    CDT,
    CHR,
    CKU,
    CLW,
    COP,
    CRP,
    CRQ,
    CST,
    SAC,
    SCR,
    SDT,
    SHR,
    SKU,
    SOP,
    SRP,
    SRQ,
    SST,
    Accept,
    Credit,
    Data,
    MessageType,
    Open,
    Reject,
    Reply,
    Request,
    Role,
    Stop,
)
from thing.core.window import RECORD_COST

Octets = Callable[[bytes], bytes]
"""Makes other octets of some."""


class Words(NamedTuple):
    """The messages that both roles have, in the spelling of one."""

    data: type[Data]
    request: type[Request]
    reply: type[Reply]
    credit: type[Credit]
    open: type[Open]
    accept: type[Accept]
    stop: type[Stop]
    update: type[CKU | SKU]
    reject: type[Reject]


WORDS = {
    Role.CLIENT: Words(CDT, CRQ, CRP, CCR, COP, CAC, CST, CKU, CHR),
    Role.SERVER: Words(SDT, SRQ, SRP, SCR, SOP, SAC, SST, SKU, SHR),
}
"""By who says them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twists:
    """What a check changes in this side's handshake, by the message in which it stands."""

    message: Mapping[MessageType, Callable[[Any], Any]] = field(default_factory=dict)
    """The message, before it is proved and enters the transcript."""

    signature: Mapping[MessageType, Octets] = field(default_factory=dict)
    """The signature, before the MAC is made over it."""

    mac: Mapping[MessageType, Octets] = field(default_factory=dict)
    """The MAC, or of CHI the binder."""

    octets: Mapping[MessageType, Callable[[bytes], Iterable[bytes]]] = field(default_factory=dict)
    """What is sent in place of the octets of the message, type included; the transcript has those
    octets all the same."""


def flipped(octets: bytes, at: int = -1) -> bytes:
    """
    Change one bit.

    :param octets: some octets.
    :param at: in which octet.
    :return: the octets with one bit changed.
    """
    changed = bytearray(octets)
    changed[at] ^= 1
    return bytes(changed)


def costOf(message: Message) -> int:
    """
    Tell what a message spends of the main stream's credit.

    :param message: the message.
    :return: octets.
    """
    if isinstance(message, Data):
        return 0 if message.stream else RECORD_COST + len(message.data)
    if isinstance(message, (Request, CLW)):
        return RECORD_COST + len(cast(Any, message).data)
    return 0
