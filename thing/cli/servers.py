"""Which server a command believes, and what the user reads about that, as ssh would say it."""

from __future__ import annotations

import os

import click

from thing import CredentialError, Identity, KnownServers, PinnedServers
from thing.cli.exits import complain
from thing.cli.options import ClientOptions
from thing.home import makeHome
from thing.trust.files import createFile


def authorizerOf(options: ClientOptions) -> PinnedServers | KnownServers:
    """
    Make the authorizer that the user's options ask for.

    The default file is created, empty, if it is not there.

    :param options: what the user chose.
    :return: the authorizer.
    :raises click.UsageError: if a fingerprint is none.
    :raises CredentialError: if the file cannot be read or understood.
    """
    if options.serverKeys:
        try:
            return PinnedServers(options.serverKeys)
        except CredentialError as error:
            raise click.UsageError(str(error)) from None
    assert options.target.server is not None, "checked with the options"
    path = options.knownHosts
    if path is None:
        path = os.path.join(makeHome(), "known_servers")
        if not os.path.lexists(path):
            createFile(path, b"", 0o600)

    def stored(identity: Identity) -> None:
        complain(f"The authenticity of host '{identity.name}' can't be established.")
        complain(f"ED25519 key fingerprint is {identity.fingerprint}.")
        complain(f"Permanently added '{identity.name}' (ED25519) to {path}.")

    host, port = options.target.server
    return KnownServers(path, host, port, options.trustOnFirstUse, stored)


def complainOfKey(detail: str, options: ClientOptions) -> None:
    """
    Tell the user why the server's key was refused, and how to go on.

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
    if not options.serverKeys:
        complain("to go on, add that line, or give --trust-on-first-use to have it added")
