"""docs/implementing.rst: the vectors read, the order of the rows, and the conformance run."""

from __future__ import annotations

import re
import sys
import textwrap

from tests import PROJECT
from tests.docs.test_docs import DOCS, FINGERPRINT, DocumentedPrograms
from thing.conformance.catalogue import CHECKS
from thing.session.protocol import ThingProtocol
from thing.testing import Keys, LoopbackServer
from thing.trust.authorized import Anyone

PAGE = DOCS / "implementing.rst"

CLIENT = """\
mkfifo -m 600 input.$$
key=$({python} -m thing.cli fingerprint $3 | cut -d' ' -f2)
exec {python} -m thing.cli connect --server-key "$key" "$1:$2" 0<>input.$$
"""
"""A client that has nothing to say, and does not end by itself."""

SHELL = """
import os, sys
os.execvp("bash", ["bash", "-c", sys.argv[1]])
"""


class ImplementingTests(DocumentedPrograms):
    """What the page shows."""

    def setUp(self) -> None:
        super().setUp()
        self.page = PAGE.read_text()

    async def test_vector(self) -> None:
        """The program reads the vector, and says what the page has."""
        command, *said = self.shown("python")
        program, vector = command.split()[2:]
        reading = self.example(program, str(PROJECT / vector))
        self.assertEqual(await reading.exits(), 0, reading.output)
        self.assertEqual(reading.output.splitlines(), said)

    def test_order(self) -> None:
        """Every family of rows has its step, and every row that is named is there."""
        families = {each.name.partition(".")[0] for each in CHECKS}
        steps = self.page.partition(".. list-table::")[2].partition("Three things")[0]
        self.assertEqual(set(re.findall(r"``([a-z]+)\.\*``", steps)), families)

    async def test_server(self) -> None:
        """A server is examined by the command that is shown, with the output that is shown."""
        keys = Keys()
        keys.things = Anyone()
        settings = keys.serverSettings(allowAnonymous=True)
        server = LoopbackServer(self, ThingProtocol, settings=settings, keys=keys)
        command, *said = self.shown("thing conformance")
        words = [word.strip("'") for word in command.split()[2:-1]]
        words[words.index("SHA256:...")] = server.fingerprint
        process = self.run_("-m", "thing.cli", *words, f"{server.host}:{server.port}")
        self.assertEqual(await process.exits(), 0, process.output)
        self.assertEqual(process.output.splitlines(), said)

    async def test_client(self) -> None:
        """So is ``thing connect``, which is started again and again by the lines that are shown."""
        lines = self.page.partition(".. code-block:: sh\n\n")[2].partition("\n\n")[0]
        python = f"{sys.executable} -m thing.cli "
        script = self.moved(textwrap.dedent(lines)).replace("thing ", python)
        script = script.replace("--json", "--json --only 'keys.f*' --only keys.repeated")
        self.write("your-client", f"#!/bin/sh\n{CLIENT.format(python=sys.executable)}")
        (self.directory / "your-client").chmod(0o755)
        run = self.run_("-c", SHELL, script)
        self.assertEqual(await run.exits(), 0, run.output)
        self.assertRegex(run.output, f"the server's key is {FINGERPRINT}")
        results = (self.directory / "results").read_text()
        self.assertEqual(results.count('"outcome": "holds"'), 2, results)

    def shown(self, command: str) -> list[str]:
        """A console block: its command, and what that says."""
        block = self.page.partition(f"   $ {command}")[2]
        found = re.split(r"\n(?=\S)", f"$ {command}{block}", maxsplit=1)[0]
        return textwrap.dedent(found.replace("\n   ", "\n")).rstrip().splitlines()
