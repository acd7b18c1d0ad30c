"""A protocol of one's own, in a module that ``twistd thing`` and tests import."""

from thing import ThingFactory, ThingProtocol


class Shout(ThingProtocol):
    """Answers in capitals."""

    def messageReceived(self, message):
        self.sendMessage(message.upper())


class ShoutFactory(ThingFactory):
    """Builds a Shout for each session."""

    protocol = Shout
