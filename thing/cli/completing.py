"""
Completes ids and names in a shell, by asking the status server.

Whoever presses Tab waits for it, and wants no line on the terminal: what does not come soon, for
whatever reason, is no completion.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

import click

from thing.cli.address import DEFAULT_STATUS, StatusAddress, parseStatus
from thing.cli.exits import CommandError
from thing.cli.status import readToken
from thing.cli.waiting import waitUntil
from thing.errors import CredentialError

if TYPE_CHECKING:
    from thing.cli.api import Api

PATIENCE = 1.0
"""How long the status server may take, seconds."""

MOST = 200
"""So many ids are enough to choose from."""

_PLAIN = re.compile(r"[\w.,:@%+=/-]+")
"""What a shell takes for one word, whatever it does; others are left to be typed."""


def completeThings(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """
    Complete the id of a thing that is here.

    :param context: what was typed so far.
    :param parameter: what is typed.
    :param incomplete: the beginning of the id.
    :return: the ids that begin so; none if the server does not tell soon.
    """

    def ask(api: Api, found: list[str]) -> None:
        from thing.cli.records import pages

        for page in pages(api, {"q": incomplete or None}, False):
            found += _fitting((row.id for row in page.rows), incomplete)
            if len(found) >= MOST:
                return

    return _soon(context, ask)[:MOST]


def completeNodes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """
    Complete the name of a node.

    :param context: what was typed so far.
    :param parameter: what is typed.
    :param incomplete: the beginning of the name.
    :return: the names that begin so; none if the server does not tell soon.
    """

    def ask(api: Api, found: list[str]) -> None:
        from thing.cli.records import nodes

        told, _ = nodes(api)
        found += _fitting((node.name for node in told), incomplete)

    return _soon(context, ask)


def completeReaches(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """
    Complete the id of what is reached.

    :param context: what was typed so far.
    :param parameter: what is typed.
    :param incomplete: the beginning of the id.
    :return: the ids that begin so; none if the server does not tell soon.
    """
    return _listed(context, "reaches", incomplete)


def completeInvitations(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """
    Complete the id of an invitation.

    :param context: what was typed so far.
    :param parameter: what is typed.
    :param incomplete: the beginning of the id.
    :return: the ids that begin so; none if the server does not tell soon.
    """
    return _listed(context, "invitations", incomplete)


def _listed(context: click.Context, what: str, incomplete: str) -> list[str]:
    """The ids in a list that the status server tells whole."""

    def ask(api: Api, found: list[str]) -> None:
        from thing.cli.answers import listIn

        told = listIn(api.get(f"/{what}").found, what)
        ids = (each.get("id") for each in told if isinstance(each, dict))
        found += _fitting((id for id in ids if isinstance(id, str)), incomplete)

    return _soon(context, ask)


def _fitting(names: Iterable[str], incomplete: str) -> list[str]:
    return [each for each in names if each.startswith(incomplete) and _PLAIN.fullmatch(each)]


def _soon(context: click.Context, ask: Callable[[Api, list[str]], None]) -> list[str]:
    """What the status server has told until the user has waited long enough."""
    found: list[str] = []

    def asking() -> None:
        with suppress(CommandError, CredentialError, ValueError), _api(context) as api:
            ask(api, found)

    # A name server that does not answer cannot be interrupted, but left alone.
    thread = Thread(target=asking, daemon=True)
    thread.start()
    waitUntil(lambda: not thread.is_alive(), PATIENCE)
    return list(found)


def _api(context: click.Context) -> Api:
    """What asks the server that was chosen by options before, by the environment, or by nobody."""
    from thing.cli.api import Api

    address, tokenFile = context.params.get("address"), context.params.get("tokenFile")
    if not isinstance(address, StatusAddress):  # The command itself asks no status server.
        address = parseStatus(os.environ.get("THING_STATUS") or DEFAULT_STATUS)
        tokenFile = os.environ.get("THING_STATUS_TOKEN_FILE")
    return Api(address, readToken(tokenFile) if tokenFile else None)
