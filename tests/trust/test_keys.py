"""Our own key and public keys, in files that ssh-keygen writes and reads, and in damaged ones."""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import shutil
import stat
import subprocess
import sys
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from tests.trust.power import PowerLost, outages
from thing.core.credentials import verifyCredential
from thing.errors import CredentialError
from thing.identity import CredentialKind, Identity
from thing.trust import (
    IdentityKey,
    formatPublicKey,
    loadPublicKey,
    parseFingerprint,
    parsePublicKey,
)
from thing.trust.files import createFile
from thing.trust.keys import readPassphrase

NO_SSH_KEYGEN = None if shutil.which("ssh-keygen") else "ssh-keygen is not installed"
HEADER = b"-----BEGIN OPENSSH PRIVATE KEY-----\n"
FOOTER = b"-----END OPENSSH PRIVATE KEY-----\n"


def sshKeygen(*arguments: str) -> str:
    """Run ssh-keygen and return what it prints."""
    done = subprocess.run(
        ["ssh-keygen", *arguments], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def write(path: str, content: bytes, mode: int = 0o600) -> str:
    """Write a file of that mode and return its path."""
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)
    return path


def read(path: str) -> bytes:
    """What a file holds."""
    with open(path, "rb") as file:
        return file.read()


def modeOf(path: str) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(os.stat(path).st_mode)


