"""Programs that know nothing of Thing, through ``thing reach`` and ``thing agent``: real ones."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.cli.hosts import Device
from tests.cli.reachable import LONG, ReachCase
from tests.daemon.test_twistd import Process
from tests.fleet.http.browser import MISSING as NO_BROWSER
from tests.fleet.http.browser import Browser
from tests.sshd import MISSING as NO_SSHD
from tests.sshd import Sshd

SIZE = 200_000_000 if LONG else 8_000_000
"""How many octets are copied."""


def digest(path: str) -> str:
    """The SHA-256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


class SshTests(ReachCase):
    """OpenSSH's programs, and rsync, to an sshd beside the thing."""

    if NO_SSHD or shutil.which("rsync") is None:
        skip = NO_SSHD or "rsync is not installed"

    def setUp(self) -> None:
        super().setUp()
        directory = Path(self.absolute("ssh"))
        directory.mkdir()
        self.sshd = Sshd(directory).start()
        self.addCleanup(self.sshd.stop)

    def options(self) -> list[str]:
        """What each of the programs is told."""
        proxy = f"ProxyCommand={' '.join(self.reaching('ssh'))}"
        return ["-F", str(self.sshd.config), "-o", proxy]

    async def test_copies(self) -> None:
        """A command's status comes back, and files are whole that scp and rsync copied."""
        await self.serveTogether()
        await self.agent(f"ssh=tcp:127.0.0.1:{self.sshd.port}")
        said = await self.run_("ssh", *self.options(), "lamp", "echo here; exit 3", status=3)
        self.assertIn("here", said)
        there, back, again = (self.absolute(name) for name in ("there", "back", "again"))
        Path(self.path("file")).write_bytes(random.Random(14).randbytes(SIZE))
        file, expected = self.absolute("file"), digest(self.path("file"))
        await self.run_("scp", "-q", *self.options(), file, f"lamp:{there}")
        await self.run_("scp", "-q", *self.options(), f"lamp:{there}", back)
        self.assertEqual((digest(there), digest(back)), (expected, expected))
        shell = Path(self.path("shell"))
        quoted = " ".join(f"'{word}'" for word in self.options())
        shell.write_text(f'#!/bin/sh\nexec ssh {quoted} "$@"\n')
        shell.chmod(0o700)
        for begin, end in ((file, f"lamp:{again}"), (f"lamp:{again}", self.absolute("last"))):
            await self.run_("rsync", "-e", self.absolute("shell"), begin, end)
        self.assertEqual((digest(again), digest(self.path("last"))), (expected, expected))


class WebTests(ReachCase):
    """A web server on a device that can only connect out."""

    async def test_behindNat(self) -> None:
        """curl and a browser get the page of a device that nobody can connect to."""
        if shutil.which("curl") is None or NO_BROWSER:
            raise SkipTest(NO_BROWSER or "curl is not installed")
        onto = ExitStack()
        self.addCleanup(onto.close)
        device = Device("web", onto)
        site = Path(self.path("site"))
        site.mkdir()
        (site / "index.html").write_text("<title>lamp</title><p id=state>it shines</p>")
        web = Process()
        server = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "8080")
        self.begin(web, *device.within, *server, "--directory", os.path.abspath(site))
        await web.whenLine("Serving HTTP")
        await self.serve(listen=f"tcp:0:interface={device.outer}")
        await self.agent("web=tcp:127.0.0.1:8080", prefix=device.within)
        outside = f"http://{device.inner}:8080/"
        await self.run_("curl", "-sS", "-m", "1", outside, status=28)  # Out of time.
        port = await self.forward("web")
        url = f"http://127.0.0.1:{port}/"
        self.assertIn("it shines", await self.run_("curl", "-sS", "-m", "30", url))
        from twisted.internet import reactor

        browser = Browser(reactor)
        await browser.open(url)
        script = "return document.getElementById('state').textContent"
        self.assertEqual(await browser.run(script), "it shines")
