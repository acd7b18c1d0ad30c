"""What the status server answers about invitations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.fleet.http.test_api import ApiCase
from tests.fleet.http.web import Response, parseResponses, request
from tests.fleet.inmemory import WALL
from tests.fleet.inviter import MadeUpInviter
from thing import IdentityKey
from thing.fleet.http.code import MAX_TEXT, codeRows
from thing.trust.files import LOCK_INTERVAL, lockedFile
from thing.trust.invitations import LIFE, MAX_LIFE
from thing.trust.jointoken import MAX_SERVERS, JoinToken

NOBODY = "0123456789abcdef"
WISH: dict[str, Any] = {"name": "lamp", "servers": ["thing.example:9000"]}


class InvitationCase(ApiCase):
    """A status server with somebody who invites."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp())
        self.inviter = MadeUpInviter(str(self.path), self.wallClock, self.clock)
        self.serve(inviter=self.inviter)

    def post(self, path: str, body: Any) -> Response:
        """Send JSON."""
        return self.ask(path, "POST", body=json.dumps(body).encode())

    def invite(self, **changes: Any) -> Any:
        """Make an invitation; what is told of it."""
        response = self.post("/invitations", WISH | changes)
        self.assertEqual(response.status, 201, response.body)
        return response.json

    def listed(self) -> Any:
        """What is told of all."""
        return self.ask("/invitations").json["invitations"]


class InviteTests(InvitationCase):
    """``POST /invitations``."""

    def test_token(self) -> None:
        """The answer has the token, the command with it, and when it runs out."""
        told = self.invite(servers=["thing.example:9000", "[2001:db8::1]:9000"])
        token = JoinToken.parse(told["token"])
        self.assertEqual(token.servers, ("thing.example:9000", "[2001:db8::1]:9000"))
        self.assertEqual(token.fingerprints, (self.inviter.key.fingerprint,))
        self.assertEqual(token.invitation, told["id"])
        self.assertEqual(told["command"], f"thing join {told['token']}")
        self.assertEqual(told["expires"], WALL + LIFE)
        self.assertEqual((told["name"], told["state"]), ("lamp", "open"))
        self.assertEqual((told["confirm"], told["replace"]), (False, False))

    def test_chosen(self) -> None:
        """How long it counts, whether to ask, and whether to replace are as it was wished."""
        told = self.invite(name="\u706f", lifetime=59.5, confirm=True, replace=True)
        self.assertEqual((told["name"], told["expires"]), ("\u706f", WALL + 60))
        self.assertEqual((told["confirm"], told["replace"]), (True, True))

    def test_secretIsToldOnce(self) -> None:
        """What is listed later has neither the token nor the secret in it."""
        told = self.invite()
        body = self.ask("/invitations").body.decode()
        self.assertNotIn(told["token"], body)
        self.assertNotIn(JoinToken.parse(told["token"]).key.hex(), body)

    def test_refused(self) -> None:
        """What cannot be is refused, and named; nobody is invited by it."""
        for changes, parameter in (
            ({"name": ""}, "name"),
            ({"name": "a\nb"}, "name"),
            ({"name": "a\\"}, "name"),
            ({"name": "a" * 256}, "name"),
            ({"name": "\ud800"}, "name"),
            ({"name": 1}, "name"),
            ({"name": None}, "name"),
            ({"servers": []}, "servers"),
            ({"servers": "thing.example:9000"}, "servers"),
            ({"servers": ["thing.example"]}, "servers"),
            ({"servers": ["thing.example:0"]}, "servers"),
            ({"servers": ["a b:1"]}, "servers"),
            ({"servers": ["*.example:1"]}, "servers"),
            ({"servers": ["a,b:1"]}, "servers"),
            ({"servers": ["\ud800:1"]}, "servers"),
            ({"servers": [9000]}, "servers"),
            ({"servers": ["a:1"] * (MAX_SERVERS + 1)}, "servers"),
            ({"lifetime": 0}, "lifetime"),
            ({"lifetime": -1}, "lifetime"),
            ({"lifetime": MAX_LIFE + 1}, "lifetime"),
            ({"lifetime": True}, "lifetime"),
            ({"lifetime": "60"}, "lifetime"),
            ({"lifetime": 1e999}, None),
            ({"confirm": 1}, "confirm"),
            ({"replace": "yes"}, "replace"),
            ({"expires": 60}, "expires"),
        ):
            response = self.post("/invitations", WISH | changes)
            self.assertEqual(response.status, 400, changes)
            if parameter is not None:
                self.assertEqual(response.json["parameter"], parameter)
        for body in (b"", b"[]", b'{"name": "lamp"}'):
            self.assertEqual(self.ask("/invitations", "POST", body=body).status, 400)
        self.assertEqual(self.ask("/invitations?name=lamp", "POST", body=b"{}").status, 400)
        self.assertEqual(self.ask("/invitations", "POST", body=b" " * 16381).status, 413)
        self.assertEqual(self.listed(), [])

    def test_nameTaken(self) -> None:
        """A name that is taken needs to be replaced."""
        self.inviter.taken.add("lamp")
        self.assertEqual(self.post("/invitations", WISH).status, 409)
        self.assertTrue(self.invite(replace=True)["replace"])

    def test_fileTrouble(self) -> None:
        """A file that cannot be used is told; it is no fault of the request's."""
        self.path.write_text("nonsense\n")
        self.path.chmod(0o600)
        for response in (self.post("/invitations", WISH), self.ask("/invitations")):
            self.assertEqual(response.status, 503)
            self.assertIn("not a line of JSON", response.title)

    def test_code(self) -> None:
        """The QR code is square, and has a finder in three corners; a long text has none."""
        rows = self.invite()["qr"]
        self.assertEqual({len(row) for row in rows}, {len(rows)})
        for corner in (rows[0][:7], rows[0][-7:], rows[-1][:7]):
            self.assertEqual(corner, "1111111")
        self.assertEqual(codeRows("a" * (MAX_TEXT + 1)), [])
        self.assertNotEqual(codeRows("a" * MAX_TEXT), [])


