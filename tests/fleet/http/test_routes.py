"""Which request is answered by what."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from thing.fleet.http.answers import Answer, Problem
from thing.fleet.http.routes import Call, Route, Routes

ID = "0123456789abcdef"


async def answer(call: Call) -> Answer | None:
    """Answer nothing."""
    return None


class RoutesTests(SynchronousTestCase):
    """Paths, as they are or with an id in them."""

    def setUp(self) -> None:
        self.all = Route({b"GET": answer, b"POST": answer})
        self.one = Route({b"DELETE": answer})
        self.part = Route({b"POST": answer})
        self.routes = Routes(
            {"/": Route({}), "/reaches": self.all},
            {"/reaches/{id}": self.one, "/reaches/{id}/part": self.part},
        )

    def test_found(self) -> None:
        """A path is found as it is, or by the id in it, which is told."""
        self.assertEqual(self.routes.find("/reaches"), (self.all, ""))
        self.assertEqual(self.routes.find(f"/reaches/{ID}"), (self.one, ID))
        self.assertEqual(self.routes.find(f"/reaches/{ID}/part"), (self.part, ID))

    def test_none(self) -> None:
        """What is like no path is none, and nor is what is no id."""
        for path in (
            *("", "/reaches/", f"/reaches/{ID}/", f"/reaches/{ID}/other", f"/others/{ID}"),
            *(f"/reaches/{ID}0", f"/reaches/{ID[1:]}", f"/reaches/{ID.upper()}", f"/{ID}"),
            *(f"/reaches/{ID}\n", f"/reaches/{ID}/part/part", "/reaches/{id}/"),
        ):
            self.assertEqual(self.routes.find(path)[0], None, path)

    def test_methods(self) -> None:
        """HEAD is answered as GET is; what no method answers is told with those that do."""
        self.assertIs(self.all.handler(b"HEAD"), answer)
        for route, method, allowed in (
            (self.all, b"PUT", "GET, POST, HEAD"),
            (self.one, b"HEAD", "DELETE"),
        ):
            error = self.assertRaises(Problem, route.handler, method)
            self.assertEqual(error.status, 405)
            self.assertEqual(error.answer().headers, {"Allow": allowed})


class ObjectTests(SynchronousTestCase):
    """The JSON object that a request holds."""

    def call(self, body: bytes, tooLong: bool = False) -> Call:
        request: Any = SimpleNamespace(body=body, tooLong=tooLong)
        return Call(request)

    def test_object(self) -> None:
        """It is read."""
        self.assertEqual(self.call(b'{"name": "lamp"}').object(), {"name": "lamp"})

    def test_none(self) -> None:
        """What is none is refused, and so is what is too long."""
        for body in (b"", b"[]", b"{", b"\xff{}"):
            self.assertEqual(self.assertRaises(Problem, self.call(body).object).status, 400)
        self.assertEqual(self.assertRaises(Problem, self.call(b"", True).object).status, 413)
