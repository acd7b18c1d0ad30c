"""
``thing keygen`` and ``thing fingerprint``, and how a private key is read.

How a key is made, kept and written is trust's.
"""

from __future__ import annotations

import getpass
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from thing.cli.exits import ANY_COMMAND, guide
from thing.errors import CredentialError, PassphraseNeeded
from thing.text import visible
from thing.trust.home import homeDirectory, makeHome

if TYPE_CHECKING:
    from thing.trust import IdentityKey

FILE = click.Path(dir_okay=False)
"""A file's name; whether it can be used is found out by using it."""


def defaultKeyFile() -> str:
    """
    Find the private key that a user has by default.

    :return: its file, which may not exist.
    :raises CredentialError: if the user has no home.
    """
    return os.path.join(homeDirectory(), "id_ed25519")


def loadKey(path: str, passphraseFile: str | None) -> IdentityKey:
    """
    Read a private key, and ask for its passphrase if it has one.

    :param path: the key's file.
    :param passphraseFile: the file that has the passphrase; None to ask on the terminal.
    :return: the key.
    :raises CredentialError: if a file cannot be used, or nobody can be asked.
    """
    from thing.trust import IdentityKey, readPassphrase

    if passphraseFile is not None:
        return IdentityKey.load(path, readPassphrase(passphraseFile))
    try:
        return IdentityKey.load(path)
    except PassphraseNeeded:
        pass
    return IdentityKey.load(path, askPassphrase(f"Passphrase of {path}"))


def askPassphrase(prompt: str, confirm: bool = False) -> bytes:
    """
    Ask for a passphrase on the terminal, whatever standard input is.

    :param prompt: what to show.
    :param confirm: whether to ask twice.
    :return: the passphrase.
    :raises CredentialError: if there is no terminal.
    """
    try:
        with open("/dev/tty", "rb"):
            pass
    except OSError:
        raise CredentialError(
            f"{prompt}: there is no terminal to ask on; give --passphrase-file"
        ) from None
    answer: str = click.prompt(prompt, hide_input=True, err=True, confirmation_prompt=confirm)
    return answer.encode()


@click.command(epilog=guide("thing keygen", "thing keygen -f my_key -C lamp", codes=ANY_COMMAND))
@click.option(
    "-f",
    "--file",
    "path",
    type=FILE,
    help="The private key's file.  [default: id_ed25519 in the "
    "per-user directory: $THING_HOME, else $XDG_DATA_HOME/thing, else ~/.local/share/thing]",
)
@click.option("-C", "--comment", help="What the public key ends with.  [default: user@host]")
@click.option("-p", "--passphrase", is_flag=True, help="Ask for a passphrase to encrypt it with.")
@click.option(
    "--passphrase-file", "passphraseFile", type=FILE, help="A file whose first line encrypts it."
)
@click.option(
    "--preshared",
    "name",
    metavar="NAME",
    help="Make a pre-shared key of that name instead, in the file preshared_key by default.",
)
def keygen(
    path: str | None,
    comment: str | None,
    passphrase: bool,
    passphraseFile: str | None,
    name: str | None,
) -> None:
    """
    Create an Ed25519 key pair, as ssh-keygen -t ed25519 does.

    The private key goes to FILE, the public one to FILE.pub. No file is
    overwritten; where only FILE is there, FILE.pub is made of it.

    With --preshared, FILE gets one line NAME:KEY, which the client's
    --preshared-key takes; the server has the same line in its --preshared-keys.
    """
    from thing.trust import IdentityKey, readPassphrase

    if name is not None:
        if passphrase or passphraseFile is not None or comment is not None:
            raise click.UsageError("a pre-shared key has neither a comment nor a passphrase")
        _makePresharedKey(name, path)
        return
    if passphrase and passphraseFile is not None:
        raise click.UsageError("--passphrase and --passphrase-file exclude each other")
    if path is None:
        makeHome()
        path = defaultKeyFile()
    if comment is None:
        comment = userAtHost()
    secret = readPassphrase(passphraseFile) if passphraseFile is not None else None
    if passphrase:
        secret = askPassphrase("Passphrase of the new key", confirm=True)
    key = _withoutPublic(path, secret)
    if key is not None:
        key.savePublic(path, comment)
        click.echo(f"Your identification is in {path} already, and is not overwritten")
    else:
        key = IdentityKey.generate()
        key.save(path, secret, comment)
        click.echo(f"Your identification has been saved in {path}")
    click.echo(f"Your public key has been saved in {path}.pub")
    click.echo(f"The key fingerprint is:\n{key.fingerprint} {comment}".rstrip())


def _withoutPublic(path: str, passphrase: bytes | None) -> IdentityKey | None:
    """The key that is there while its public file is not, as after a kill or on a full disk."""
    from thing.trust import IdentityKey

    if os.path.lexists(path) and not os.path.lexists(f"{path}.pub"):
        with suppress(CredentialError):  # Something else is there, or it is encrypted otherwise.
            return IdentityKey.load(path, passphrase)
    return None


def _makePresharedKey(name: str, path: str | None) -> None:
    from thing.trust import PresharedKey
    from thing.trust.files import createFile

    key = PresharedKey.generate(name.encode("utf-8", "surrogateescape"))
    if path is None:
        path = os.path.join(makeHome(), "preshared_key")
    if not createFile(path, f"{key.secretLine()}\n".encode(), 0o600):
        raise CredentialError(f"{path} exists already and is not overwritten")
    click.echo(f"Your pre-shared key {name} has been saved in {path}")


def userAtHost() -> str:
    """:return: the comment that ssh-keygen writes, too."""
    with suppress(KeyError, OSError):  # A user without an entry in the system's list.
        return f"{getpass.getuser()}@{socket.gethostname()}"
    return socket.gethostname()


@click.command(epilog=guide("thing fingerprint server_key", codes=ANY_COMMAND))
@click.argument("path", metavar="FILE", type=FILE)
@click.option(
    "--passphrase-file", "passphraseFile", type=FILE, help="A file whose first line decrypts it."
)
def fingerprint(path: str, passphraseFile: str | None) -> None:
    """
    Print a key's fingerprint, as ssh-keygen -l does.

    FILE is a public key's file or a private key's. Beside a private key,
    FILE.pub is read if it is there, so that no passphrase is needed.
    """
    from thing.identity import fingerprint as fingerprintOf

    found = _publicKey(path) or (os.path.lexists(f"{path}.pub") and _publicKey(f"{path}.pub"))
    key, comment = found or (loadKey(path, passphraseFile).publicKey, "")
    click.echo(f"256 {fingerprintOf(key)} {comment or 'no comment'} (ED25519)")


def _publicKey(path: str) -> tuple[bytes, str] | None:
    """The key and the comment in a public key file; None if it is a private key file."""
    from thing.trust import loadPublicKey
    from thing.trust.files import readFile
    from thing.trust.keys import MAX_KEY_FILE
    from thing.trust.lines import textLines

    content = readFile(path, MAX_KEY_FILE)
    if content.lstrip().startswith(b"-----BEGIN "):
        return None
    key = loadPublicKey(path)
    _, line = next(textLines(path, content))
    comment = "".join(line.split(None, 2)[2:])
    return key, visible(comment)
