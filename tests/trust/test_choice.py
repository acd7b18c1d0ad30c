"""Trust in plain strings: what they come to, what is wrong in them, and all kinds at work."""

from __future__ import annotations

import errno
import functools
import os
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from tests.certificates import CLIENT, NOW, SERVER, Issued, authority, issue, revocations
from tests.pairs import Pair, PairCase
from tests.trust.test_keys import NO_SSH_KEYGEN, sshKeygen, write
from tests.trust.test_sshcertificates import AuthorityMixin
from tests.trust.test_tickets import RESUMABLE
from thing.core.credentials import Anonymous
from thing.core.groups import GroupName
from thing.core.messages import Role
from thing.errors import CredentialError, ErrorCode, NotAuthorized, PassphraseNeeded
from thing.events import Cause
from thing.identity import CredentialKind, Identity
from thing.trust import (
    Anyone,
    CertificateChain,
    CertifiedKey,
    CertifiedServers,
    CertifiedThings,
    ClientChoice,
    IdentityKey,
    KnownServers,
    PinnedServers,
    PresharedKey,
    PresharedServer,
    PresharedThings,
    ServerCertificates,
    ServerChoice,
    ThingCertificates,
)
from thing.trust.choice import CLIENT_KEYWORDS, SERVER_KEYWORDS
from thing.trust.keywords import Keyword, asOption, readKeywords, yes
from thing.trust.makers import unlessRevoked
from thing.trust.parts import Admits, Binds, Parts, Shows, TrustKeyword, tableOf
from thing.trust.slices import atOnce, inOneSlice
from thing.trust.tickets import TicketKeys
from thing.trust.unrevoked import Unrevoked

HOST = "example.org"
PORT = 9000
KINDS = ("raw", "x509", "ssh", "preshared")
KIND_OF = {
    "raw": CredentialKind.ED25519,
    "x509": CredentialKind.X509,
    "ssh": CredentialKind.SSH_CERTIFICATE,
    "preshared": CredentialKind.PRESHARED,
}
MOMENT = datetime.fromtimestamp(NOW, timezone.utc)
RAW, NOBODY = CredentialKind.ED25519, CredentialKind.NONE
X25519 = (GroupName.X25519,)

UNTOLD = ("", "unauthenticated")
"""What a refused peer knows beside the code: at most that it cannot tell who sent it."""


@functools.cache
def root(name: str = "root") -> Issued:
    """An authority for X.509 of the present, since what is read from strings has its clock."""
    return authority(name, **lifetime())


def lifetime() -> dict[str, float]:
    """From an hour ago to an hour from now."""
    now = time.time() - NOW
    return {"begins": now - 3600, "ends": now + 3600}


class TrustFiles(AuthorityMixin):
    """A test with files of every kind: a server called ``example.org``, a thing called ``lamp``."""

    def setUp(self) -> None:
        super().setUp()
        self.authority()
        for owner, words in (("server", ("-h", "-n", HOST)), ("lamp", ("-n", "lamp"))):
            self.certify("-V", "-1h:+1h", *words, name=owner, keyId=owner)
        self.pem("roots.pem", root().pem)
        self.chain("server.pem", HOST, SERVER)
        self.chain("lamp.pem", "lamp", CLIENT)
        key = PresharedKey(b"lamp", bytes(range(32)))
        self.pem("preshared", f"{key.secretLine()}\n".encode())
        other = PresharedKey.generate(b"kettle").secretLine()
        self.pem("preshareds", f"{other}\n{key.secretLine()}\n".encode())
        line = IdentityKey.load(self.path("lamp")).publicLine("lamp")
        self.pem("things", f"{line}\n".encode())
        line = IdentityKey.load(self.path("server")).publicLine()
        self.pem("servers", f"[{HOST}]:{PORT} {line}\n".encode())
        self.pin = IdentityKey.load(self.path("server")).fingerprint

    def pem(self, name: str, *parts: bytes) -> str:
        return write(self.path(name), b"".join(parts))

    def chain(self, file: str, name: str, use: Any, issuer: Issued | None = None) -> Issued:
        """Write a certificate and its key into one file."""
        names = [x509.DNSName(name)]
        issued = issue(name, issuer or root(), names, use=use, **lifetime())
        self.pem(file, issued.pem, issued.keyPem())
        return issued

    def serverOf(self, *kinds: str) -> dict[str, str]:
        """What a server chooses that has these kinds and admits things by them."""
        path = self.path
        choices = {
            "raw": {"identity": path("server"), "authorized": path("things")},
            "x509": {"certificate": path("server.pem"), "trustRoots": path("roots.pem")},
            "ssh": {
                "identity": path("server"),
                "identityCertificate": path("server-cert.pub"),
                "authorities": path("ca.pub"),
            },
            "preshared": {"identity": path("server"), "presharedKeys": path("preshareds")},
        }
        return {name: value for kind in kinds for name, value in choices[kind].items()}

    def clientOf(self, own: str, server: str | None = None) -> dict[str, str]:
        """What a client chooses that has one kind and believes a server by one."""
        path = self.path
        owns = {
            "raw": {"identity": path("lamp")},
            "x509": {"certificate": path("lamp.pem")},
            "ssh": {"identity": path("lamp"), "identityCertificate": path("lamp-cert.pub")},
            "preshared": {},
        }
        believes = {
            "raw": {"serverKey": self.pin},
            "x509": {"trustRoots": path("roots.pem")},
            "ssh": {"authorities": path("ca.pub")},
            "preshared": {"presharedKey": path("preshared")},
        }
        return {**owns[own], **believes[server or own]}

    def wholeServer(self) -> dict[str, str]:
        """Everything that a server can choose at once."""
        IdentityKey.generate().save(self.path("next"))
        sshKeygen("-q", "-k", "-f", self.path("krl"))
        self.pem("crl.pem", revocations(root(), **lifetime()))
        return {
            **self.serverOf(*KINDS),
            "privateKey": self.path("server.pem"),
            "nextIdentity": self.path("next"),
            "principals": "lamp, sensor-*",
            "revoked": self.path("krl"),
            "revocationLists": self.path("crl.pem"),
            "anonymous": "yes",
            "ticketKeys": self.path("tickets"),
            "ticketLifetime": "60",
        }

    def wholeClient(self) -> dict[str, str]:
        """Everything that a client with an OpenSSH certificate can choose at once."""
        server = self.wholeServer()
        return {
            **self.clientOf("ssh"),
            "trustRoots": self.path("roots.pem"),
            "knownServers": self.path("servers"),
            "firstUse": "yes",
            "revoked": server["revoked"],
            "revocationLists": server["revocationLists"],
            "serverName": f"{HOST}:{PORT}",
            "resumption": "no",
        }

    def server(self, given: Mapping[str, str]) -> ServerChoice:
        return ServerChoice.read(given)

    def client(self, given: Mapping[str, str], ask: Any = None) -> ClientChoice:
        return ClientChoice.read(given, (HOST, PORT), ask)


