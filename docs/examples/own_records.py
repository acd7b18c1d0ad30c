"""
Who is admitted is in a database: ``python own_records.py`` lists no thing, so admits none.

Add one with ``python own_records.py SHA256:... NAME`` (``thing fingerprint KEY.pub``
prints the fingerprint), then serve with ``python own_records.py``.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver
from zope.interface import implementer

from thing import IdentityKey, ServerSettings, ThingFactory, ThingProtocol
from thing.trust.checker import CheckedThings, IThingCredentials

SCHEMA = "CREATE TABLE IF NOT EXISTS things (fingerprint TEXT PRIMARY KEY, name TEXT)"


# docs: begin
@implementer(ICredentialsChecker)
class Records:
    """Knows things by the fingerprints of their keys."""

    credentialInterfaces = (IThingCredentials,)

    def __init__(self, database: ConnectionPool) -> None:
        self.database = database

    async def requestAvatarId(self, credentials: IThingCredentials) -> str:
        """Give the thing's name, or refuse it."""
        fingerprint = credentials.identity.fingerprint
        rows = await self.database.runQuery(
            "SELECT name FROM things WHERE fingerprint = ?", (fingerprint,)
        )
        if not rows:
            raise UnauthorizedLogin(f"{fingerprint} is not in the records")
        return str(rows[0][0])


def makeFactory(database: ConnectionPool) -> ThingFactory:
    """Admit who is in the records, as long as these answer within three seconds."""
    settings = ServerSettings(credential=IdentityKey.loadOrCreate("server_key"))
    return ThingFactory(settings, CheckedThings(Records(database), timeout=3.0))


# docs: end
class Greeter(ThingProtocol):
    """Greets a thing by the name that the records have for it."""

    def handshakeCompleted(self) -> None:
        """Say hello."""
        self.sendMessage(f"hello, {self.peer}".encode())


async def main(reactor: Any, *words: str) -> None:
    """Add a thing, or serve."""
    # One thread, so that SQLite is content.
    database = ConnectionPool("sqlite3", "things.db", check_same_thread=False, cp_min=1, cp_max=1)
    await database.runOperation(SCHEMA)
    if words:
        await database.runOperation("INSERT INTO things VALUES (?, ?)", words)
        return
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
    factory = makeFactory(database)
    factory.protocol = Greeter
    try:
        await serverFromString(reactor, "tcp:9000").listen(factory)
    except CannotListenError as failure:
        raise SystemExit(str(failure)) from None
    print("Listening")
    await Deferred()


if __name__ == "__main__":
    react(lambda reactor, *words: ensureDeferred(main(reactor, *words)), sys.argv[1:])
