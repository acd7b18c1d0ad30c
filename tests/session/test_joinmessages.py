"""What is said when a thing joins, as it is written and read."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from thing.core.capacity import Capacity
from thing.core.messages import REQUEST_LIMIT
from thing.errors import CredentialError
from thing.session.joinmessages import (
    JoinReply,
    JoinRequest,
    Refusal,
    encodeRefusal,
    parseReply,
)
from thing.trust import formatPublicKey
from thing.trust.keys import MAX_NAME

KEY = bytes(range(32))
LINE = formatPublicKey(KEY)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20) | st.just(LINE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
MEMBERS = st.dictionaries(st.sampled_from(("key", "name", "server", "refused", "more")), JSON)


class JoinMessageTests(TestCase):
    """The request and its replies."""

    def test_layout(self) -> None:
        """They are the objects that the specification names."""
        self.assertEqual(json.loads(JoinRequest(KEY).encode()), {"key": LINE})
        reply = JoinReply("Küche", KEY).encode()
        self.assertEqual(json.loads(reply), {"name": "Küche", "server": LINE})
        self.assertEqual(json.loads(encodeRefusal(Refusal.NOT_NOW)), {"refused": "not-now"})

    def test_again(self) -> None:
        """What is written is read again, and members that are not known are ignored."""
        self.assertEqual(JoinRequest.parse(JoinRequest(KEY).encode()), JoinRequest(KEY))
        reply = JoinReply("\U00020000" * 46, KEY)
        self.assertEqual(parseReply(reply.encode()), reply)
        for refusal in Refusal:
            self.assertIs(parseReply(encodeRefusal(refusal)), refusal)
        longest = JoinReply('"' * MAX_NAME, KEY).encode()
        self.assertLessEqual(len(longest), Capacity(512, 576, 128, 0).request)
        more = json.dumps({"key": f"{LINE} comment", "more": 1}).encode()
        self.assertEqual(JoinRequest.parse(more), JoinRequest(KEY))

    @given(st.binary() | MEMBERS.map(lambda members: json.dumps(members).encode()))
    def test_anything(self, data: bytes) -> None:
        """Whatever the peer says, it is understood, or refused in one line."""
        for parse in (JoinRequest.parse, parseReply):
            try:
                read = parse(data)
            except CredentialError as error:
                self.assertNotIn("\n", str(error))
            else:
                self.assertIsInstance(read, JoinRequest | JoinReply | Refusal)

    def test_deep(self) -> None:
        """JSON that goes deeper than the stack is none."""
        for data in (b"[" * REQUEST_LIMIT, b'{"a":' * 3000):
            self.assertRaises(CredentialError, JoinRequest.parse, data)
            self.assertRaises(CredentialError, parseReply, data)
