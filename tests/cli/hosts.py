"""A host of its own for a device, as it is behind NAT: it can connect out, and nobody to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack

from twisted.trial.unittest import SkipTest

PATHS = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"

RULES = """
table inet outward {
  chain input {
    type filter hook input priority 0; policy accept;
    iifname != "lo" tcp flags & (syn | ack) == syn drop
    iifname != "lo" udp sport != 0 drop
  }
}
"""
"""What begins outside does not come in; it needs no memory of connections."""


class Device:
    """
    A network namespace with one link, to this host.

    :ivar within: a command that runs another one there.
    :ivar inner: its address.
    :ivar outer: this host's, on the link.
    """

    def __init__(self, name: str, onto: ExitStack) -> None:
        """
        :param name: a few letters.
        :param onto: takes it away.
        :raises SkipTest: if there can be none here.
        """
        for program in ("ip", "nft"):
            if shutil.which(program, path=PATHS) is None:
                raise SkipTest(f"{program} is not installed")
        if os.geteuid() != 0:
            raise SkipTest("network namespaces need root")
        ip = str(shutil.which("ip", path=PATHS))
        number = os.getpid()
        namespace, link, end = f"thing-{number}-{name}", f"thing{number}o", f"thing{number}i"
        taken = self._run(ip, "-oneline", "address")
        # Reserved for documentation (RFC 5737); other tests may be running.
        pairs = ((f"203.0.113.{at + 1}", f"203.0.113.{at + 2}") for at in range(0, 256, 4))
        free = [pair for pair in pairs if f" {pair[0]}/" not in taken]
        self.outer, self.inner = free[number % len(free)]
        self.within = (ip, "netns", "exec", namespace)
        self._run(ip, "netns", "add", namespace)
        onto.callback(self._run, ip, "netns", "delete", namespace)
        self._run(ip, "link", "add", link, "type", "veth", "peer", end, "netns", namespace)
        onto.callback(subprocess.run, (ip, "link", "delete", link), capture_output=True)
        self._run(ip, "address", "add", f"{self.outer}/30", "dev", link)
        self._run(ip, "link", "set", link, "up")
        inside = (ip, "-netns", namespace)
        self._run(*inside, "address", "add", f"{self.inner}/30", "dev", end)
        self._run(*inside, "link", "set", end, "up")
        self._run(*inside, "link", "set", "lo", "up")
        self._run(*self.within, str(shutil.which("nft", path=PATHS)), "-f", "-", input=RULES)

    @staticmethod
    def _run(*command: str, input: str | None = None) -> str:
        done = subprocess.run(command, check=True, capture_output=True, text=True, input=input)
        return done.stdout
