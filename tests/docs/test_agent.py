"""docs/howto-agent.rst: what it says of the agent is so."""

from __future__ import annotations

import re
import textwrap

import click
from twisted.trial.unittest import TestCase

from tests.docs.test_docs import DOCS
from thing import ThingFactory
from thing.cli.commands import commands
from thing.endpoints import Backend
from thing.testing.keys import Keys


class AgentPageTests(TestCase):
    """docs/howto-agent.rst"""

    def setUp(self) -> None:
        """Read it."""
        self.text = (DOCS / "howto-agent.rst").read_text()

    def test_expose(self) -> None:
        """The piece of Python has a factory serve what it says."""
        (block,) = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", self.text)
        keys = Keys()
        factory = ThingFactory(keys.clientSettings(), keys.servers)
        exec(textwrap.dedent(block), {"factory": factory})
        self.assertIsInstance(factory.served["reach:ssh"], Backend)

    def test_options(self) -> None:
        """Every option of the agent's own is on the page, and the page has no other."""
        agent, connect = commands.commands["agent"], commands.commands["connect"]
        assert isinstance(agent, click.Command)
        shared = {name for each in connect.params for name in each.opts}
        own = {name for each in agent.params for name in each.opts} - shared
        named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", self.text))
        own = {name for name in own if name.startswith("--")}
        self.assertLessEqual(own, named)
        others = {"--nodaemon", "--port", "--authorized", "--status", "--now"}  # Of others.
        self.assertLessEqual(named - others, own | shared)
