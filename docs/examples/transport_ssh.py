"""
SSH inside Thing: strangers never reach the SSH server, and names must agree.

    $ python transport_ssh.py server thing:9000:identity=server_key:authorized=things
    $ python transport_ssh.py lamp \
        thing:localhost:9000:identity=thing_key:serverKey=...

SSH has keys of its own: the server's are ``host_key`` and ``host_key.pub``, those of a
thing named lamp are ``lamp_key`` and ``lamp_key.pub``, and each side has the other's .pub.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.conch.avatar import ConchUser
from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.connection import SSHConnection
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import SSHClientTransport
from twisted.conch.ssh.userauth import SSHUserAuthClient, SSHUserAuthServer
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError, ConnectError
from zope.interface import implementer

from thing import HandshakeFailed
from thing.endpoints import IThingTransport

TEXT = b"is anybody there? " * 100_000
"""More than a dozen of SSH's windows."""


class Shout(SSHChannel):
    """The server's end of a channel: its one command answers in capitals."""

    name = b"session"
    conn: Any

    def request_exec(self, data: bytes) -> bool:
        return data == NS(b"shout")

    def dataReceived(self, data: bytes) -> None:
        self.write(data.upper())


class OwnName(SSHUserAuthServer):
    """Lets a thing log in under the name that it has in Thing, and no other."""

    transport: Any

    def auth_publickey(self, packet: bytes) -> Any:
        if self.user != str(IThingTransport(self.transport.transport).peer).encode():
            return fail(UnauthorizedLogin())
        return super().auth_publickey(packet)


@implementer(IRealm)
class Realm:
    def requestAvatar(self, user: bytes | tuple[()], mind: object, *interfaces: Any) -> Any:
        avatar = ConchUser()
        avatar.channelLookup[b"session"] = Shout
        return interfaces[0], avatar, lambda: None


class Server(SSHFactory):
    services = {b"ssh-userauth": OwnName, b"ssh-connection": SSHConnection}

    def __init__(self) -> None:
        key = Key.fromFile("host_key")
        self.publicKeys = {key.sshType(): key.public()}
        self.privateKeys = {key.sshType(): key}
        things = InMemorySSHKeyDB({b"lamp": [Key.fromFile("lamp_key.pub")]})
        self.portal = Portal(Realm(), [SSHPublicKeyChecker(things)])


class Client(SSHClientTransport):
    """The thing's side of SSH."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard = bytearray()
        self.keyExchanges = 0
        self.gone: Deferred[object] = Deferred()

    def verifyHostKey(self, hostKey: bytes, fingerprint: bytes) -> Deferred[bool]:
        expected = Key.fromFile("host_key.pub").blob()
        return succeed(True) if hostKey == expected else fail(ValueError("another host key"))

    def connectionSecure(self) -> None:
        self.keyExchanges += 1
        if self.keyExchanges == 1:  # It is called again whenever SSH changes its keys.
            self.requestService(Login(self.name))

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.gone.callback(reason.value)


class Login(SSHUserAuthClient):
    def __init__(self, name: str) -> None:
        super().__init__(name.encode(), Connection())
        self.keyFile = f"{name}_key"

    def getPublicKey(self) -> Key | None:
        return None if self.lastPublicKey else Key.fromFile(f"{self.keyFile}.pub")

    def getPrivateKey(self) -> Deferred[Key]:
        return succeed(Key.fromFile(self.keyFile))


class Connection(SSHConnection):
    def serviceStarted(self) -> None:
        super().serviceStarted()
        self.openChannel(Command(conn=self))


class Command(SSHChannel):
    """The client's end of a channel: it runs the command, and gives it the text."""

    name = b"session"
    conn: Any

    def channelOpen(self, data: bytes) -> None:
        self.conn.sendRequest(self, b"exec", NS(b"shout"))
        self.write(TEXT)

    def dataReceived(self, data: bytes) -> None:
        client = self.conn.transport
        before = len(client.heard)
        client.heard += data
        if before < len(TEXT) // 2 <= len(client.heard):
            client.sendKexInit()  # As OpenSSH does after so many octets.
        if len(client.heard) == len(TEXT):
            self.loseConnection()

    def closed(self) -> None:
        self.conn.transport.loseConnection()


async def serve(reactor: Any, description: str) -> None:
    port = await endpoints.serverFromString(reactor, description).listen(Server())
    print(f"listening on {port.getHost()}", flush=True)
    await Deferred()


async def connect(reactor: Any, name: str, description: str) -> None:
    endpoint = endpoints.clientFromString(reactor, description)
    client = await endpoints.connectProtocol(endpoint, Client(name))
    print(await client.gone)
    if client.heard != TEXT.upper():
        raise SystemExit(f"only {len(client.heard)} octets came back")
    print(f"{len(client.heard)} octets in capitals, {client.keyExchanges} key exchanges")


async def main(reactor: Any, name: str, description: str) -> None:
    try:
        if name == "server":
            await serve(reactor, description)
        else:
            await connect(reactor, name, description)
    except (CannotListenError, ConnectError, HandshakeFailed) as failure:
        raise SystemExit(str(failure)) from None


task.react(main, sys.argv[1:])
