"""The URLs of a registry: what can be written, and what is said of what cannot."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import writeCertificate
from tests.trust.test_keys import DirectoryMixin, write
from thing import ThingError
from thing.daemon.errors import CannotStart
from thing.daemon.tap import Options, makeService
from thing.fleet.redis import (
    Address,
    RedisPresence,
    RegistryURLError,
    connectPresence,
    parseAddress,
)
from thing.fleet.redis.secretfile import SecretFile
from thing.fleet.redis.tls import LONGEST_FILE, TlsFiles


class AddressTests(DirectoryMixin, SynchronousTestCase):
    """What can be written."""

    def test_redis(self) -> None:
        """Host, port and database; what is left out has the usual values."""
        self.assertEqual(
            parseAddress("redis://host"), Address(scheme="redis", hosts=(("host", 6379),))
        )
        address = parseAddress("redis://10.0.0.1:7000/3")
        self.assertEqual((address.hosts, address.db), ((("10.0.0.1", 7000),), 3))
        self.assertEqual(parseAddress("redis://[::1]:7000").hosts, (("::1", 7000),))
        zoned = parseAddress("redis://[fe80::1%eth0]:7000").hosts
        self.assertEqual(zoned, (("fe80::1%eth0", 7000),))
        self.assertEqual(parseAddress("redis://redis_1").hosts, (("redis_1", 6379),))
        self.assertEqual(parseAddress("redis://host/?prefix=fleet:").prefix, "fleet:")

    def test_credentials(self) -> None:
        """User and password, with percent signs for what a URL cannot hold."""
        address = parseAddress("redis://thing:p%40ss%2Fword@host")
        self.assertEqual(address.login.command(), ("AUTH", "thing", "p@ss/word"))
        address = parseAddress("redis://:secret@host")
        self.assertEqual(address.login.command(), ("AUTH", "secret"))

    def test_passwordFile(self) -> None:
        """A password may stand in a file, which is read each time."""
        path = write(self.path("password"), b"one\n")
        address = parseAddress(f"redis://thing@host?passwordFile={path}")
        self.assertEqual(address.login.command(), ("AUTH", "thing", "one"))
        write(path, b"\xef\xbb\xbftwo\r\n")
        self.assertEqual(address.login.command(), ("AUTH", "thing", "two"))
        self.assertTrue(os.path.isabs(address.login.passwordFile.path))

    def test_passwordFileGivenUp(self) -> None:
        """Who has given up its rights goes on with the password that was read before."""
        path = write(self.path("password"), b"one\n")
        address = parseAddress(f"redis://thing@host?passwordFile={path}")
        refused = PermissionError(errno.EACCES, "Permission denied")
        with mock.patch("thing.trust.files._openAtOnce", side_effect=refused):
            self.assertEqual(address.login.command()[-1], "one")
            self.assertRaises(
                RegistryURLError, parseAddress, f"redis://thing@host?passwordFile={path}"
            )
        self.assertNotIn("b'one", repr(address))
        os.remove(path)
        self.assertRaises(RegistryURLError, address.login.command)

    def test_passwordFileTooOpen(self) -> None:
        """A file of a password that others may read is refused, as all files of secrets are."""
        path = write(self.path("password"), b"hush\n")
        url = f"redis://thing@host?passwordFile={path}"
        address = parseAddress(url)
        for mode in 0o644, 0o640, 0o602, 0o666:
            write(path, b"hush\n", mode)
            for read in address.login.command, lambda: parseAddress(url):
                with self.assertRaises(RegistryURLError) as caught:
                    read()
                message = str(caught.exception)
                self.assertIn(f"{path}: permissions {mode:04o} are too open", message)
                self.assertNotIn("hush", message)

    def test_strangePasswordFiles(self) -> None:
        """A file that is none, too long or not text is refused, and nobody waits for it."""
        os.mkfifo(self.path("fifo"), 0o600)
        write(self.path("long"), b"x" * 4097)
        write(self.path("binary"), b"hush\xff")
        for name, why in (
            ("fifo", "not a regular file"),
            ("long", "longer than 4096 bytes"),
            ("binary", "it is not text"),
        ):
            with self.assertRaisesRegex(RegistryURLError, why) as caught:
                parseAddress(f"redis://thing@host?passwordFile={self.path(name)}")
            self.assertNotIn("hush", str(caught.exception))

    def test_unix(self) -> None:
        """A socket's path."""
        address = parseAddress("unix:///run/redis%20one.sock?db=2&user=u&password=p")
        self.assertEqual(
            (address.path, address.db, address.login.command()),
            ("/run/redis one.sock", 2, ("AUTH", "u", "p")),
        )

    def test_sentinel(self) -> None:
        """Sentinels, the service, and the database."""
        address = parseAddress("redis+sentinel://one,two:7000,[::1]:7001/main/4")
        self.assertEqual(address.hosts, (("one", 26379), ("two", 7000), ("::1", 7001)))
        self.assertEqual((address.service, address.db), ("main", 4))
        self.assertEqual((address.sentinelLogin.command(), address.tls), ((), False))

    def test_sentinelLogin(self) -> None:
        """What Sentinels want to know is another password than the registry's."""
        url = "redis+sentinel://thing:one@host/main?sentinelPassword=two"
        address = parseAddress(url)
        self.assertEqual(address.login.command(), ("AUTH", "thing", "one"))
        self.assertEqual(address.sentinelLogin.command(), ("AUTH", "two"))
        path = write(self.path("password"), b"three\n", mode=0o600)
        url = f"rediss+sentinel://host/main?sentinelUser=me&sentinelPasswordFile={path}"
        address = parseAddress(url)
        self.assertEqual(address.login.command(), ())
        self.assertEqual(address.sentinelLogin.command(), ("AUTH", "me", "three"))
        self.assertTrue(address.tls)

    def test_tls(self) -> None:
        """A file of authorities, one of this node's certificate, and perhaps one of its key."""
        path = writeCertificate(self.path("ca.pem"), "redis.example")
        os.chmod(path, 0o600)
        for scheme in ("rediss://host", "rediss+sentinel://host/main"):
            files = parseAddress(f"{scheme}?ca={path}&cert={path}").files
            absolute = os.path.abspath(path)
            key = SecretFile(absolute, LONGEST_FILE)
            self.assertEqual(files, TlsFiles(absolute, absolute, key))
            parseAddress(f"{scheme}?cert={path}&key={path}")
            paths = parseAddress(f"{scheme}?ca={path}&cert={path}&passwordFile={path}").paths
            self.assertEqual(paths, [absolute] * 4)

    def test_tlsFilesAreWrong(self) -> None:
        """A key that others may read, or of another certificate, is refused in one line."""
        one, other = (
            writeCertificate(self.path(name), "redis.example") for name in ("one.pem", "other.pem")
        )
        empty = write(self.path("empty"), b"", mode=0o600)
        os.chmod(one, 0o644)
        os.chmod(other, 0o600)
        with open(one) as file:
            sealed = write(
                self.path("sealed"),
                load_pem_private_key(file.read().encode(), None).private_bytes(
                    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hush")
                ),
                mode=0o600,
            )
        for choices, said in (
            (f"cert={one}", "one.pem"),
            (f"cert={one}&key={other}", "not the key of the one in"),
            (f"cert={one}&key={empty}", "no private key"),
            (f"cert={one}&key={sealed}", "encrypted"),
            (f"cert={empty}", "no certificate"),
            (f"cert={one}&key=/nowhere", "No such file"),
            (f"key={other}", "key needs cert"),
        ):
            error = self.assertRaises(RegistryURLError, parseAddress, f"rediss://host?{choices}")
            self.assertIn(said, str(error))
            self.assertNotIn("\n", str(error))

    def test_noSecretIsShown(self) -> None:
        """Neither the text nor the representation holds a password."""
        for url in (
            "redis://user:hush@host",
            "unix:///s?password=hush",
            "redis+sentinel://host/main?sentinelPassword=hush",
        ):
            address = parseAddress(url)
            self.assertNotIn("hush", f"{address} {address!r}")
        self.assertEqual(str(parseAddress("redis://u:hush@[::1]:1/2")), "redis://[::1]:1/2")

    def test_wrong(self) -> None:
        """What is wrong is said in one line, and no password in it."""
        empty = write(self.path("empty"), b"")
        for url, said in (
            ("http://host", "must begin with"),
            ("redis://", "host"),
            ("redis://:hush@", "host"),
            ("redis://host:0", "host"),
            ("redis://hush..hush/@host", "the name of none"),
            (f"redis://{'x' * 64}", "the name of none"),
            ("redis://host:99999", "host"),
            ("redis://host:port", "host"),
            ("redis://one,two", "host"),
            ("redis://host/one", "number"),
            ("redis://host/1/2", "too many"),
            ("redis://host#1", "#"),
            ("redis://host?db=1", "'db' is not known"),
            ("redis://host?ca=x", "'ca' is not known"),
            ("redis://host?hush", "name=value"),
            ("redis://host?prefix=a&prefix=b", "twice"),
            ("redis://host?prefix=", "empty"),
            ("redis://host?prefix=a%20b", "prefix"),
            ("redis://user@host", "needs a password"),
            ("redis://:hush@host?passwordFile=/x", "exclude"),
            ("redis://host?passwordFile=/nowhere", "No such file"),
            ("rediss://host?ca=/nowhere", "No such file"),
            (f"rediss://host?ca={empty}", "no certificate"),
            ("unix://host/path", "absolute path"),
            ("unix://u:hush@/path", "behind ?"),
            ("unix:", "absolute path"),
            ("unix:///path?db=-1", "number"),
            ("redis+sentinel://one,two", "service"),
            ("redis+sentinel://one,,two/main", "host"),
            ("redis+sentinel://one/main/x", "number"),
            ("redis+sentinel://one/main?sentinelUser=me", "needs a password"),
            ("redis+sentinel://one/main?sentinelPasswordFile=/nowhere", "No such file"),
            (
                "redis+sentinel://one/main?sentinelPassword=hush&sentinelPasswordFile=/x",
                "exclude",
            ),
            ("redis+sentinel://one/main?cert=x", "'cert' is not known"),
            ("rediss://host?sentinelPassword=hush", "'sentinelPassword' is not known"),
            ("redis+sentinel://" + ",".join(["one"] * 17) + "/main", "16"),
            ("redis://[::1", "URL"),
        ):
            error = self.assertRaises(RegistryURLError, parseAddress, url)
            self.assertIn(said, str(error), url)
            self.assertNotIn("hush", str(error))
            self.assertNotIn("\n", str(error))

    def test_libraryIsMissing(self) -> None:
        """Without the client library it is said in one line how to get it."""
        with mock.patch.dict(sys.modules, {"txredisapi": None}):
            error = self.assertRaises(
                ThingError, connectPresence, None, "redis://host", None, node="node"
            )
        self.assertEqual(
            str(error),
            "a registry in Redis needs txredisapi: pip install 'txthing[redis]'",
        )


class OptionTests(DirectoryMixin, SynchronousTestCase):
    """``twistd thing --presence``."""

    def make(self, url: str) -> Any:
        """The service that the option makes."""
        options = Options()
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        with mock.patch.dict(os.environ, {"THING_HOME": self.path("home")}):
            options.parseOptions(["--anyone", "--presence", url, "--node", "north"])
            return makeService(options)

    def test_registry(self) -> None:
        """A registry's URL makes a presence that starts and stops with the server."""
        presence = self.make("redis://user:hush@redis.example/2")._companions[0]
        self.assertIsInstance(presence, RedisPresence)
        self.assertEqual((presence.node, presence.registry), ("north", "away"))

    def test_wrong(self) -> None:
        """What is wrong with it is one line, without the password."""
        error = self.assertRaises(CannotStart, self.make, "redis://user:hush@redis.example/x")
        self.assertEqual(str(error), "twistd thing: --presence: the database must be a number")
        error = self.assertRaises(CannotStart, self.make, "mongodb://:hush@redis.example")
        self.assertNotIn("hush", str(error))
