"""
What is said when a thing joins: one request, and its reply (specification, "Joining").

Both are JSON in a request of the protocol's own. What is not known in them is ignored, so that
there may be more some day.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from thing.errors import CredentialError
from thing.text import readObject
from thing.trust.keys import checkName, formatPublicKey, parsePublicKey

if TYPE_CHECKING:
    from typing_extensions import Self


class Refusal(Enum):
    """Why a thing does not join, as the server tells it."""

    sentence: str

    def __new__(cls, word: str, sentence: str) -> Self:
        """Attach the sentence to the word."""
        member = object.__new__(cls)
        member._value_ = word
        member.sentence = sentence
        return member

    WITHDRAWN = "withdrawn", "the invitation was withdrawn, or its time is over"
    OTHER_KEY = "other-key", "the invitation is another key's"
    NAME_TAKEN = "name-taken", "another key has the name, and the invitation replaces none"
    KEY_TAKEN = "key-taken", "the server knows this key already, by another name or as no thing's"
    KEY_REFUSED = "key-refused", "the server refuses this key, whoever invites it"
    NOT_NOW = "not-now", "the server cannot write its files now"


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A thing asks to have its key authorized."""

    publicKey: bytes
    """The key, 32 raw octets."""

    def encode(self) -> bytes:
        """
        Write it.

        :return: the request.
        """
        return json.dumps({"key": formatPublicKey(self.publicKey)}).encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """
        Read it.

        :param data: the request.
        :return: the same.
        :raises CredentialError: if it is none.
        """
        return cls(_key(_members(data), "key"))


@dataclass(frozen=True, slots=True)
class JoinReply:
    """The key is authorized: that is what the thing is called, and the server is known by."""

    name: str
    """The thing's name."""

    serverKey: bytes
    """The server's public key, 32 raw octets."""

    def encode(self) -> bytes:
        """
        Write it.

        :return: the reply.
        """
        members = {"name": self.name, "server": formatPublicKey(self.serverKey)}
        return json.dumps(members, ensure_ascii=False).encode()


def encodeRefusal(refusal: Refusal) -> bytes:
    """
    Write a refusal.

    :param refusal: why.
    :return: the reply.
    """
    return json.dumps({"refused": refusal.value}).encode()


def parseReply(data: bytes) -> JoinReply | Refusal:
    """
    Read a reply.

    :param data: the reply.
    :return: what the server says.
    :raises CredentialError: if it is none.
    """
    members = _members(data)
    if "refused" in members:
        for each in Refusal:
            if each.value == members["refused"]:
                return each
        raise CredentialError("the server refuses, and its word for why is not known")
    name = members.get("name")
    if not isinstance(name, str) or not name:
        raise CredentialError("the reply has no name")
    return JoinReply(checkName(name), _key(members, "server"))


def _members(data: bytes) -> dict[str, Any]:
    try:
        return readObject(data)
    except ValueError:
        raise CredentialError("not an object of JSON") from None


def _key(members: dict[str, Any], name: str) -> bytes:
    line = members.get(name)
    if not isinstance(line, str):
        raise CredentialError(f"there is no text {name!r}")
    return parsePublicKey(line)
