"""What a type checker says of users' programs, without any plugin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT

RIGHT = """\
from twisted.internet.defer import Deferred
from zope.interface import implementer  # type: ignore[import-untyped, unused-ignore]

from thing import (
    Anyone,
    AuthorizedThings,
    ClientSettings,
    IAuthorizer,
    Identity,
    IdentityKey,
    PinnedServers,
    ServerSettings,
    Termination,
    ThingFactory,
    ThingProtocol,
    TtlPolicy,
)
from thing.asyncio import connect
from thing.trust import PresharedKey


class Server(ThingProtocol):
    async def handshakeCompleted(self) -> None:
        self.sendMessage(b"hello")

    async def messageReceived(self, message: bytes) -> None:
        self.sendMessage(await self.request(message))
        print(self.transport.getPeer())

    def dataEnded(self) -> Deferred[Termination]:
        return self.goodbye()

    def terminated(self, termination: Termination) -> None:
        print(termination.cause)


class Client(ThingProtocol):
    def requestReceived(self, data: bytes) -> bytes:
        return data.upper()


@implementer(IAuthorizer)
class Own:
    def authorize(self, identity: Identity) -> Identity:
        return identity


@implementer(IAuthorizer)
class Later:
    async def authorize(self, identity: Identity) -> Identity:
        return identity


key = IdentityKey.loadOrCreate("server_key")
settings = ServerSettings(credential=key, ttl=TtlPolicy(default=10), presharedKeys={b"a": b"b"})
for factory in (
    ThingFactory(settings, Anyone()),
    ThingFactory(settings, AuthorizedThings("things")),
    ThingFactory(settings, Own()),
    ThingFactory(settings, Later()),
):
    factory.protocol = Server
client = ThingFactory(ClientSettings(), PinnedServers([key.fingerprint]), jitter=lambda: 0.5)
client.protocol = Client
ThingFactory(ClientSettings(credential=PresharedKey(b"lamp", bytes(32))), Own())
connect("localhost:9000", ClientSettings(), PinnedServers([key.fingerprint]))
connect("localhost:9000", ClientSettings(), Own())
"""

WRONG = """\
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from thing import (
    Anyone,
    ClientSettings,
    CredentialKind,
    IdentityKey,
    PinnedServers,
    ServerSettings,
    ThingFactory,
    ThingProtocol,
)
from thing.asyncio import connect
from thing.endpoints import ThingClientEndpoint, ThingServerEndpoint
from thing.trust import ByKind, PresharedKey, PresharedServer

key = IdentityKey.generate()
pinned = PinnedServers([key.fingerprint])
settings = ServerSettings(credential=key)


def ends(server: IStreamServerEndpoint, client: IStreamClientEndpoint) -> None:
    ThingServerEndpoint(server, settings, pinned)  # wrong
    ThingServerEndpoint(server, ClientSettings(), Anyone())  # wrong
    ThingClientEndpoint(client, ClientSettings(), Anyone())  # wrong
    ThingClientEndpoint(client, settings, pinned)  # wrong


ThingFactory(ClientSettings(), Anyone())  # wrong
ThingFactory(settings, pinned)  # wrong
ThingFactory(settings, Anyone)  # wrong
ThingFactory(settings, None)  # wrong
ThingFactory(settings, "things")  # wrong
ThingFactory(ServerSettings, Anyone())  # wrong
ThingFactory(settings, Anyone(), limits=5)  # wrong
ThingFactory(settings, Anyone()).protocol = ThingProtocol()  # wrong
ServerSettings(credential="server_key")  # wrong
ServerSettings(credential=None)  # wrong
ServerSettings(credential=IdentityKey)  # wrong
ServerSettings(credential=key, ttl=30)  # wrong
ServerSettings(credential=key, presharedKeys={"a": b"x"})  # wrong
ClientSettings(credential=None)  # wrong
ClientSettings(requestedTtl="30")  # wrong
ByKind({CredentialKind.ED25519: Anyone})  # wrong
PresharedKey("lamp", b"x")  # wrong
PresharedServer(b"x")  # wrong
connect("localhost:9000", ClientSettings(), Anyone())  # wrong


class Shout(ThingProtocol):
    def messageReceived(self, message: str) -> None:  # wrong
        self.sendMessage("x")  # wrong
        self.sendMessage(b"x", 5)  # wrong
"""


class TypeTests(SynchronousTestCase):
    """``mypy --strict``"""

    if find_spec("mypy") is None:
        skip = "mypy is not installed"

    def test_programs(self) -> None:
        """It has nothing to say of what is right, and something of each line that is wrong."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "right.py").write_text(RIGHT)
        (directory / "wrong.py").write_text(WRONG)
        made = subprocess.run(
            (
                *(sys.executable, "-m", "mypy", "--strict", "--config-file="),
                *("--hide-error-context", "--no-error-summary", "right.py", "wrong.py"),
            ),
            cwd=directory,
            env={**os.environ, "MYPYPATH": str(PROJECT), "MYPY_CACHE_DIR": "cache"},
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.findall(r"(?m)^(?!.*: note: )(.*?\.py):(\d+): ", made.stdout)
        told = {int(line) for name, line in found if name == "wrong.py"}
        lines = enumerate(WRONG.splitlines(), 1)
        wrong = {number for number, line in lines if line.endswith("# wrong")}
        self.assertEqual(told, wrong, made.stdout + made.stderr)
        self.assertEqual([each for each in found if each[0] == "right.py"], [], made.stdout)