def unwrapped(authorizer: Any) -> tuple[list[str], Any]:
    """The files that revoke something for an authorizer, and itself."""
    revoking = []
    while isinstance(authorizer, Unrevoked):
        revoking.append(os.path.basename(authorizer.revoked.path))
        authorizer = authorizer.authorizer
    return revoking, authorizer


class KeywordTests(TestCase):
    """The tables, and how strings are read by them."""

    TABLES = (SERVER_KEYWORDS, CLIENT_KEYWORDS)

    def refusal(self, table: tuple[Keyword, ...], given: dict[str, str], **options: Any) -> str:
        return str(self.assertRaises(CredentialError, readKeywords, table, given, **options))

    def test_namesInTables(self) -> None:
        """No keyword stands twice, and the others that one speaks of are in the same table."""
        for table in self.TABLES:
            names = [keyword.name for keyword in table]
            self.assertEqual(len(names), len(set(names)))
            for keyword in table:
                self.assertLessEqual({*keyword.needs, *keyword.excludes}, set(names))

    def test_empty(self) -> None:
        """An empty value is none, whatever the keyword: it may come of an unset variable."""
        for table in self.TABLES:
            for keyword in table:
                self.assertIn(f"{keyword.name}: ", self.refusal(table, {keyword.name: ""}))

    def test_unknown(self) -> None:
        """A keyword that is not known is refused, and those that are known are told."""
        self.assertIn("trustRoots", self.refusal(CLIENT_KEYWORDS, {"trustroots": "x"}))

    def test_exclusions(self) -> None:
        """Whoever is said to be admitted or believed twice over, in ways that differ, is asked."""
        for table, one, other in (
            (SERVER_KEYWORDS, "anyone", "authorized"),
            (SERVER_KEYWORDS, "anyone", "authorities"),
            (SERVER_KEYWORDS, "anyone", "trustRoots"),
            (SERVER_KEYWORDS, "anyone", "presharedKeys"),
            (CLIENT_KEYWORDS, "identity", "certificate"),
            (CLIENT_KEYWORDS, "identity", "presharedKey"),
            (CLIENT_KEYWORDS, "presharedKey", "certificate"),
            (CLIENT_KEYWORDS, "presharedKey", "knownServers"),
            (CLIENT_KEYWORDS, "presharedKey", "trustRoots"),
            (CLIENT_KEYWORDS, "presharedKey", "authorities"),
        ):
            given = {one: "yes", other: "yes"}
            said = f"{asOption(one)} and {asOption(other)} exclude each other"
            self.assertEqual(self.refusal(table, given, spelled=asOption), said)
        given = {"serverKey": "A" * 43, "knownServers": "x"}
        self.assertIn("exclude each other", self.refusal(CLIENT_KEYWORDS, given))

    def test_needs(self) -> None:
        """What would have no effect by itself is refused."""
        for table, name, value, needed in (
            (SERVER_KEYWORDS, "identityCertificate", "x", "identity"),
            (SERVER_KEYWORDS, "privateKey", "x", "certificate"),
            (SERVER_KEYWORDS, "passphraseFile", "x", "identity or certificate"),
            (SERVER_KEYWORDS, "principals", "x", "authorities"),
            (SERVER_KEYWORDS, "revoked", "x", "authorized or authorities or trustRoots or anyone"),
            (SERVER_KEYWORDS, "revocationLists", "x", "trustRoots"),
            (SERVER_KEYWORDS, "anonymous", "yes", "authorized or authorities or trustRoots"),
            (CLIENT_KEYWORDS, "firstUse", "yes", "knownServers"),
            (CLIENT_KEYWORDS, "serverName", "x", "knownServers or authorities or trustRoots"),
        ):
            self.assertIn(f"{name} needs {needed}", self.refusal(table, {name: value}))

    def test_no(self) -> None:
        """A decision that is no is as one that was not made: it excludes and needs nothing."""
        for name in ("anyone", "anonymous"):
            given = {name: "no", "authorized": "x"}
            self.assertEqual(readKeywords(SERVER_KEYWORDS, given), {"authorized": "x"})
        self.assertEqual(readKeywords(CLIENT_KEYWORDS, {"firstUse": "no"}), {})

    def test_values(self) -> None:
        """Each sort of value is read, and what is none of its sort is refused with the keyword."""
        for table, name, good, value, bads in (
            (SERVER_KEYWORDS, "ticketLifetime", "0", 0.0, ("-1", "nan", "inf", "soon")),
            (SERVER_KEYWORDS, "ticketLifetime", "2.5", 2.5, ("2,5", "1e999")),
            (SERVER_KEYWORDS, "anyone", "yes", True, ("YES", "true", "1")),
            (
                CLIENT_KEYWORDS,
                "serverKey",
                f"{'A' * 43}, SHA256:{'B' * 42}A",
                (f"SHA256:{'A' * 43}", f"SHA256:{'B' * 42}A"),
                ("A" * 42, "A" * 43 + ",", "MD5:" + "A" * 43, "A" * 42 + "B"),
            ),
        ):
            self.assertEqual(readKeywords(table, {name: good}), {name: value})
            for bad in bads:
                self.assertTrue(self.refusal(table, {name: bad}).startswith(f"{name}: "), bad)
        names = {"authorities": "x", "principals": "a, b*"}
        self.assertEqual(readKeywords(SERVER_KEYWORDS, names)["principals"], ("a", "b*"))
        names["principals"] = "a,,b"
        self.assertIn("principals: is empty", self.refusal(SERVER_KEYWORDS, names))

    def test_serverName(self) -> None:
        """A server is called by its host, or by host and port; IPv6 stands in brackets."""
        for written, value in (
            ("a.example", ("a.example", None)),
            ("a.example:7", ("a.example", 7)),
            ("[::1]:65535", ("::1", 65535)),
            ("[::1]", ("::1", None)),
        ):
            given = {"trustRoots": "x", "serverName": written}
            self.assertEqual(readKeywords(CLIENT_KEYWORDS, given)["serverName"], value)
        for bad in ("::1", "a:b", "a:", ":7", "a:0", "a:65536", "[]:7", "[::1]7"):
            given = {"trustRoots": "x", "serverName": bad}
            self.assertIn("neither a host nor", self.refusal(CLIENT_KEYWORDS, given))

    def test_flagsAreYes(self) -> None:
        """What a command line has as a flag is what can be yes or no, and the table says so."""
        for table in self.TABLES:
            for keyword in table:
                self.assertEqual(keyword.read is yes, keyword.value.startswith("yes"))


