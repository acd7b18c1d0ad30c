"""
Which key of a server came of which: the comment of a line that a client learned.

A key that was announced is believed by the word of the one that announced it, and that perhaps by
the word of another before. These **announcers** stand in its line, after the key, the oldest
first: ``announced-by=AAAA…,AAAA…``, each as ``known_hosts`` has it. ssh takes it for a comment.
"""

from __future__ import annotations

from thing.errors import CredentialError
from thing.trust.keys import formatPublicKey, parsePublicKey

MAX_ANNOUNCERS = 100
"""The most announcers that a key may have; with them its line is within ssh's limit."""

_MARK = "announced-by="


def announcersIn(keyText: str) -> tuple[bytes, ...]:
    """
    Read who announced a key.

    :param keyText: what a line has from the type of its key on.
    :return: the announcers, the oldest first; none for a key that somebody wrote there, or that
        was the first of its server.
    :raises CredentialError: if they are damaged.
    """
    comment = keyText.split(None, 2)[2:]
    word = comment[0].split()[0] if comment else ""
    if not word.startswith(_MARK):
        return ()
    return tuple(
        parsePublicKey(f"ssh-ed25519 {each}") for each in word.removeprefix(_MARK).split(",")
    )


def announcedBy(announcers: tuple[bytes, ...]) -> str:
    """
    Write down who announced a key.

    :param announcers: who did, the oldest first.
    :return: what to put after the key.
    """
    return _MARK + ",".join(formatPublicKey(each).split()[1] for each in announcers)


def announcersOf(current: bytes, before: tuple[bytes, ...], following: bytes) -> tuple[bytes, ...]:
    """
    Who the announcers of a key are.

    :param current: the key that announces it.
    :param before: the announcers of that one.
    :param following: the key that is announced.
    :return: its announcers, the oldest first; each once, and never itself.
    :raises CredentialError: if they are too many.
    """
    announcers = tuple(each for each in (*before, current) if each != following)
    if len(announcers) > MAX_ANNOUNCERS:
        raise CredentialError(
            f"the server's keys have changed {MAX_ANNOUNCERS} times: write its next one into the "
            "file by hand"
        )
    return announcers
