"""The API's paths about invitations: who may join, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from thing.errors import CredentialError
from thing.fleet.http.answers import Answer, Problem, jsonAnswer
from thing.fleet.http.code import codeRows
from thing.fleet.http.routes import Call, Route
from thing.logger import Logger
from thing.text import visible
from thing.trust.authorizing import checkThingName
from thing.trust.invitations import (
    LIFE,
    MAX_LIFE,
    Invitation,
    NameTaken,
    OtherKey,
    UnknownInvitation,
)
from thing.trust.jointoken import MAX_SERVERS, checkServer
from thing.trust.keys import parseFingerprint

if TYPE_CHECKING:
    from thing.fleet.inviting import Inviter

T = TypeVar("T")


class InvitationApi:
    """
    Answers requests about invitations.

    :ivar routes: what answers each path.
    """

    _log = Logger()

    def __init__(self, inviter: Inviter | None) -> None:
        """:param inviter: makes them; None on a server that has nowhere to write who joined."""
        self._inviterOrNone = inviter
        self.routes = {
            # Who may come soon is no business of those who look who is here.
            "/invitations": Route({b"GET": self._getAll, b"POST": self._post}, viewed=False),
            "/invitations/{id}": Route({b"DELETE": self._delete}),
            "/invitations/{id}/confirmation": Route({b"POST": self._confirm}),
        }

    @property
    def _inviter(self) -> Inviter:
        if self._inviterOrNone is None:
            raise Problem(
                404, "This server invites nobody: that needs a file of authorized things."
            )
        return self._inviterOrNone

    async def _getAll(self, call: Call) -> Answer:
        call.query()
        with _problems():
            found = self._inviter.list()
        return jsonAnswer({"invitations": list(map(toldOf, found))})

    async def _post(self, call: Call) -> Answer:
        call.query()
        members = _Members(call.object(), "name", "servers", "lifetime", "confirm", "replace")
        name = members.read("name", str, checkThingName)
        servers = members.read("servers", list, _servers)
        life = members.read("lifetime", (int, float), _life, LIFE)
        confirm = members.read("confirm", bool, bool, False)
        replace = members.read("replace", bool, bool, False)
        with _problems():
            made, token = await self._inviter.invite(name, servers, life, confirm, replace)
        self._log.info(
            "Over HTTP {name!r} was invited: invitation {id}", name=made.name, id=made.id
        )
        text = token.encode()
        told = {"token": text, "command": f"thing join {text}", "qr": codeRows(text)}
        return jsonAnswer(toldOf(made) | told, 201)

    async def _delete(self, call: Call) -> Answer:
        call.query()
        with _problems():
            found = await self._inviter.withdraw(call.id)
        self._log.info(
            "Over HTTP the invitation {id} of {name!r} was withdrawn", id=found.id, name=found.name
        )
        return jsonAnswer({})

    async def _confirm(self, call: Call) -> Answer:
        call.query()
        members = _Members(call.object(), "fingerprint")
        fingerprint = members.read("fingerprint", str, parseFingerprint)
        with _problems():
            found = await self._inviter.confirm(call.id, fingerprint)
        self._log.info(
            "Over HTTP yes was said to {fingerprint}, the key of {name!r}: invitation {id}",
            fingerprint=found.fingerprint,
            name=found.name,
            id=found.id,
        )
        return jsonAnswer(toldOf(found))


def toldOf(invitation: Invitation) -> dict[str, Any]:
    """
    Tell what anybody may know of an invitation who may ask.

    :param invitation: the invitation.
    :return: what JSON can hold; the secret is not in it.
    """
    return {
        "id": invitation.id,
        "name": invitation.name,
        "state": invitation.state.value,
        "expires": invitation.expires,
        "confirm": invitation.confirm,
        "replace": invitation.replace,
        "fingerprint": invitation.fingerprint,
    }


class _Members:
    """The members of an object that a client sent."""

    def __init__(self, found: dict[str, Any], *known: str) -> None:
        """Refuse those that are not known."""
        self._found = found
        for name in found:
            if name not in known:
                raise Problem(400, "There is no such member.", parameter=visible(name[:80]))

    def read(
        self,
        name: str,
        kind: type[T] | tuple[type[T], ...],
        check: Callable[[T], T],
        default: T | None = None,
    ) -> T:
        """A member of some kind that stands a check."""
        value = self._found.get(name, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise Problem(400, f"{name} is missing, or of another kind.", parameter=name)
        try:
            return check(value)
        except CredentialError as error:
            raise Problem(400, f"{name}: {error}.", parameter=name) from None


def _servers(servers: list[Any]) -> list[Any]:
    if not 0 < len(servers) <= MAX_SERVERS:
        raise CredentialError(f"there are 1 to {MAX_SERVERS}")
    for each in servers:
        if not isinstance(each, str):
            raise CredentialError("each is a text")
        checkServer(each)
    return servers


def _life(seconds: float) -> float:
    if not 0 < seconds <= MAX_LIFE:
        raise CredentialError(f"not a number above 0, {MAX_LIFE:g} at most")
    return seconds


@contextmanager
def _problems() -> Iterator[None]:
    """Tell in HTTP's terms what goes wrong with invitations."""
    try:
        yield
    except UnknownInvitation:
        raise Problem(404, "There is no such invitation; its time may be over.") from None
    except (OtherKey, NameTaken) as error:
        raise Problem(409, _sentence(error)) from None
    except CredentialError as error:
        raise Problem(503, f"The invitations cannot be had now: {error}.") from None


def _sentence(error: CredentialError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