ITSELF = inOneSlice(lambda value, parts: value)
WRAPPED = inOneSlice(lambda value, parts: Wrapped)


class PartTests(TrustFiles, TestCase):
    """What keywords build, each its part."""

    skip = NO_SSH_KEYGEN

    def build(self, *keywords: TrustKeyword, **chosen: Any) -> Parts:
        """What the keywords of a table build on a server."""
        return atOnce(Parts(role=Role.SERVER, chosen=chosen).build(tableOf(*keywords)))

    def test_eachItsPart(self) -> None:
        """A keyword that was chosen adds what it makes of its value; one that was not, nothing."""
        key = IdentityKey.generate()
        shows = TrustKeyword("shows", "X", "", part=Shows(lambda value, parts: value))
        admits = TrustKeyword("admits", "X", "", part=Admits((RAW, NOBODY), ITSELF))
        built = self.build(shows, admits, shows=key)
        self.assertEqual((built.credentials, built.authorizers), ([key], {}))
        anyone = Anyone()
        built = self.build(shows, admits, admits=anyone)
        self.assertEqual(
            (built.credentials, built.authorizers), ([], {RAW: anyone, NOBODY: anyone})
        )

    def test_bindsLast(self) -> None:
        """What restricts a kind wraps its authorizer wherever the two stand, and no other's."""
        binds = TrustKeyword("binds", "X", "", part=Binds((RAW,), WRAPPED))
        admits = TrustKeyword("admits", "X", "", part=Admits((RAW, NOBODY), ITSELF))
        anyone = Anyone()
        built = self.build(binds, admits, binds="x", admits=anyone)
        self.assertIsInstance(built.authorizers[RAW], Wrapped)
        self.assertIs(built.authorizers[RAW].inner, anyone)
        self.assertIs(built.authorizers[NOBODY], anyone)

    def test_bindsNeeds(self) -> None:
        """What restricts kinds needs a keyword that admits one of them."""
        kinds = (RAW, CredentialKind.PRESHARED)
        binds = TrustKeyword("binds", "X", "", part=Binds(kinds, WRAPPED))
        restricting = tableOf(*(each for each in SERVER_KEYWORDS if each.name != "revoked"), binds)[
            -1
        ]
        self.assertEqual(restricting.needs, ("authorized", "presharedKeys", "anyone"))

    def test_revokedKeys(self) -> None:
        """Revocation binds any kind that it is told to: so a raw key, of a file of things."""
        revoked = TrustKeyword("revoked", "FILE", "", part=Binds((RAW,), unlessRevoked))
        (authorized,) = (each for each in SERVER_KEYWORDS if each.name == "authorized")
        self.pem("revoked", b"")
        chosen = {"revoked": self.path("revoked"), "authorized": self.path("things")}
        lamp = Identity(RAW, IdentityKey.load(self.path("lamp")).publicKey)
        built = self.build(authorized, revoked, **chosen)
        self.assertEqual(built.authorizers[RAW].authorize(lamp).name, "lamp")
        self.pem("revoked", IdentityKey.load(self.path("lamp")).publicLine().encode())
        built = self.build(authorized, revoked, **chosen)
        error = self.assertRaises(NotAuthorized, built.authorizers[RAW].authorize, lamp)
        self.assertEqual(
            str(error), f"the key {lamp.fingerprint} is revoked by {self.path('revoked')}"
        )


class Wrapped:
    """
    Stands around an authorizer.

    :ivar inner: the authorizer.
    """

    def __init__(self, inner: object) -> None:
        self.inner = inner


