"""A server that grants a short TTL and tells what it sees of its things' hearts."""

from twisted.internet import endpoints, task
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from thing import Anyone, IdentityKey, ServerSettings, ThingFactory, ThingProtocol, TtlPolicy


class Watched(ThingProtocol):
    def handshakeCompleted(self):
        self.say(f"is here, TTL {self.session.ttl:g} s")

    def heartbeatReceived(self, sequence, roundTripTime):
        if roundTripTime is None:
            self.say(f"heartbeat {sequence}")
        else:
            self.say(f"heartbeat {sequence}, round trip {roundTripTime * 1000:.1f} ms")

    def heartbeatLate(self, silence):
        self.say(f"late: silent for {silence:.1f} s")

    def terminated(self, termination):
        self.say(str(termination))

    def say(self, what):
        print(f"{self.sessionId[:8]} {what}", flush=True)


async def main(reactor):
    settings = ServerSettings(
        credential=IdentityKey.loadOrCreate("server_key"),
        allowAnonymous=True,
        ttl=TtlPolicy(minimum=1.0, default=3.0, maximum=60.0),
    )
    factory = ThingFactory(settings, Anyone())
    factory.protocol = Watched
    try:
        await endpoints.serverFromString(reactor, "tcp:9000").listen(factory)
    except CannotListenError as failure:
        raise SystemExit(str(failure)) from None
    print(settings.credential.fingerprint, flush=True)
    await Deferred()


task.react(main)
