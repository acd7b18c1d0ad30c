"""
Where a user's Thing files are: the key, the servers that are known.

What is in them is read and written elsewhere.
"""

from __future__ import annotations

import os

from thing.errors import CredentialError


def homeDirectory() -> str:
    """
    The per-user directory; it may not exist yet.

    :return: ``$THING_HOME``, else ``$XDG_DATA_HOME/thing``, else
        ``~/.local/share/thing``; an empty variable, or a relative
        ``XDG_DATA_HOME``, counts as unset.
    :raises CredentialError: if the user has no home.
    """
    own = os.environ.get("THING_HOME")
    if own:
        return os.path.abspath(own)
    data = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):
        home = os.path.expanduser("~")
        if not os.path.isabs(home):  # Neither $HOME nor the system's list of users says one.
            raise CredentialError("this user has no home directory; set THING_HOME to another")
        data = os.path.join(home, ".local", "share")
    return os.path.join(data, "thing")


def makeHome() -> str:
    """
    Create the per-user directory if it is not there, for its owner only.

    :return: its path.
    :raises CredentialError: if it cannot be created.
    """
    path = homeDirectory()
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise CredentialError(f"cannot create {path}: {error.strerror}") from None
    return path