class ServerChoiceTests(TrustFiles, TestCase):
    """What a server's strings come to."""

    skip = NO_SSH_KEYGEN

    def test_everything(self) -> None:
        """Every keyword has its effect, and all of them can be chosen together."""
        given = self.wholeServer()
        # They have tests of their own.
        left = {"anyone", "passphraseFile", "invitations", "nodes", "nodeIdentity"}
        self.assertEqual({keyword.name for keyword in SERVER_KEYWORDS} - given.keys(), left)
        choice = self.server(given)
        sorts = [type(each) for each in choice.credentials]
        self.assertEqual(sorts, [IdentityKey, CertifiedKey, CertificateChain])
        deciding = choice.authorizer.authorizers
        judges = []
        for kind in CredentialKind.ED25519, CredentialKind.SSH_CERTIFICATE, CredentialKind.X509:
            revoking, judge = unwrapped(deciding[kind])
            self.assertEqual(revoking, ["krl"])
            judges.append(judge)
        things, certified, by509 = judges
        self.assertIs(things, choice.authorizedThings)
        assert isinstance(certified, CertifiedThings)
        self.assertEqual(certified.principals, ("lamp", "sensor-*"))
        self.assertIsInstance(by509, ThingCertificates)
        self.assertIsInstance(deciding[CredentialKind.PRESHARED], PresharedThings)
        settings = choice.settings(handshakeTimeout=3.0)
        self.assertEqual(settings.credential, choice.credentials[0])
        self.assertEqual(settings.otherCredentials, choice.credentials[1:])
        self.assertEqual(set(settings.peerKinds), set(KIND_OF.values()))
        self.assertTrue(settings.allowAnonymous)
        self.assertEqual(set(settings.presharedKeys), {b"lamp", b"kettle"})
        self.assertIs(settings.tickets, choice.tickets)
        self.assertEqual(settings.handshakeTimeout, 3.0)
        assert settings.nextCredential is not None
        self.assertEqual(settings.nextCredential.data, IdentityKey.load(self.path("next")).data)
        self.assertTrue(os.path.exists(self.path("tickets")))

    def test_kinds(self) -> None:
        """Just the kinds that are chosen are taken, and nobody without one."""
        for kind in KINDS:
            settings = self.server(self.serverOf(kind)).settings()
            self.assertEqual(settings.peerKinds, (KIND_OF[kind],))
            self.assertFalse(settings.allowAnonymous)
            self.assertEqual(bool(settings.presharedKeys), kind == "preshared")

    def test_anyone(self) -> None:
        """Everybody is admitted who has a raw key, or none."""
        choice = self.server({"identity": self.path("server"), "anyone": "yes"})
        self.assertEqual(choice.authorizer.peerKinds, (CredentialKind.ED25519,))
        self.assertTrue(choice.settings().allowAnonymous)

    def test_passphrase(self) -> None:
        """One passphrase decrypts every key; without it the file is named that needs one."""
        IdentityKey.generate().save(self.path("locked"), b"open sesame")
        issued = issue(HOST, root(), [x509.DNSName(HOST)], use=SERVER, **lifetime())
        given = {
            "identity": self.path("locked"),
            "certificate": self.pem("cert.pem", issued.pem),
            "privateKey": self.pem("key.pem", issued.keyPem(b"open sesame")),
            "anyone": "yes",
        }
        error = self.assertRaises(PassphraseNeeded, self.server, given)
        self.assertIn(self.path("locked"), str(error))
        secret = self.pem("secret", b"open sesame\n")
        self.assertEqual(len(self.server({**given, "passphraseFile": secret}).credentials), 2)
        del given["identity"]
        error = self.assertRaises(PassphraseNeeded, self.server, given)
        self.assertEqual(str(error), f"{self.path('key.pem')} is encrypted: a passphrase is needed")

    def test_openKeyFile(self) -> None:
        """A file with certificate and key that others may read is refused, named once or twice."""
        os.chmod(self.path("server.pem"), 0o644)
        given = self.serverOf("x509")
        for more in ({}, {"privateKey": given["certificate"]}):
            self.assertIn("too open", self.refusal(self.server, {**given, **more}))

    def test_noTickets(self) -> None:
        """A lifetime of zero means none, and then no keys are made."""
        given = {**self.serverOf("raw"), "ticketLifetime": "0", "ticketKeys": self.path("tickets")}
        self.assertIsNone(self.server(given).tickets)
        self.assertFalse(os.path.exists(self.path("tickets")))
        self.assertIn(
            "of use", self.refusal(self.server, {**given, "ticketLifetime": "1000000000000"})
        )

    def test_undecided(self) -> None:
        """Who has not said whom to admit, or as whom to serve, is told what there is to say."""
        own = {"identity": self.path("server")}
        message = self.refusal(self.server, own)
        self.assertIn("whom to admit must be said", message)
        for keyword in SERVER_KEYWORDS:
            self.assertEqual(keyword.name in message, keyword.decides, keyword.name)
        self.assertIn("whom to admit", self.refusal(self.server, {**own, "anyone": "no"}))
        self.assertIn("identity must be said", self.refusal(self.server, {"anyone": "yes"}))

    def test_missingFiles(self) -> None:
        """Each file that is not there is told by its name when the choice is read."""
        given = self.wholeServer()
        missing = self.path("missing")
        files = {k.name for k in SERVER_KEYWORDS if k.value == "FILE"} & given.keys()
        for name in files - {"ticketKeys"}:
            self.assertIn(missing, self.refusal(self.server, {**given, name: missing}), name)
        nowhere = os.path.join(missing, "tickets")
        self.assertIn(nowhere, self.refusal(self.server, {**given, "ticketKeys": nowhere}))

    def test_usersCertificate(self) -> None:
        """A user's certificate is not a server's."""
        given = {
            **self.serverOf("ssh"),
            "identity": self.path("lamp"),
            "identityCertificate": self.path("lamp-cert.pub"),
        }
        self.assertIn("a host certificate is due", self.refusal(self.server, given))

    def test_noSecrets(self) -> None:
        """What is shown of a choice tells no key."""
        shown = repr(self.server(self.wholeServer()))
        for secret in (bytes(range(32)).hex(), repr(bytes(range(32)))[2:20], "PRIVATE"):
            self.assertNotIn(secret, shown)

    def test_again(self) -> None:
        """What the files have now is read, and put into settings that have more."""
        choice = self.server(self.serverOf("raw"))
        settings = choice.settings(handshakeTimeout=3.0)
        IdentityKey.generate().save(self.path("moved"))
        os.rename(self.path("moved"), self.path("server"))
        other = IdentityKey.generate()
        self.pem("things", other.publicLine("kettle").encode())
        now = atOnce(choice.again())
        applied = now.applied(settings)
        self.assertEqual(applied.handshakeTimeout, 3.0)
        self.assertEqual(applied.credential.data, IdentityKey.load(self.path("server")).data)
        named = now.authorizer.authorize(Identity(CredentialKind.ED25519, other.publicKey))
        assert isinstance(named, Identity)
        self.assertEqual(named.name, "kettle")

    def test_againTickets(self) -> None:
        """Ticket keys stay; if they are in a file it is read, and no fault of it is the others'."""
        choice = self.server(self.serverOf("raw"))
        self.assertIs(atOnce(choice.again()).tickets, choice.tickets)
        self.assertIs(atOnce(atOnce(choice.again()).again()).settings().tickets, choice.tickets)
        filed = self.server({**self.serverOf("raw"), "ticketKeys": self.path("tickets")})
        key = TicketKeys(self.path("other"))
        self.pem("tickets", Path(self.path("other")).read_bytes())
        again = atOnce(filed.again()).tickets
        assert again is not None
        self.assertIs(again, filed.tickets)
        given = key.seal(RESUMABLE, b"server")
        assert given is not None
        self.assertIsNotNone(again.open(given.ticket, b"server"))
        self.pem("tickets", b"nonsense")
        self.assertIs(atOnce(filed.again()).tickets, filed.tickets)
        self.assertIsNotNone(again.open(given.ticket, b"server"))

    def test_againUnchanged(self) -> None:
        """What has not changed is not read again: so it may be unreadable by then."""
        choice = self.server(self.wholeServer())
        line = IdentityKey.generate().publicLine("kettle")
        self.pem("things", f"{line}\n".encode())
        opened: list[str] = []

        def openAtOnce(path: str, flags: int) -> int:
            opened.append(path)
            return os.open(path, flags)

        with mock.patch("thing.trust.files._openAtOnce", openAtOnce):
            now = atOnce(choice.again())
        self.assertEqual(set(opened) - {self.path("tickets")}, {self.path("things")})
        self.assertEqual(now.things, 1)
        self.assertIs(now.credentials[0], choice.credentials[0])
        self.assertIs(now.presharedKeys, choice.presharedKeys)

    def test_againUnreadable(self) -> None:
        """What may not be read any more stays what it was, and all else is followed."""
        choice = self.server(self.serverOf("raw", "preshared"))
        kettle = IdentityKey.generate()
        self.pem("things", kettle.publicLine("kettle").encode())
        IdentityKey.generate().save(self.path("moved"))
        os.rename(self.path("moved"), self.path("server"))

        def openAtOnce(path: str, flags: int) -> int:
            if path == self.path("server"):
                raise PermissionError(errno.EACCES, "Permission denied")
            return os.open(path, flags)

        with mock.patch("thing.trust.files._openAtOnce", openAtOnce):
            now = atOnce(choice.again())
            later = atOnce(now.again())
        self.assertIs(now.credentials[0], choice.credentials[0])
        now.authorizer.authorize(Identity(CredentialKind.ED25519, kettle.publicKey))
        self.assertEqual(
            now.troubles(MOMENT),
            [
                f"cannot read {self.path('server')}: Permission denied: "
                "what it was before stays until a restart"
            ],
        )
        self.assertEqual(later.troubles(MOMENT), [])

    def test_againUnreachable(self) -> None:
        """A file that may not even be looked at any more counts as one that has not changed."""
        choice = self.server(self.serverOf("raw"))
        with mock.patch("thing.trust.files.os.stat", side_effect=PermissionError):
            self.assertIs(atOnce(choice.again()).authorizedThings, choice.authorizedThings)

    def test_againEmpty(self) -> None:
        """A file that has lost all its lines is a fault, unless it says that this is meant."""
        revoked = self.pem("revoked", Path(self.path("lamp.pub")).read_bytes())
        choice = self.server({**self.serverOf("raw", "ssh", "preshared"), "revoked": revoked})
        for name in ("things", "preshareds", "revoked"):
            before = Path(self.path(name)).read_bytes()
            for content in (b"", b"\n \n", b"# a comment\n"):
                self.pem(name, content)
                self.assertEqual(
                    self.refusal(atOnce, choice.again()),
                    f"{self.path(name)} is suddenly empty, which is taken for a fault; "
                    "if it is meant, leave the line '# empty' in it",
                )
            self.pem(name, b" # empty\r\n")
            atOnce(atOnce(choice.again()).again())
            self.pem(name, before)
        self.pem("things", b"")
        self.assertEqual(atOnce(self.server(self.serverOf("raw")).again()).things, 0)

    def test_againAllOrNothing(self) -> None:
        """With any one of the files damaged there is an error, and what there was is as it was."""
        given = self.wholeServer()
        choice = self.server(given)
        kettle = IdentityKey.generate()
        thing = Identity(CredentialKind.ED25519, kettle.publicKey)
        self.pem("things", kettle.publicLine("kettle").encode())
        files = ("roots.pem", "ca.pub", "preshareds", "krl", "crl.pem", "server.pem")
        for name in (*files, "server", "server-cert.pub", "next"):
            with open(self.path(name), "rb") as file:
                before = file.read()
            self.pem(name, b"nonsense\n")
            self.assertIn(self.path(name), self.refusal(atOnce, choice.again()))
            self.pem(name, before)
            self.assertRaises(NotAuthorized, choice.authorizer.authorize, thing)
        admitted = atOnce(choice.again()).authorizer.authorize(thing)
        assert isinstance(admitted, Identity)
        self.assertEqual(admitted.name, "kettle")


