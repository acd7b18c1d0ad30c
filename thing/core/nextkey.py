"""A server's announcement of its next key, signed by both (specification, "Server Next Key")."""

from __future__ import annotations

from thing.core.credentials import Credential
from thing.core.keyschedule import (
    CURRENT_KEY_CONTEXT,
    NEXT_KEY_CONTEXT,
    nextKeyHash,
    signatureContent,
)
from thing.core.messages import SNK


def announcement(sessionId: bytes, current: Credential, following: Credential) -> SNK:
    """
    Announce the next key.

    :param sessionId: the session in which that is done.
    :param current: the credential that the server has shown in it.
    :param following: the one that it is to have.
    :return: the message.
    """
    hashed = nextKeyHash(sessionId, current.kind, current.data, following.kind, following.data)
    return SNK(
        following.kind,
        following.data,
        current.scheme,
        current.sign(signatureContent(CURRENT_KEY_CONTEXT, hashed)),
        following.scheme,
        following.sign(signatureContent(NEXT_KEY_CONTEXT, hashed)),
    )
