"""A clock that turns as a real reactor does."""

from twisted.internet.task import Clock


class TurningClock(Clock):
    """Tells apart the turns of a reactor, as ``advance(0)`` of its base does not."""

    def isBusy(self) -> bool:
        """Whether something is to be done in the next turn."""
        return any(call.getTime() <= self.seconds() for call in self.getDelayedCalls())

    def turn(self) -> None:
        """Do what is due by now, and nothing that this asks for."""
        for call in [each for each in self.calls if each.getTime() <= self.seconds()]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
