""":func:`believe`: what an authorizer says of a peer, if a session can be had by that."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from twisted.internet.defer import maybeDeferred

from thing.core.settings import ClientSettings, ServerSettings
from thing.errors import NotAuthorized
from thing.identity import Identity, Purpose


def believe(
    identity: Identity,
    authorizer: Any,
    settings: ServerSettings | ClientSettings,
    attended: Container[Purpose],
) -> Any:
    """
    Decide whether to believe a peer.

    :param identity: what it has proved.
    :param authorizer: is asked.
    :param settings: say what a server takes.
    :param attended: what else than a thing a peer may be.
    :return: the identity and its name, or a Deferred of that.
    :raises NotAuthorized: if it is not believed; or whatever a broken authorizer raises.
    """

    def checked(admitted: Identity) -> Identity:
        if not isinstance(admitted, Identity):
            raise TypeError(f"an authorizer returned a {type(admitted).__name__}")
        if not isinstance(admitted.expires, float | int | None):
            raise TypeError(f"an identity expires at a time, not {admitted.expires!r:.80}")
        str(admitted).encode()  # Logs, registries and pages need names that are text.
        if admitted.purpose is not Purpose.THING and admitted.purpose not in attended:
            raise NotAuthorized(f"nobody here attends to {admitted.purpose.value}s: {admitted}")
        return admitted

    if isinstance(settings, ServerSettings) and not settings.takes(identity):
        raise NotAuthorized("what it has proved is not taken any more")
    answer = authorizer.authorize(identity)
    if isinstance(answer, Identity):  # As a rule; one callback less in each handshake.
        return checked(answer)
    return maybeDeferred(lambda: answer).addCallback(checked)
