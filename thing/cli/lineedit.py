"""
One line that is typed: its text, and where the cursor is.

Nothing here reads a key or draws anything.
"""

from __future__ import annotations


class LineEdit:
    """
    A text and its cursor.

    :ivar text: what was typed so far.
    """

    def __init__(self, most: int, text: str = "") -> None:
        """
        :param most: the longest text, characters.
        :param text: what to begin with; the cursor is behind it.
        """
        self.text = text
        self._most = most
        self._at = len(text)

    @property
    def before(self) -> str:
        """What is before the cursor."""
        return self.text[: self._at]

    @property
    def behind(self) -> str:
        """What is behind it."""
        return self.text[self._at :]

    def press(self, key: str) -> None:
        """
        Do what a key is for; one that is for nothing here does nothing.

        :param key: a character, or the name of a key.
        """
        match key:
            case "left":
                self._at = max(0, self._at - 1)
            case "right":
                self._at = min(len(self.text), self._at + 1)
            case "home" | "\x01":
                self._at = 0
            case "end" | "\x05":
                self._at = len(self.text)
            case "backspace" if self._at:
                self._replace(self.before[:-1], self.behind)
            case "delete":
                self._replace(self.before, self.behind[1:])
            case "\x15":
                self._replace("", self.behind)
            case _ if len(key) == 1 and key.isprintable() and len(self.text) < self._most:
                self._replace(self.before + key, self.behind)

    def _replace(self, before: str, behind: str) -> None:
        self.text, self._at = before + behind, len(before)
