"""A text as a QR code, for devices that have a camera; how it is drawn is up to who shows it."""

from __future__ import annotations

MAX_TEXT = 1000
"""The longest text, characters: of more the code has so many modules that few cameras read it."""


def codeRows(text: str) -> list[str]:
    """
    Make the QR code of a text.

    :param text: the text, ASCII.
    :return: its rows from the top, without a margin, a ``1`` for each dark module and a ``0`` for
        each light one; none if the text is longer than :data:`MAX_TEXT`.
    """
    import segno  # It takes a while, and few servers are ever asked.

    if len(text) > MAX_TEXT:
        return []
    code = segno.make(text, error="l", boost_error=False, micro=False)
    return ["".join(map(str, row)) for row in code.matrix]
