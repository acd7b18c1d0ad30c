"""What ``thing nodes`` does, and what ``thing top`` shows of nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from thing.cli.api import Api
from thing.cli.exits import CommandError, ExitCode, complain
from thing.cli.formats import Columns, formatRoundTrip, visible
from thing.cli.listing import INCOMPLETE
from thing.cli.output import asLine, endingQuietly, write
from thing.cli.records import Node, nodes

HEADINGS = ("NODE", "STATE", "SESSIONS", "HANDSHAKES", "LAG", "REGISTRY")
"""What is shown of a node."""

RIGHT = ("SESSIONS", "HANDSHAKES", "LAG")
"""Which of it stands to the right."""


def nodeCells(node: Node) -> tuple[str, ...]:
    """
    Write how a node is.

    :param node: the node.
    :return: a text for each of the headings.
    """
    return (
        visible(node.name, 60),
        visible(node.status, 20),
        str(node.sessions),
        str(node.handshakes),
        formatRoundTrip(node.loopLag),
        visible(node.registry, 20),
    )


def nodeLines(found: Sequence[Node]) -> Iterator[str]:
    """
    Write how nodes are, in columns.

    :param found: the nodes.
    :return: the lines, the headings first.
    """
    yield from Columns(HEADINGS, RIGHT).lines([HEADINGS, *map(nodeCells, found)])


def listNodes(api: Api, asJson: bool) -> None:
    """
    Print how the nodes are.

    :param api: the server.
    :param asJson: whether to print JSON.
    :raises CommandError: if it does not answer, or nonsense.
    """
    with endingQuietly(ExitCode.INTERRUPTED):
        found, complete = nodes(api)
        write([asLine(each.found) for each in found] if asJson else nodeLines(found))
    if not complete:
        complain(INCOMPLETE)


def forgetNode(api: Api, name: str) -> None:
    """
    Have a node that was lost listed no more.

    :param api: the server.
    :param name: its name.
    :raises CommandError: if that was not done.
    """
    with endingQuietly(ExitCode.INTERRUPTED):
        answer = api.ask("DELETE", "/node", {"name": name})
        codes = {404: ExitCode.UNKNOWN, 409: ExitCode.NODE_UP}
        if answer.status in codes:
            line = f"{visible(name)}: {answer.title.rstrip('.')}"
            raise CommandError(line, codes[answer.status])
        if answer.status != 200:
            raise api.failed(answer)
