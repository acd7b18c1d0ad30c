"""A client on blocking sockets: python blocking_client.py HOST PORT FINGERPRINT"""

import contextlib
import select
import socket
import sys
import time

from thing.core import ClientConnection, ClientSettings
from thing.errors import NotAuthorized
from thing.events import HandshakeCompleted, MessageReceived, PeerProved, Terminated
from thing.trust.servers import PinnedServers


class BlockingClient:
    def __init__(self, sock, authorizer):
        sock.setblocking(False)
        self.sock = sock
        self.authorizer = authorizer
        self.connection = ClientConnection(ClientSettings())
        self.unsent = b""

    def run(self):
        """Have the session; it is over when this returns."""
        self.handle(self.connection.start(time.monotonic()))
        while self.connection.termination is None:
            self.send()
            deadline = self.connection.nextDeadline
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            writing = [self.sock] if self.unsent else []
            readable, _, _ = select.select([self.sock], writing, [], wait)
            if readable:  # First: what has come may be the sign of life that is waited for.
                self.receive()
            if deadline is not None and deadline <= time.monotonic():
                self.handle(self.connection.handleTimer(time.monotonic()))
        with self.sock, contextlib.suppress(OSError):
            self.sock.settimeout(2.0)
            self.sock.sendall(self.unsent + self.connection.dataToSend(time.monotonic()))

    def receive(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        if data:
            self.handle(self.connection.receiveData(data, time.monotonic()))
        else:
            self.handle(self.connection.receiveEnd(time.monotonic()))

    def send(self):
        """Take what the socket takes, and no more: so a heartbeat overtakes what waits."""
        while self.unsent or self.connection.hasDataToSend:
            self.unsent = self.unsent or self.connection.dataToSend(time.monotonic())
            try:
                self.unsent = self.unsent[self.sock.send(self.unsent) :]
            except (BlockingIOError, ConnectionError):
                break

    def handle(self, events):
        for event in events:
            match event:
                case PeerProved(identity):
                    self.handle(self.decide(identity))
                case HandshakeCompleted(session):
                    print(f"with {session.peer}, TTL {session.ttl:g} s", flush=True)
                    self.connection.sendMessage(b"is anybody there?")
                case MessageReceived(data):
                    print(data.decode(), flush=True)
                    self.handle(self.connection.goodbye(time.monotonic()))
                case Terminated(termination):
                    print(termination, flush=True)

    def decide(self, identity):
        """Whether to believe the server: the handshake waits for this."""
        try:
            return self.connection.admit(self.authorizer.authorize(identity), time.monotonic())
        except NotAuthorized as error:
            return self.connection.reject(error.code, time.monotonic(), error.detail)


if __name__ == "__main__":
    host, port, fingerprint = sys.argv[1:]
    try:
        sock = socket.create_connection((host, int(port)))
    except OSError as error:  # Nobody listens.
        raise SystemExit(error) from None
    BlockingClient(sock, PinnedServers([fingerprint])).run()