def runTogether(code: str, argumentLists: list[list[str]]) -> list[list[str]]:
    """Run Python code in processes that go on at the same moment; return the lines of each."""
    code = "import sys\nprint('ready', flush=True)\nsys.stdin.readline()\n" + code
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for arguments in argumentLists
    ]
    try:
        for process in processes:
            process.stdout.readline()
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        return [process.communicate(timeout=60)[0].splitlines() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


class DirectoryMixin:
    """A test with a directory of its own, and a way to see a failure's message."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)

    def path(self, name: str = "id_ed25519") -> str:
        return os.path.join(self.directory, name)

    def refusal(self, function, *arguments, **keywords) -> str:
        """The one line that the call fails with."""
        message = str(self.assertRaises(CredentialError, function, *arguments, **keywords))
        self.assertEqual(len(message.splitlines()), 1)
        return message


class SSHKeygenTests(DirectoryMixin, TestCase):
    """Files that are exchanged with the real ssh-keygen."""

    skip = NO_SSH_KEYGEN

    def test_loadsPlain(self) -> None:
        """A key of ssh-keygen is loaded, and has the fingerprint that ssh-keygen prints."""
        sshKeygen("-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f", self.path())
        key = IdentityKey.load(self.path())
        self.assertIn(f" {key.fingerprint} ", sshKeygen("-lf", self.path()))
        self.assertEqual(key.publicLine("a comment") + "\n", read(self.path() + ".pub").decode())
        self.assertEqual(loadPublicKey(self.path() + ".pub"), key.publicKey)

    def test_loadsEncrypted(self) -> None:
        """An encrypted key of ssh-keygen is loaded with its passphrase, by any cipher of ssh."""
        for cipher in "aes256-ctr", "aes256-cbc", "aes256-gcm@openssh.com":
            path = self.path(cipher)
            sshKeygen("-q", "-t", "ed25519", "-N", "open sesame", "-Z", cipher, "-f", path)
            key = IdentityKey.load(path, b"open sesame")
            self.assertEqual(key.publicKey, loadPublicKey(path + ".pub"))
            self.assertIn("the passphrase is wrong", self.refusal(IdentityKey.load, path, b"x"))

    def test_readsOurs(self) -> None:
        """ssh-keygen reads what is saved, and knows it by the same fingerprint."""
        key = IdentityKey.generate()
        key.save(self.path(), comment="thing-1")
        self.assertEqual(sshKeygen("-y", "-f", self.path()).strip(), key.publicLine())
        self.assertEqual(
            sshKeygen("-lf", self.path() + ".pub").strip(),
            f"256 {key.fingerprint} thing-1 (ED25519)",
        )

    def test_readsOursEncrypted(self) -> None:
        """ssh-keygen reads an encrypted key that is saved, given the passphrase."""
        key = IdentityKey.generate()
        key.save(self.path(), b"open sesame")
        printed = sshKeygen("-y", "-P", "open sesame", "-f", self.path())
        self.assertEqual(printed.strip(), key.publicLine())

    def test_otherTypes(self) -> None:
        """A key of another type is refused as such."""
        sshKeygen("-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", self.path("rsa"))
        sshKeygen("-q", "-t", "ecdsa", "-N", "", "-f", self.path("ecdsa"))
        for name in "rsa", "ecdsa":
            self.assertIn("another type", self.refusal(IdentityKey.load, self.path(name)))
            message = self.refusal(loadPublicKey, self.path(name) + ".pub")
            self.assertIn("only ssh-ed25519 is understood", message)
            self.assertIn(f"{self.path(name)}.pub:1: ", message)

    def test_pem(self) -> None:
        """A key in a format that is not OpenSSH's own is refused as such."""
        sshKeygen("-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", self.path())
        self.assertIn("not an OpenSSH private key", self.refusal(IdentityKey.load, self.path()))


class IdentityKeyTests(DirectoryMixin, TestCase):
    """The key itself, and the ways in which its file cannot be used."""

    def test_proves(self) -> None:
        """What the key signs is accepted as proof of its identity."""
        key = IdentityKey.generate()
        proved = verifyCredential(key.kind, key.data, key.scheme, key.sign(b"hello"), b"hello")
        self.assertEqual(proved, Identity(CredentialKind.ED25519, key.publicKey))
        self.assertEqual(proved.fingerprint, key.fingerprint)

    def test_repr(self) -> None:
        """The repr shows the fingerprint and nothing else."""
        key = IdentityKey.generate()
        self.assertEqual(repr(key), f"<IdentityKey {key.fingerprint}>")

    def test_roundTrip(self) -> None:
        """What is saved is loaded again, plain or encrypted."""
        for passphrase in None, b"open sesame", b"\0" * 1023:
            key = IdentityKey.generate()
            path = self.mktemp()
            key.save(path, passphrase)
            self.assertEqual(IdentityKey.load(path, passphrase).publicKey, key.publicKey)

    def test_missing(self) -> None:
        """A file that is not there is said to be missing, by its path."""
        self.assertEqual(
            self.refusal(IdentityKey.load, self.path()),
            f"cannot read {self.path()}: No such file or directory",
        )

    def test_notRegular(self) -> None:
        """A directory, a FIFO and an impossible path are refused at once."""
        os.mkfifo(self.path("fifo"), 0o600)
        self.assertIn("not a regular file", self.refusal(IdentityKey.load, self.path("fifo")))
        self.assertIn("directory", self.refusal(IdentityKey.load, self.directory))
        self.assertIn("null byte", self.refusal(IdentityKey.load, "a\0b"))

    def test_tooOpen(self) -> None:
        """A file of ours that anybody else may access is refused, with what to do."""
        IdentityKey.generate().save(self.path())
        for mode in 0o644, 0o640, 0o604, 0o610, 0o601:
            os.chmod(self.path(), mode)
            self.assertEqual(
                self.refusal(IdentityKey.load, self.path()),
                f"{self.path()}: permissions {mode:04o} are too open: chmod 600 {self.path()}",
            )
        os.chmod(self.path(), 0o400)
        IdentityKey.load(self.path())

    def test_tooOpenOfAnother(self) -> None:
        """As with ssh, the permissions of another user's file are that user's affair."""
        key = IdentityKey.generate()
        key.save(self.path())
        os.chmod(self.path(), 0o644)
        with mock.patch("os.getuid", return_value=os.getuid() + 1):
            self.assertEqual(IdentityKey.load(self.path()).publicKey, key.publicKey)

    def test_unreadable(self) -> None:
        """A file that we may not read is refused with the system's reason."""
        if os.getuid() == 0:
            self.skipTest("root may read everything")
        IdentityKey.generate().save(self.path())
        os.chmod(self.path(), 0)
        self.assertIn("Permission denied", self.refusal(IdentityKey.load, self.path()))

    def test_tooLong(self) -> None:
        """A file that is too long for a key is refused, however it begins."""
        IdentityKey.generate().save(self.path())
        with open(self.path(), "ab") as file:
            file.write(b"\n" * 65536)
        self.assertIn("longer than 65536 bytes", self.refusal(IdentityKey.load, self.path()))

    def test_notAKey(self) -> None:
        """An empty file, a text and a public key are refused, each for what it is."""
        for content, reason in (
            (b"", "is empty"),
            (b"hello\n", "is not an OpenSSH private key"),
            (HEADER + b"AAAA\n" + FOOTER, "is damaged"),
            (IdentityKey.generate().publicLine().encode(), "is a public key"),
        ):
            path = write(self.path(), content)
            self.assertIn(f"{path} {reason}", self.refusal(IdentityKey.load, path))

    def test_passphraseFile(self) -> None:
        """It is the first line of a file, without what an editor put before it or behind."""
        for content in (b"open sesame", b"\xef\xbb\xbfopen sesame\r\nno more\n"):
            path = write(self.path("passphrase"), content, 0o600)
            self.assertEqual(readPassphrase(path), b"open sesame")

    def test_passphrases(self) -> None:
        """A passphrase that is missing, wrong or not needed is told apart."""
        IdentityKey.generate().save(self.path("plain"))
        IdentityKey.generate().save(self.path("encrypted"), b"open sesame")
        for name, passphrase, reason in (
            ("encrypted", None, "is encrypted: a passphrase is needed"),
            ("encrypted", b"", "is encrypted: a passphrase is needed"),
            ("encrypted", b"hunter2", "the passphrase is wrong or the file is damaged"),
            ("plain", b"hunter2", "is not encrypted, but a passphrase was given"),
        ):
            message = self.refusal(IdentityKey.load, self.path(name), passphrase)
            self.assertIn(reason, message)
            self.assertNotIn("hunter2", message)

    def test_noSecretsInChain(self) -> None:
        """No failure of decoding is chained, since it may hold the key or the passphrase."""
        IdentityKey.generate().save(self.path(), b"open sesame")
        for passphrase in None, b"hunter2":
            error = self.assertRaises(CredentialError, IdentityKey.load, self.path(), passphrase)
            self.assertIsNone(error.__cause__)
            self.assertIsNone(error.__context__)

    @settings(deadline=None)
    @given(st.binary(max_size=300))
    def test_anyBytes(self, content: bytes) -> None:
        """Any bytes are refused by a CredentialError, as a private key and as a public one."""
        path = write(self.path(), content)
        self.refusal(IdentityKey.load, path)
        self.refusal(loadPublicKey, path)

    @settings(deadline=None)
    @given(st.data())
    def test_anyDamage(self, data: st.DataObject) -> None:
        """A damaged key file is refused by a CredentialError, or its key is another key."""
        plain = IdentityKey.generate()._encode(None)
        blob = base64.b64decode(plain[len(HEADER) : -len(FOOTER)])
        start = data.draw(st.integers(0, len(blob)))
        end = data.draw(st.integers(start, len(blob)))
        blob = blob[:start] + data.draw(st.binary(max_size=40)) + blob[end:]
        path = write(self.path(), HEADER + base64.encodebytes(blob) + FOOTER)
        try:
            key = IdentityKey.load(path)
        except CredentialError as error:
            self.assertTrue(str(error).startswith(path))
        else:
            self.assertEqual(len(key.publicKey), 32)


class SaveTests(DirectoryMixin, TestCase):
    """What save leaves behind, and what it never does."""

    def test_files(self) -> None:
        """The private file is for its owner alone, the public one for all; nothing else is left."""
        old = os.umask(0)
        try:
            IdentityKey.generate().save(self.path())
        finally:
            os.umask(old)
        self.assertEqual(modeOf(self.path()), 0o600)
        self.assertEqual(modeOf(self.path() + ".pub"), 0o644)
        self.assertEqual(sorted(os.listdir(self.directory)), ["id_ed25519", "id_ed25519.pub"])

    def test_neverOpen(self) -> None:
        """The file has mode 0600 already while it has another name, before any key is in it."""
        modes = []
        chmod = os.fchmod

        def spy(descriptor: int, mode: int) -> None:
            modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
            chmod(descriptor, mode)

        self.patch(os, "fchmod", spy)
        old = os.umask(0)
        try:
            IdentityKey.generate().save(self.path())
        finally:
            os.umask(old)
        self.assertEqual(modes, [0o600, 0o600])

    def test_neverOverwrites(self) -> None:
        """A file that exists, a dangling link included, is refused and stays as it is."""
        write(self.path(), b"precious")
        self.assertIn("is not overwritten", self.refusal(IdentityKey.generate().save, self.path()))
        self.assertEqual(read(self.path()), b"precious")
        os.symlink("nowhere", self.path("link"))
        self.refusal(IdentityKey.generate().save, self.path("link"))
        self.assertEqual(os.readlink(self.path("link")), "nowhere")
        self.assertEqual(sorted(os.listdir(self.directory)), ["id_ed25519", "link"])

    def test_neverOverwritesPublic(self) -> None:
        """A public key without its private key stays, and nothing is written beside it."""
        write(self.path() + ".pub", b"precious")
        for function in IdentityKey.generate().save, IdentityKey.loadOrCreate:
            self.assertIn("move it away", self.refusal(function, self.path()))
        self.assertEqual(os.listdir(self.directory), ["id_ed25519.pub"])
        self.assertEqual(read(self.path() + ".pub"), b"precious")

    def test_diskFull(self) -> None:
        """A failure to write leaves no file at all."""
        self.patch(os, "fsync", mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left")))
        self.assertEqual(
            self.refusal(IdentityKey.generate().save, self.path()),
            f"cannot write {self.path()}: No space left",
        )
        self.assertEqual(os.listdir(self.directory), [])

    def test_noDirectory(self) -> None:
        """A directory that is missing is reported."""
        path = self.path("missing/key")
        self.assertIn("No such file", self.refusal(IdentityKey.generate().save, path))

    def test_badArguments(self) -> None:
        """An unusable passphrase or comment is refused before anything is written."""
        key = IdentityKey.generate()
        for passphrase in b"", b"secret" * 200:
            message = self.refusal(key.save, self.path(), passphrase)
            self.assertEqual(message, "a passphrase has 1 to 1023 bytes")
        self.refusal(key.save, self.path(), comment="two\nlines")
        self.refusal(key.save, self.path(), comment="x" * 256)
        self.assertEqual(os.listdir(self.directory), [])


class LoadOrCreateTests(DirectoryMixin, TestCase):
    """A key that is made when it is first needed."""

    def test_createsOnce(self) -> None:
        """The first call makes the key, the second reads it."""
        first = IdentityKey.loadOrCreate(self.path(), "me@here")
        self.assertEqual(IdentityKey.loadOrCreate(self.path()).publicKey, first.publicKey)
        self.assertEqual(read(self.path() + ".pub").decode(), first.publicLine("me@here") + "\n")
        self.assertEqual(loadPublicKey(self.path() + ".pub"), first.publicKey)

    def test_lostRace(self) -> None:
        """If another process creates the file in between, its key is used and ours forgotten."""
        theirs, ours = IdentityKey.generate(), IdentityKey.generate()

        def generate() -> IdentityKey:
            theirs.save(self.path())
            return ours

        self.patch(IdentityKey, "generate", generate)
        self.assertEqual(IdentityKey.loadOrCreate(self.path()).publicKey, theirs.publicKey)

    def test_race(self) -> None:
        """Of processes that start at once, all use one key, which is the one in the files."""
        paths = [self.path(str(number)) for number in range(10)]
        code = (
            "from thing.trust import IdentityKey\n"
            "for path in sys.argv[1:]: print(IdentityKey.loadOrCreate(path).fingerprint)\n"
        )
        answers = runTogether(code, [paths] * 4)
        stored = [IdentityKey.load(path) for path in paths]
        self.assertEqual(answers, [[key.fingerprint for key in stored]] * 4)
        self.assertEqual(
            [loadPublicKey(path + ".pub") for path in paths], [key.publicKey for key in stored]
        )

    def test_publicMissing(self) -> None:
        """A key that was left without its public file gets it when it is next read."""
        key = IdentityKey.generate()
        key.save(self.path())
        os.unlink(self.path() + ".pub")
        IdentityKey.loadOrCreate(self.path(), "me@here")
        self.assertEqual(read(self.path() + ".pub").decode(), key.publicLine("me@here") + "\n")
        self.assertEqual(modeOf(self.path() + ".pub"), 0o644)

    def test_publicCannotBeWritten(self) -> None:
        """Where that cannot be written the key is used all the same."""
        key = IdentityKey.generate()
        key.save(self.path())
        os.unlink(self.path() + ".pub")
        self.patch(os, "fsync", mock.Mock(side_effect=OSError(errno.EROFS, "Read-only")))
        self.assertEqual(IdentityKey.loadOrCreate(self.path()).publicKey, key.publicKey)
        self.assertEqual(os.listdir(self.directory), ["id_ed25519"])

    def test_publicOfAnotherFirst(self) -> None:
        """Whoever reads the key before its maker has written the public file writes it."""
        link = os.link

        def linked(*arguments: object, **others: object) -> None:
            link(*arguments, **others)
            self.patch(os, "link", link)
            IdentityKey.loadOrCreate(self.path(), "another")

        self.patch(os, "link", linked)
        key = IdentityKey.loadOrCreate(self.path(), "the maker")
        self.assertEqual(read(self.path() + ".pub").decode(), key.publicLine("another") + "\n")

    def test_killed(self) -> None:
        """After a kill at any moment the next call has both files, and nothing else is left."""
        self.killed()

    def test_killedWithoutLinks(self) -> None:
        """So it is on a file system that has no hard links, where files have other names before."""
        self.patch(os, "link", mock.Mock(side_effect=PermissionError(errno.EPERM, "no links")))
        self.killed()

    def test_killedAsTheSecond(self) -> None:
        """What a process has left that made a key while another did is no more beside that."""
        self.patch(os, "link", mock.Mock(side_effect=PermissionError(errno.EPERM, "no links")))
        key = IdentityKey.loadOrCreate(self.path())
        left = set()
        for power in outages():
            with power, contextlib.suppress(PowerLost):
                createFile(self.path(), b"another key", 0o600)
            left.update(os.listdir(self.directory))
            self.assertEqual(IdentityKey.loadOrCreate(self.path()).publicKey, key.publicKey)
            self.assertEqual(sorted(os.listdir(self.directory)), ["id_ed25519", "id_ed25519.pub"])
        self.assertGreater(len(left), 2)

    def killed(self) -> None:
        for power in outages():
            with power, contextlib.suppress(PowerLost):
                IdentityKey.loadOrCreate(self.path())
            key = IdentityKey.loadOrCreate(self.path())
            self.assertEqual(loadPublicKey(self.path() + ".pub"), key.publicKey)
            self.assertEqual(sorted(os.listdir(self.directory)), ["id_ed25519", "id_ed25519.pub"])
            os.unlink(self.path())
            os.unlink(self.path() + ".pub")
        self.assertGreater(power.done, 8)

    def test_damagedIsNotReplaced(self) -> None:
        """A file that cannot be used is an error, never a reason to make another key."""
        write(self.path(), b"")
        self.assertIn("is empty", self.refusal(IdentityKey.loadOrCreate, self.path()))
        self.assertEqual(read(self.path()), b"")


class SavePublicTests(DirectoryMixin, TestCase):
    """The public file alone."""

    def test_there(self) -> None:
        """One that is there stays as it is, with its comment."""
        key = IdentityKey.generate()
        key.save(self.path(), comment="first")
        key.savePublic(self.path(), "second")
        self.assertEqual(read(self.path() + ".pub").decode(), key.publicLine("first") + "\n")

    def test_anothers(self) -> None:
        """The one of another key is an error, and stays, too."""
        IdentityKey.generate().save(self.path())
        before = read(self.path() + ".pub")
        message = self.refusal(IdentityKey.generate().savePublic, self.path())
        self.assertIn("is not that of", message)
        self.assertEqual(read(self.path() + ".pub"), before)


class PublicKeyTests(DirectoryMixin, TestCase):
    """Public keys and fingerprints as text."""

    def test_roundTrip(self) -> None:
        """A key is read back from its line, with or without a comment."""
        key = IdentityKey.generate().publicKey
        for comment in "", "sensor-7", "several words, ümlauts":
            self.assertEqual(parsePublicKey(formatPublicKey(key, comment)), key)
        self.assertEqual(parsePublicKey(f" {formatPublicKey(key)}\r\n"), key)

    def test_damaged(self) -> None:
        """A line with a part missing, changed or added is refused."""
        line = IdentityKey.generate().publicLine()
        for text in (
            "ssh-ed25519",
            line[:-1],
            line[:-4],
            line + "AAAA",
            line + "=",
            line.replace("AAAA", "A!AA", 1),
            line.replace("AAAAC3", "AAAAC2"),
            line + " comment\nssh-ed25519",
            line.replace("ssh-ed25519 ", "ssh-ed25519 ssh-ed25519 "),
            line.replace("ssh-ed25519 ", "ssh-ed25519\u00a0"),
        ):
            self.refusal(parsePublicKey, text)

    def test_quotesNothing(self) -> None:
        """A secret in the wrong place is not quoted in the error."""
        pem = IdentityKey.generate()._encode(None)
        self.assertNotIn("b3BlbnNzaC1rZXk", self.refusal(parsePublicKey, pem.decode()))
        self.assertNotIn("b3Blb", self.refusal(loadPublicKey, write(self.path(), pem)))
        self.assertNotIn("hunter2", self.refusal(parsePublicKey, "hunter2"))

    def test_file(self) -> None:
        """Blank lines and comments in a public key file are skipped; two keys are refused."""
        key = IdentityKey.generate()
        line = key.publicLine("x").encode()
        path = write(self.path(), b"# mine\n\n" + line + b"\n", 0o644)
        self.assertEqual(loadPublicKey(path), key.publicKey)
        write(path, line + b"\n" + line)
        self.assertIn("not 2 lines", self.refusal(loadPublicKey, path))

    @settings(deadline=None)
    @given(
        st.text() | st.text("ssh-ed25519 AC3NzaLI+/=\t", max_size=100).map("ssh-ed25519 ".__add__)
    )
    def test_anyText(self, text: str) -> None:
        """Any text is a key of 32 bytes or a CredentialError; likewise as a fingerprint."""
        with contextlib.suppress(CredentialError):
            self.assertEqual(len(parsePublicKey(text)), 32)
        self.refusal(parseFingerprint, text)

    def test_fingerprint(self) -> None:
        """A fingerprint is accepted as ssh prints it, and with its padding or space around."""
        text = IdentityKey.generate().fingerprint
        for variant in text, f" {text}\n", text + "=":
            self.assertEqual(parseFingerprint(variant), text)

    def test_badFingerprint(self) -> None:
        """Text that can be no key's fingerprint is refused: it would match nobody."""
        text = IdentityKey.generate().fingerprint
        for wrong in (
            "",
            text[7:],
            text[:-1],
            text + "A",
            text[:-1] + "B",
            text.replace("SHA256", "sha256"),
            "MD5:" + ":".join(["00"] * 16),
            "256 " + text,
        ):
            self.assertIn("not a fingerprint", self.refusal(parseFingerprint, wrong))
