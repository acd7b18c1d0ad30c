"""The logger of all modules of Thing: no text that it is given steers what shows the log."""

from __future__ import annotations

from typing import cast

from twisted.logger import LogLevel

from thing.text import visible
from twisted import logger


class Logger(logger.Logger):
    """
    Twisted's logger, but for texts, of which peers, authorizers and other nodes wrote many.

    They come to the observers as :func:`~thing.text.visible` makes them.
    """

    def __get__(self, instance: object, owner: type | None = None) -> Logger:
        """:return: the logger for an instance of a class that has this one as an attribute."""
        return cast("Logger", super().__get__(instance, owner))

    def emit(self, level: LogLevel, format: str | None = None, **kwargs: object) -> None:
        """
        Log an event.

        :param level: a ``LogLevel``.
        :param format: the template of the message; it is Thing's own.
        :param kwargs: the fields of the event.
        """
        shown = {
            name: visible(value) if isinstance(value, str) else value
            for name, value in kwargs.items()
        }
        super().emit(level, format, **shown)
