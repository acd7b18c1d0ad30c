"""Who invites things where no server is: real invitations in a file, and names that are taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from thing import IdentityKey
from thing.trust.invitations import Invitation, Invitations, NameTaken
from thing.trust.jointoken import JoinToken


class MadeUpInviter(Invitations):
    """
    Invites to a server of a made-up key.

    :ivar key: the server's.
    :ivar taken: the names that things have already.
    :ivar operators: those that operators have.
    """

    def __init__(self, path: str, wallClock: Callable[[], float], clock: IReactorTime) -> None:
        super().__init__(path, wallClock, clock)
        self.key = IdentityKey.generate()
        self.taken: set[str] = set()
        self.operators: set[str] = set()

    def invite(
        self, name: str, servers: Sequence[str], life: float, confirm: bool, replace: bool
    ) -> Deferred[tuple[Invitation, JoinToken]]:
        """Invite a thing."""
        if name in self.operators:
            return fail(NameTaken(f"the name {name!r} is an operator's"))
        if name in self.taken and not replace:
            return fail(NameTaken(f"a thing has the name {name!r} already"))

        def withToken(made: Invitation) -> tuple[Invitation, JoinToken]:
            prints = (self.key.fingerprint,)
            return made, JoinToken(made.id, made.secret, prints, tuple(servers))

        return self.make(name, life, confirm, replace).addCallback(withToken)
