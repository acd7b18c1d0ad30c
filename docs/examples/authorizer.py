"""A server whose authorizer asks a database, and which keeps one session of each thing."""

from dataclasses import replace

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import CannotListenError
from zope.interface import implementer

from thing import (
    EndReason,
    IAuthorizer,
    IdentityKey,
    NotAuthorized,
    ServerSettings,
    ThingFactory,
    ThingProtocol,
)


@implementer(IAuthorizer)
class Database:
    """Admits the keys that a database has a name for."""

    def __init__(self, pool):
        self.pool = pool

    def authorize(self, identity):
        return ensureDeferred(self._decide(identity))

    async def _decide(self, identity):
        query = "SELECT name FROM things WHERE fingerprint = ?"
        rows = await self.pool.runQuery(query, (identity.fingerprint,))
        if not rows:
            raise NotAuthorized(f"{identity.fingerprint} is not in the database")
        return replace(identity, name=rows[0][0])


class OnlyOne(ThingProtocol):
    """A newer session of the same key takes over from the older one."""

    newest = {}

    def handshakeCompleted(self):
        key = self.peer.publicKey
        older, self.newest[key] = self.newest.get(key), self
        if older is not None:
            older.goAway(EndReason.REPLACED, grace=5.0)
        print(f"{self.peer} is here", flush=True)

    def messageReceived(self, message):
        self.sendMessage(b"hello, " + self.peer.name.encode())

    def terminated(self, termination):
        if self.peer is not None and self.newest.get(self.peer.publicKey) is self:
            del self.newest[self.peer.publicKey]
        print(f"{self.peer or 'a stranger'}: {termination}", flush=True)


async def main(reactor):
    pool = ConnectionPool("sqlite3", "things.db", check_same_thread=False)
    key = IdentityKey.loadOrCreate("server_key")
    factory = ThingFactory(ServerSettings(credential=key), Database(pool))
    factory.protocol = OnlyOne
    try:
        await endpoints.serverFromString(reactor, "tcp:9000").listen(factory)
    except CannotListenError as failure:
        raise SystemExit(str(failure)) from None
    print(key.fingerprint, flush=True)
    await Deferred()


task.react(main)