class ClientChoiceTests(TrustFiles, TestCase):
    """What a client's strings come to."""

    skip = NO_SSH_KEYGEN

    def test_everything(self) -> None:
        """Every keyword has its effect, and those that go together can be chosen together."""
        given = self.wholeClient()
        left = {"certificate", "privateKey", "passphraseFile", "presharedKey", "serverKey"}
        self.assertEqual({keyword.name for keyword in CLIENT_KEYWORDS} - given.keys(), left)
        choice = ClientChoice.read(given)
        self.assertIsInstance(choice.credential, CertifiedKey)
        deciding = choice.authorizer.authorizers
        judges = {}
        for kind, files in (
            # By --revoked, and by what the files of hosts revoke for the kinds of each other.
            (CredentialKind.ED25519, ["krl", "ca.pub"]),
            (CredentialKind.SSH_CERTIFICATE, ["krl", "servers"]),
            (CredentialKind.X509, ["krl", "ca.pub", "servers"]),
        ):
            revoking, judges[kind] = unwrapped(deciding[kind])
            self.assertEqual(sorted(revoking), sorted(files))
        known, by509 = judges[CredentialKind.ED25519], judges[CredentialKind.X509]
        assert isinstance(known, KnownServers)
        self.assertEqual((known.server, known.firstUse), (f"[{HOST}]:{PORT}", True))
        certified = judges[CredentialKind.SSH_CERTIFICATE]
        assert isinstance(certified, CertifiedServers) and isinstance(by509, ServerCertificates)
        self.assertEqual((certified.host, by509.host), (HOST, HOST))
        self.assertIs(choice.knownServers, known)
        settings = choice.settings(requestedTtl=7.0)
        self.assertEqual(set(settings.peerKinds), set(deciding))
        self.assertEqual((settings.resumption, settings.requestedTtl), (False, 7.0))

    def test_credentials(self) -> None:
        """A client shows what it has that proves the most; without a choice it shows nothing."""
        for own, sort in (("raw", IdentityKey), ("ssh", CertifiedKey), ("x509", CertificateChain)):
            choice = self.client(self.clientOf(own, "raw"))
            self.assertIsInstance(choice.credential, sort)
            self.assertIsInstance(
                choice.authorizer.authorizers[CredentialKind.ED25519], PinnedServers
            )
            self.assertTrue(choice.settings().wantsTicket)
        self.assertIsInstance(self.client({"serverKey": self.pin}).credential, Anonymous)

    def test_anonymousTicket(self) -> None:
        """A client that shows nothing asks for tickets only if it is said; with a key, unless."""
        for own, said, asks in (
            ({}, {}, False),
            ({}, {"resumption": "no"}, False),
            ({}, {"resumption": "yes"}, True),
            (self.clientOf("raw"), {}, True),
            (self.clientOf("raw"), {"resumption": "no"}, False),
        ):
            choice = self.client({"serverKey": self.pin, **own, **said})
            self.assertIs(choice.settings().wantsTicket, asks)

    def test_preshared(self) -> None:
        """A pre-shared key is both: what is shown, and what is believed."""
        choice = self.client(self.clientOf("preshared"))
        self.assertEqual(choice.authorizer.peerKinds, (CredentialKind.PRESHARED,))
        authorizer = choice.authorizer.authorizers[CredentialKind.PRESHARED]
        assert isinstance(authorizer, PresharedServer)
        self.assertIs(authorizer.key, choice.credential)
        self.assertFalse(choice.settings().wantsTicket)

    def test_serverName(self) -> None:
        """A name stands in for the host; a name without a port is of the port connected to."""
        given = {
            "knownServers": self.path("servers"),
            "authorities": self.path("ca.pub"),
            "serverName": "b.example",
        }
        deciding = self.client(given).authorizer.authorizers
        _, known = unwrapped(deciding[CredentialKind.ED25519])
        _, certified = unwrapped(deciding[CredentialKind.SSH_CERTIFICATE])
        self.assertEqual((known.server, certified.host), (f"[b.example]:{PORT}", "b.example"))

    def test_noHost(self) -> None:
        """Over a stream without a host a name is needed, where names count; a pin is enough."""
        for name, file in (
            ("knownServers", "servers"),
            ("authorities", "ca.pub"),
            ("trustRoots", "roots.pem"),
        ):
            message = self.refusal(ClientChoice.read, {name: self.path(file)})
            self.assertIn(f"{name} needs serverName", message)
        portless = {"knownServers": self.path("servers"), "serverName": HOST}
        self.assertIn("host and port", self.refusal(ClientChoice.read, portless))
        ClientChoice.read({"trustRoots": self.path("roots.pem"), "serverName": HOST})
        ClientChoice.read({"serverKey": self.pin})
        ClientChoice.read(self.clientOf("preshared"))

    def test_platform(self) -> None:
        """The word ``platform`` stands for the system's roots, and is no file."""
        found: list[Any] = []
        made: Any = PinnedServers([self.pin])
        made.authorities = mock.Mock(lists=None)
        self.patch(
            __import__("thing.trust.certificates", fromlist=["x"]),
            "ServerCertificates",
            lambda roots, host, lists: found.append((roots, host)) or made,
        )
        self.client({"trustRoots": "platform"})
        self.assertEqual(found, [(None, HOST)])

    def test_undecided(self) -> None:
        """Who has not said which server to believe is told what there is to say."""
        message = self.refusal(self.client, {"identity": self.path("lamp")})
        self.assertIn("which server to believe must be said", message)
        for keyword in CLIENT_KEYWORDS:
            if keyword.decides:
                self.assertIn(keyword.name, message)

    def test_missingFiles(self) -> None:
        """Each file that is not there is told by its name when the choice is read."""
        missing = self.path("missing")
        wholes = (
            {**self.wholeClient(), "firstUse": "no"},
            {**self.clientOf("x509"), "privateKey": self.path("lamp.pem")},
            {**self.clientOf("raw"), "passphraseFile": missing},
            self.clientOf("preshared"),
        )
        seen = set()
        for given in wholes:
            for keyword in CLIENT_KEYWORDS:
                if keyword.value == "FILE" and keyword.name in given:
                    seen.add(keyword.name)
                    message = self.refusal(self.client, {**given, keyword.name: missing})
                    self.assertIn(missing, message, keyword.name)
        self.assertEqual(seen, {k.name for k in CLIENT_KEYWORDS if k.value == "FILE"})

    def test_hostsCertificate(self) -> None:
        """A host's certificate is not a client's."""
        given = {
            **self.clientOf("ssh"),
            "identity": self.path("server"),
            "identityCertificate": self.path("server-cert.pub"),
        }
        self.assertIn("a user certificate is due", self.refusal(self.client, given))

    def test_asks(self) -> None:
        """Somebody is asked for a passphrase if one is needed, once for each file."""
        prompts: list[str] = []

        def ask(prompt: str) -> bytes:
            prompts.append(prompt)
            return b"open sesame"

        IdentityKey.generate().save(self.path("locked"), b"open sesame")
        self.certify("-V", "-1h:+1h", "-n", "lamp", name="locked")
        given = {
            "identity": self.path("locked"),
            "identityCertificate": self.path("locked-cert.pub"),
            "serverKey": self.pin,
        }
        self.assertIsInstance(self.client(given, ask).credential, CertifiedKey)
        self.assertEqual(prompts, [f"Passphrase of {self.path('locked')}"])
        issued = issue("lamp", root(), [x509.DNSName("lamp")], use=CLIENT, **lifetime())
        self.pem("locked.pem", issued.pem, issued.keyPem(b"open sesame"))
        self.client({"certificate": self.path("locked.pem"), "serverKey": self.pin}, ask)
        self.assertEqual(prompts[1:], [f"Passphrase of {self.path('locked.pem')}"])
        self.assertRaises(PassphraseNeeded, self.client, given)

    def test_doesNotAsk(self) -> None:
        """Nobody is asked if no key needs it, if a file has the passphrase, or if that is wrong."""

        def ask(prompt: str) -> bytes:
            raise AssertionError(prompt)

        self.client(self.clientOf("ssh"), ask)
        IdentityKey.generate().save(self.path("locked"), b"open sesame")
        given = {
            "identity": self.path("locked"),
            "serverKey": self.pin,
            "passphraseFile": self.pem("secret", b"open sesame\n"),
        }
        self.client(given, ask)
        self.pem("secret", b"shut sesame\n")
        self.assertIn("passphrase is wrong", self.refusal(self.client, given, ask))

    def test_wrongAnswer(self) -> None:
        """A wrong answer is told as a wrong passphrase, and is not repeated."""
        IdentityKey.generate().save(self.path("locked"), b"open sesame")
        given = {"identity": self.path("locked"), "serverKey": self.pin}
        message = self.refusal(self.client, given, lambda prompt: b"shut")
        self.assertIn("passphrase is wrong", message)
        self.assertNotIn("shut", message)


