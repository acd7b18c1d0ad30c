"""A file with a secret: as it is now, or as it was when this process could still read it."""

from __future__ import annotations

from dataclasses import dataclass, field

from thing.errors import CredentialError
from thing.trust.files import readFile


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file that is read anew for each connection, so that it can be changed."""

    path: str
    limit: int
    """How many octets it may have."""
    _last: list[bytes] = field(default_factory=list, repr=False, compare=False)
    """What it held when it was last read, if it was."""

    def read(self) -> bytes:
        """
        Read it.

        A process that has given up its rights since, and may not read it any more, goes on with
        what it has read.

        :return: its content.
        :raises CredentialError: if it cannot be read, or if others may read it.
        """
        try:
            self._last[:] = [readFile(self.path, self.limit, private=True)]
        except CredentialError as error:
            if not self._last or not isinstance(error.__cause__, PermissionError):
                raise
        return self._last[0]
