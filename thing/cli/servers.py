"""
Which server a command believes, and what the user reads about that, as ssh would say it.

The files that the options name are read here; whether they go together was checked before.
"""

from __future__ import annotations

import os
from contextlib import suppress

from thing.cli.exits import complain
from thing.cli.keys import askPassphrase
from thing.cli.options import ClientOptions
from thing.identity import Identity
from thing.trust import ClientChoice
from thing.trust.files import FileLocked, lockedFile
from thing.trust.home import makeHome
from thing.trust.parts import Ask


def choiceOf(options: ClientOptions, ask: Ask | None = askPassphrase) -> ClientChoice:
    """
    Read the keys, and what tells which server to believe.

    The default file of known servers is created, empty, if it is not there.

    :param options: what the user chose.
    :param ask: asked for the passphrase of a key; None if nobody can be.
    :return: what it comes to.
    :raises CredentialError: if a file cannot be read or understood.
    """
    trust = options.trustWithDefaults
    if not options.decided and not os.path.lexists(trust["knownServers"]):
        makeHome()
        with suppress(FileLocked), lockedFile(trust["knownServers"]):
            pass  # It is there now.
    choice = ClientChoice.read(trust, options.target.server, ask)
    if choice.knownServers is not None:
        path = choice.knownServers.path

        def stored(identity: Identity) -> None:
            complain(f"The authenticity of host '{identity.name}' can't be established.")
            complain(f"ED25519 key fingerprint is {identity.fingerprint}.")
            complain(f"Permanently added '{identity.name}' (ED25519) to {path}.")

        choice.knownServers.onFirstUse = stored
    return choice


def complainOfKey(detail: str, options: ClientOptions) -> None:
    """
    Tell the user why the server was refused, and how to go on.

    :param detail: the authorizer's words.
    :param options: what the user chose.
    """
    headline, _, rest = detail.partition(": ")
    if headline.startswith("THE KEY OF "):  # Changed or revoked: somebody may be listening.
        text = f"@ WARNING: {headline}! @"
        for line in ("@" * len(text), text, "@" * len(text), rest):
            complain(line)
        return
    complain(f"the server is not trusted: {detail}")
    decided = {"serverKey", "presharedKey", "authorities", "trustRoots", "firstUse"}
    if not decided & options.trust.keys():
        complain("to go on, add that line, or give --trust-on-first-use to have it added")