class KindsTests(TrustFiles, PairCase):
    """Sessions by every kind of credential, from strings to names."""

    skip = NO_SSH_KEYGEN

    def setUp(self) -> None:
        TrustFiles.setUp(self)
        PairCase.setUp(self)
        self.logged: list[str] = []
        self.observe = lambda event: self.logged.append(formatEvent(event))
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def between(self, server: Mapping[str, str], client: Mapping[str, str]) -> Pair:
        """A server and a client of these strings, after all has been said."""
        ours, theirs = self.server(server), self.client(client)
        pair = self.pair(
            ours.settings(groups=X25519),
            theirs.settings(groups=X25519),
            authorizer=ours.authorizer,
            clientAuthorizer=theirs.authorizer,
        )
        pair.connect().pump()
        return pair

    def assertUp(self, pair: Pair, name: str | None, own: str, server: str) -> None:
        """The session is up: by these kinds, and the server knows the thing by this name."""
        assert pair.server.session is not None, pair.server.calls
        assert pair.client.session is not None, pair.client.calls
        thing, other = pair.server.session.peer, pair.client.session.peer
        self.assertEqual((thing.kind, thing.name), (KIND_OF[own], name))
        self.assertIs(other.kind, KIND_OF[server])
        self.assertIn(f"with {thing}", "\n".join(self.logged))

    def assertRefused(self, by: Any, peer: Any, *words: str) -> None:
        """One side's log says why, and the other side learns the code alone."""
        (ending,) = by.of("terminated")
        self.assertEqual((ending.cause, ending.code), (Cause.REJECTED, ErrorCode.NOT_AUTHORIZED))
        lines = [line for line in self.logged if ending.detail in line]
        self.assertEqual(len(lines), 1)
        for word in words:
            self.assertIn(word, lines[0])
        (told,) = peer.of("terminated")
        self.assertEqual((told.cause, told.code), (Cause.REJECTED, ErrorCode.NOT_AUTHORIZED))
        self.assertTrue(told.byPeer)
        self.assertIn(told.detail, UNTOLD)

    def test_eachKind(self) -> None:
        """Both sides prove themselves by one kind, and know each other's names."""
        for kind in KINDS:
            pair = self.between(self.serverOf(kind), self.clientOf(kind))
            self.assertUp(pair, "lamp", kind, kind)
            assert pair.client.session is not None
            name = {"raw": None, "preshared": "lamp"}.get(kind, HOST)
            self.assertEqual(pair.client.session.peer.name, name)

    def test_oneServer(self) -> None:
        """One server with everything serves clients of which each knows one kind."""
        server = self.serverOf(*KINDS)
        for kind in KINDS:
            self.assertUp(self.between(server, self.clientOf(kind)), "lamp", kind, kind)

    def test_mixed(self) -> None:
        """The kind by which a thing is known need not be the one by which it knows the server."""
        server = self.serverOf(*KINDS)
        for own in ("raw", "x509", "ssh"):
            for believed in ("raw", "x509", "ssh"):
                pair = self.between(server, self.clientOf(own, believed))
                self.assertUp(pair, "lamp", own, believed)

    def test_anonymous(self) -> None:
        """A client without a key is admitted if that is said, and not if it is not."""
        given = {**self.serverOf("x509"), "anonymous": "yes"}
        client = {"trustRoots": self.path("roots.pem")}
        pair = self.between(given, client)
        assert pair.server.session is not None
        self.assertTrue(pair.server.session.peer.anonymous)
        refused = self.between(self.serverOf("x509"), client)
        (told,) = refused.client.of("terminated")
        self.assertIs(told.code, ErrorCode.CREDENTIAL_REQUIRED)

    def test_noCommonKind(self) -> None:
        """A server whose every credential a client cannot check is left; both learn just that."""
        for server, client in (("raw", "x509"), ("x509", "ssh"), ("ssh", "x509")):
            pair = self.between(self.serverOf(server), self.clientOf(client))
            (told,) = pair.client.of("terminated")
            self.assertIs(told.code, ErrorCode.NO_COMMON_CREDENTIAL, (server, client))

    def test_strangers(self) -> None:
        """A thing that proves what this server does not believe is refused; why is logged here."""
        server = self.serverOf(*KINDS)
        IdentityKey.generate().save(self.path("stranger"))
        raw = {**self.clientOf("raw"), "identity": self.path("stranger")}
        pair = self.between(server, raw)
        self.assertRefused(pair.server, pair.client, "is not in", self.path("things"))

        self.chain("stranger.pem", "lamp", CLIENT, root("another root"))
        x509s = {**self.clientOf("x509"), "certificate": self.path("stranger.pem")}
        pair = self.between(server, x509s)
        self.assertRefused(pair.server, pair.client, "certificate")

        self.authority("another")
        self.certify("-V", "-1h:+1h", "-n", "lamp", ca="another", name="lamp")
        pair = self.between(server, self.clientOf("ssh"))
        self.assertRefused(pair.server, pair.client, "no authority in", self.path("ca.pub"))

    def test_otherPresharedKey(self) -> None:
        """A key that is not the server's under this name is no key: no session, and no detail."""
        self.pem("preshared", f"{PresharedKey.generate(b'lamp').secretLine()}\n".encode())
        pair = self.between(self.serverOf("preshared"), self.clientOf("preshared"))
        self.assertIsNone(pair.server.session)
        (told,) = pair.client.of("terminated")
        self.assertIs(told.cause, Cause.REJECTED)
        self.assertIn(told.detail, UNTOLD)

    def test_wrongServers(self) -> None:
        """A server that is not the one that was meant is refused; it learns just the code."""
        server = self.serverOf(*KINDS)
        pin = IdentityKey.generate().fingerprint
        pair = self.between(server, {**self.clientOf("raw"), "serverKey": pin})
        self.assertRefused(pair.client, pair.server, self.pin, pin)
        for kind in ("x509", "ssh"):
            named = {**self.clientOf(kind), "serverName": "b.example"}
            if kind == "ssh":
                named["authorities"] = self.path("ca.pub")
            pair = self.between(server, named)
            self.assertRefused(pair.client, pair.server, "not for b.example, but for", HOST)

    def test_revoked(self) -> None:
        """What the lists revoke is refused from the next reading on."""
        given = self.wholeServer()
        choice = self.server(given)
        client = self.clientOf("ssh")
        self.assertUp(self.between(given, client), "lamp", "ssh", "ssh")
        sshKeygen("-q", "-k", "-u", "-f", self.path("krl"), self.path("lamp-cert.pub"))
        lamp = self.client(client).credential
        identity = Identity(
            CredentialKind.SSH_CERTIFICATE,
            IdentityKey.load(self.path("lamp")).publicKey,
            credential=lamp.data,
        )
        choice.authorizer.authorize(identity)
        now = atOnce(choice.again()).authorizer
        self.assertIn("revoked", str(self.assertRaises(NotAuthorized, now.authorize, identity)))
        pair = self.between(given, client)
        self.assertRefused(pair.server, pair.client, "revoked")

    def test_revokedRaw(self) -> None:
        """They bind whatever has a key: a raw one, and the one in a certificate of X.509."""
        self.pem("revoked", b"")
        for kind in "raw", "x509":
            given = {**self.serverOf(kind), "revoked": self.path("revoked")}
            if kind == "raw":
                line = IdentityKey.load(self.path("lamp")).publicLine().encode()
            else:
                line = self.sshLine("lamp.pem")
            self.pem("revoked", b"")
            self.assertUp(self.between(given, self.clientOf(kind)), "lamp", kind, kind)
            self.pem("revoked", line)
            pair = self.between(given, self.clientOf(kind))
            self.assertRefused(pair.server, pair.client, "is revoked by", self.path("revoked"))

    def test_revokedServers(self) -> None:
        """A server's key that a client has marked as revoked is refused in a certificate, too."""
        key = IdentityKey.load(self.path("server")).publicLine().encode()
        for kind, line in (
            ("ssh", key),
            ("ssh", Path(self.path("ca.pub")).read_bytes()),
            ("x509", self.sshLine("server.pem")),
        ):
            client = {**self.clientOf(kind), "knownServers": self.path("servers")}
            self.pem("servers", b"")
            server = self.serverOf(kind)
            self.assertUp(self.between(server, client), "lamp", kind, kind)
            self.pem("servers", f"@revoked [{HOST}]:{PORT + 1} ".encode() + line)
            self.assertUp(self.between(server, client), "lamp", kind, kind)
            self.pem("servers", f"@revoked [{HOST}]:{PORT} ".encode() + line)
            pair = self.between(server, client)
            self.assertRefused(pair.client, pair.server, "is revoked by", self.path("servers:1"))

    def sshLine(self, certificate: str) -> bytes:
        """The public key of a certificate, as ssh has it."""
        found = x509.load_pem_x509_certificates(Path(self.path(certificate)).read_bytes())[0]
        return found.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n"
