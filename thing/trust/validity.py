"""
Refusals that time can mend, and that say nothing about a peer's right.

A certificate says itself when it is valid; what the time is, the clock of the side that judges
says, and that may be wrong. So may be the files that it judges by.
"""

from __future__ import annotations

from thing.errors import ErrorCode, NotAuthorized

EXPIRED_RETRY_AFTER = 300.0
"""How long a thing is asked to stay away with an expired certificate, seconds."""


def tooEarly(detail: str) -> NotAuthorized:
    """
    Make the refusal of a certificate whose time has not begun.

    :param detail: why, for this side's log.
    :return: the refusal.
    """
    return NotAuthorized(detail, ErrorCode.NOT_VALID_NOW)


def tooLate(detail: str, ofThing: bool) -> NotAuthorized:
    """
    Make the refusal of a certificate whose time is over.

    :param detail: why, for this side's log.
    :param ofThing: whether it is a thing's, which somebody must give a new one; a server's is
        looked at again as soon as any other.
    :return: the refusal.
    """
    return NotAuthorized(detail, ErrorCode.NOT_VALID_NOW, EXPIRED_RETRY_AFTER if ofThing else 0.0)


def undecided(about: str, why: str) -> NotAuthorized:
    """
    Make the refusal of a peer that cannot be judged, for a fault of this side's own files.

    :param about: whom.
    :param why: what is wrong, for this side's log.
    :return: the refusal.
    """
    return NotAuthorized(f"{about}: {why}", ErrorCode.UNDECIDED)