class ListTests(InvitationCase):
    """``GET /invitations``."""

    def test_states(self) -> None:
        """Each is told with what became of it; those whose time is over are not told."""
        key = IdentityKey.generate()
        ids = [self.invite(confirm=name == "b", name=name)["id"] for name in "abc"]
        self.invite(name="short", lifetime=1)
        for id in ids[1:]:
            self.successResultOf(self.inviter.claim(id, key.publicKey))
        self.advance(2)
        self.assertEqual(
            [(each["name"], each["state"], each["fingerprint"]) for each in self.listed()],
            [
                ("a", "open", ""),
                ("b", "waiting", key.fingerprint),
                ("c", "claimed", key.fingerprint),
            ],
        )


class WithdrawTests(InvitationCase):
    """``DELETE /invitations/ID``."""

    def test_withdrawn(self) -> None:
        """It is gone; a second time there is nothing to withdraw."""
        id = self.invite()["id"]
        response = self.ask(f"/invitations/{id}", "DELETE")
        self.assertEqual((response.status, response.json), (200, {}))
        self.assertEqual(self.listed(), [])
        self.assertEqual(self.ask(f"/invitations/{id}", "DELETE").status, 404)

    def test_noId(self) -> None:
        """What can be no id is no path."""
        for id in ("x", NOBODY.upper(), f"{NOBODY}0"):
            self.assertEqual(self.ask(f"/invitations/{id}", "DELETE").status, 404)

    def test_locked(self) -> None:
        """While another process has the file, it is tried for a second, and then told."""
        path = f"/invitations/{self.invite()['id']}"
        with lockedFile(self.path):
            connection = self.open(request("DELETE", path))
            self.advance(0.5)
            self.assertEqual(connection.read(), b"")
            self.advance(1, step=LOCK_INTERVAL)
            (response,) = parseResponses(connection.read())
        self.assertEqual(response.status, 503)
        self.assertIn("holds its lock", response.title)
        self.assertEqual(self.ask(path, "DELETE").status, 200)


class ConfirmTests(InvitationCase):
    """``POST /invitations/ID/confirmation``."""

    def setUp(self) -> None:
        super().setUp()
        self.key = IdentityKey.generate()
        self.invitation = self.invite(confirm=True)["id"]

    def confirm(self, fingerprint: Any, id: str = "") -> Response:
        """Say yes."""
        path = f"/invitations/{id or self.invitation}/confirmation"
        return self.post(path, {"fingerprint": fingerprint})

    def test_yes(self) -> None:
        """The key that waits is admitted by its fingerprint; to say so again is no harm."""
        self.successResultOf(self.inviter.claim(self.invitation, self.key.publicKey))
        for _ in range(2):
            response = self.confirm(self.key.fingerprint)
            self.assertEqual((response.status, response.json["state"]), (200, "claimed"))

    def test_anotherKey(self) -> None:
        """Yes to another key than the one that waits is no yes."""
        self.successResultOf(self.inviter.claim(self.invitation, self.key.publicKey))
        other = IdentityKey.generate().fingerprint
        self.assertEqual(self.confirm(other).status, 409)
        self.assertEqual(self.listed()[0]["state"], "waiting")

    def test_nobody(self) -> None:
        """Before a key has come there is nothing to say yes to, nor to an unknown invitation."""
        self.assertEqual(self.confirm(self.key.fingerprint).status, 409)
        self.assertEqual(self.confirm(self.key.fingerprint, NOBODY).status, 404)

    def test_noFingerprint(self) -> None:
        """What is no fingerprint is refused."""
        for wrong in ("", "SHA256:", "lamp", None, 1, ["SHA256:"]):
            response = self.confirm(wrong)
            self.assertEqual((response.status, response.json["parameter"]), (400, "fingerprint"))


class NobodyInvitesTests(ApiCase):
    """A server that has no file of authorized things."""

    def test_answers(self) -> None:
        """It says that it invites nobody."""
        fingerprint = {"fingerprint": IdentityKey.generate().fingerprint}
        for response in (
            self.ask("/invitations"),
            self.ask("/invitations", "POST", body=json.dumps(WISH).encode()),
            self.ask(f"/invitations/{NOBODY}", "DELETE"),
            self.ask(
                f"/invitations/{NOBODY}/confirmation", "POST", body=json.dumps(fingerprint).encode()
            ),
        ):
            self.assertEqual(response.status, 404)
            self.assertIn("invites nobody", response.title)


class StrangerTests(InvitationCase):
    """Who may not ask."""

    def test_pages(self) -> None:
        """A page of another site can invite nobody by a browser that is here."""
        response = self.ask(
            "/invitations",
            "POST",
            headers={"Origin": "http://evil.example"},
            body=json.dumps(WISH).encode(),
        )
        self.assertEqual(response.status, 403)
        self.assertEqual(self.listed(), [])

    def test_noToken(self) -> None:
        """Where there is a token, it is needed."""

        class Token:
            def admits(self, given: bytes) -> bool:
                return given == b"secret"

        self.serve(Token(), inviter=self.inviter)
        body = json.dumps(WISH).encode()
        self.assertEqual(self.ask("/invitations", "POST", body=body).status, 401)
        self.assertEqual(self.ask("/invitations").status, 401)
        self.assertEqual(self.inviter.list(), [])
        headers = {"Authorization": "Bearer secret"}
        self.assertEqual(self.ask("/invitations", "POST", headers=headers, body=body).status, 201)
