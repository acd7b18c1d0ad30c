"""Connections to a real Redis: TLS, passwords, Sentinels, and what is not answered."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT
from tests.certificates import writeCertificate
from tests.fleet.redis.redises import PATIENCE, FleetCase, RedisClient, RedisServer, redisProgram
from thing.fleet.redis import connection
from thing.fleet.redis.address import parseAddress
from thing.fleet.redis.connection import ANSWER_TIME, Link, RegistryAway, RegistryRefused
from thing.fleet.redis.endpoints import endpointOf, logIn
from thing.fleet.redis.script import pairsOf
from thing.session.clock import SteadyClock


def freePort() -> int:
    """A port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class LinkCase(FleetCase):
    """Tests with links, which are stopped at the end."""

    def link(self, url: str, **choices: Any) -> Link:
        """A link to an address; what it says when it is down is in ``reasons``."""
        address = parseAddress(url)
        clock = SteadyClock.of(self.reactor)
        self.reasons: list[str] = []
        endpoint = choices.pop("endpoint", None) or endpointOf(self.reactor, clock, address)
        link = Link(
            endpoint,
            clock,
            lambda: 0.5,
            prepare=lambda link: logIn(link, address),
            onUp=lambda: None,
            onDown=self.reasons.append,
            **choices,
        )
        self.addCleanup(link.stop)
        link.start()
        return link

    async def up(self, url: str, **choices: Any) -> Link:
        """A link that is up."""
        link = self.link(url, **choices)
        await self.until(lambda: link.up)
        return link

    async def refused(self, url: str) -> str:
        """Why a link does not come up."""
        link = self.link(url)
        await self.until(lambda: len(self.reasons) >= 2)
        self.assertFalse(link.up)
        return self.reasons[-1]


class LinkTests(LinkCase):
    """One connection."""

    async def test_answers(self) -> None:
        """Answers are octets, numbers, None and lists of them, in the order of the questions."""
        link = await self.up(f"unix://{self.redis.path}?db=3")
        answers = [
            link.call("SET", "key", b"\xff\r\n\x00"),
            link.call("GET", "key"),
            link.call("GET", "nothing"),
            link.call("INCR", "number"),
            link.call("LRANGE", "nothing", 0, -1),
        ]
        self.assertEqual([await each for each in answers], [b"OK", b"\xff\r\n\x00", None, 1, []])
        self.assertEqual(self.redis.ask("GET", "key"), None)  # It is another database.
        error = await self.assertFailure(link.call("INCR", "key"), RegistryRefused)
        self.assertFalse(error.passing)

    async def test_long(self) -> None:
        """A long answer is read, too."""
        link = await self.up(f"unix://{self.redis.path}")
        await link.call("SET", "key", "x" * 3_000_000)
        self.assertEqual(len(await link.call("GET", "key")), 3_000_000)

    async def test_lost(self) -> None:
        """What is not answered when the connection is lost fails, and a new one is made."""
        link = await self.up(f"unix://{self.redis.path}")
        self.redis.pause()
        self.addCleanup(self.redis.resume)
        calls = [link.call("PING") for _ in range(3)]
        link.drop("a test")
        for call in calls:
            await self.assertFailure(call, RegistryAway)
        await self.assertFailure(link.call("PING"), RegistryAway)
        self.redis.resume()
        await self.until(lambda: link.up)
        self.assertEqual(await link.call("PING"), b"PONG")

    async def test_deadline(self) -> None:
        """Nobody waits longer for an answer than they may."""
        link = await self.up(f"unix://{self.redis.path}")
        self.redis.pause()
        self.addCleanup(self.redis.resume)
        began = time.monotonic()
        await self.assertFailure(link.call("PING"), RegistryAway)
        self.assertGreaterEqual(time.monotonic() - began, ANSWER_TIME - 0.1)
        await self.until(lambda: bool(self.reasons))
        self.assertIn("no answer within 2 s", self.reasons[0])

    async def test_heldUp(self) -> None:
        """A process whose turns take longer than an answer may still reads what was answered."""
        link = await self.up(f"unix://{self.redis.path}")
        self.patch(connection, "ANSWER_TIME", 0.5)
        await self.until(lambda: link._watch is None)
        await link.call("PING")  # From here on the reactor is in the middle of its turn.
        answer = link.call("PING")
        for _ in range(5):
            time.sleep(0.6)
            await self.later(0)
        self.assertEqual(await answer, b"PONG")
        self.assertEqual(self.reasons, [])

    async def test_whoWaitsNoMore(self) -> None:
        """A question that nobody waits for any more changes nothing for the others."""
        link = await self.up(f"unix://{self.redis.path}")
        first, second = link.call("PING"), link.call("ECHO", "second")
        first.addErrback(lambda _: None)
        first.cancel()
        self.assertEqual(await second, b"second")
        await self.later(ANSWER_TIME + 0.5)
        self.assertEqual(self.reasons, [])

    async def test_stoppedAnyTime(self) -> None:
        """It can be stopped before, while and after it connects, and then does nothing more."""
        for pause in (None, 0.0, 0.05):
            link = self.link(f"unix://{self.redis.path}")
            if pause is not None:
                await self.later(pause)
            await link.stop()
            self.assertFalse(link.up)
            await link.stop()
        link = self.link("unix:///nowhere.sock")
        await self.until(lambda: len(self.reasons) > 0)
        await link.stop()

    async def test_closedAtOnce(self) -> None:
        """A server that hangs up at once is tried again, ever less often."""
        network = await self.network("x")
        network.mode = "reset"
        link = self.link(f"unix://{network.path}")
        await self.until(lambda: len(self.reasons) >= 3)
        network.mode = "open"
        await self.until(lambda: link.up)

    async def test_quiet(self) -> None:
        """Tries to connect leave nothing in the log, however many there are."""
        logged: list[Any] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        link = self.link("unix:///nowhere.sock")
        await self.until(lambda: len(self.reasons) >= 3)
        await link.stop()
        link = await self.up(f"unix://{self.redis.path}")
        await link.stop()
        self.assertEqual([formatEvent(event) for event in logged], [])

    async def test_noRedis(self) -> None:
        """A server that talks nonsense is none."""
        link = await self.up(f"unix://{self.redis.path}")
        protocol: Any = link._protocol
        call: Deferred[Any] = link.call("PING")
        protocol.dataReceived(b"+PONG\r\n!nonsense\r\n")
        self.assertEqual(await call, b"PONG")
        await self.until(lambda: bool(self.reasons))
        self.assertIn("it is no Redis", self.reasons[0])
        await self.until(lambda: link.up)


class RefusalTests(SynchronousTestCase):
    """Which errors are the registry's state, and which the fault of what it was asked."""

    def test_passing(self) -> None:
        """It is told by the first word, wherever an older Redis puts it."""
        for text in (
            "READONLY You can't write against a read only replica.",
            "ERR Error running script (call to f_0): @user_script:12: @user_script: 12: "
            "-READONLY You can't write against a read only replica.",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "NOSCRIPT No matching script.",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "NOPERM this user has no permissions to run the 'zcard' command",
            "ERR Error running script (call to f_0): @user_script:12: @user_script: 12: "
            "-NOPERM The user executing the script can't run this command or subcommand",
            "ERR The user executing the script can't run this command or subcommand script: 0",
            "ERR ACL failure in script: User x has no permissions to run the 'zcard' command",
        ):
            self.assertTrue(RegistryRefused(text).passing, text)
        for text in ("ERR value is not an integer", "ERR unknown command", "BUSYGROUP x"):
            self.assertFalse(RegistryRefused(text).passing, text)


class PasswordTests(LinkCase):
    """Redis lets in only who knows a password."""

    redisOptions = ("--requirepass", "right")

    def setUp(self) -> None:
        self.patch(RedisServer, "wait", self.waitForSocket)
        super().setUp()

    @staticmethod
    def waitForSocket(server: RedisServer) -> None:
        until = time.monotonic() + PATIENCE
        while not os.path.exists(server.path) and time.monotonic() < until:
            time.sleep(0.02)

    async def test_right(self) -> None:
        """The password lets in, a user's of an access list as well."""
        link = await self.up(f"unix://{self.redis.path}?password=right")
        rules = ("on", ">hidden", "~thing:*", "&thing:*", "+@all")
        await link.call("ACL", "SETUSER", "node", *rules)
        other = await self.up(f"unix://{self.redis.path}?user=node&password=hidden")
        error = await self.assertFailure(other.call("GET", "elsewhere"), RegistryRefused)
        self.assertTrue(error.passing)

    async def test_wrong(self) -> None:
        """A wrong password, or none, is said to be wrong, and not what it was."""
        reason = await self.refused(f"unix://{self.redis.path}?password=mistaken")
        self.assertIn("WRONGPASS", reason)
        self.assertNotIn("mistaken", reason)

    async def test_changed(self) -> None:
        """A password that was wrong and is not any more needs no restart."""
        path = os.path.join(self.redis.directory, "password")
        with open(path, "w") as file:
            file.write("wrong")
        os.chmod(path, 0o600)
        link = self.link(f"unix://{self.redis.path}?passwordFile={path}")
        await self.until(lambda: len(self.reasons) >= 1)
        with open(path, "w") as file:
            file.write("right\n")
        await self.until(lambda: link.up)

    async def test_accessList(self) -> None:
        """A node needs no more rights than the documentation says."""
        link = await self.up(f"unix://{self.redis.path}?password=right")
        with (PROJECT / "docs" / "scaling.rst").open() as file:
            (line,) = [line for line in file if "ACL SETUSER thing" in line]
        _, _, _, *rules = line.split()
        self.assertEqual(await link.call("ACL", "SETUSER", "thing", *rules), b"OK")
        password = next(rule[1:] for rule in rules if rule.startswith(">"))
        url = f"unix://{self.redis.path}?user=thing&password={password}"
        nodes = [await self.node(name, url=url) for name in ("a", "b")]
        await self.connected(*nodes)
        nodes[0].presence.subscribe(nodes[0].told.append).start()
        await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        self.assertEqual(await nodes[1].presence.deliver("lamp", b"x", 9.0), b"answer to x")
        await self.connect(nodes[1], "lamp")
        await self.assertHere({"lamp": "b"}, *nodes)
        await self.until(lambda: len(nodes[0].events()) == 2)
        keeper = nodes[0].presence._keeper
        self.assertEqual(await keeper.script.sweep(keeper.link, 9.0), 0)
        await keeper._disown()
        await nodes[1].stop()
        told = {each.node: each.status for each in await nodes[0].presence.nodes()}
        self.assertEqual(told, {"a": "up", "b": "stopped"})
        self.assertEqual([node.presence._keeper.outbox.refused for node in nodes], [0, 0])


class TlsTests(LinkCase):
    """Redis over TLS."""

    async def tls(self, host: str, authClients: str = "no") -> tuple[str, int]:
        """A Redis with a certificate for a host; the certificate, and the port."""
        self.redis.remove()
        directory = RedisServer().directory
        pem = writeCertificate(os.path.join(directory, "redis.pem"), host)
        os.chmod(pem, 0o600)
        port = freePort()
        self.redis = RedisServer(
            *("--tls-port", str(port), "--bind", "127.0.0.1", "--tls-auth-clients", authClients),
            *("--tls-cert-file", pem, "--tls-key-file", pem, "--tls-ca-cert-file", pem),
        )
        self.redis.start()
        self.addCleanup(self.redis.remove)
        return pem, port

    async def test_believed(self) -> None:
        """A certificate of an authority that is named, for the host that is asked, is believed."""
        pem, port = await self.tls("localhost")
        link = await self.up(f"rediss://localhost:{port}/1?ca={pem}")
        self.assertEqual(await link.call("PING"), b"PONG")
        node = await self.node("a", url=f"rediss://localhost:{port}?ca={pem}")
        await self.connected(node)

    async def test_unknownAuthority(self) -> None:
        """A certificate of an authority that nobody believes is refused."""
        pem, port = await self.tls("localhost")
        other = writeCertificate(os.path.join(os.path.dirname(pem), "other.pem"), "localhost")
        for choice in (f"?ca={other}", ""):
            reason = await self.refused(f"rediss://localhost:{port}{choice}")
            self.assertIn("certificate verify failed", reason)

    async def test_otherHost(self) -> None:
        """A certificate for another host is refused."""
        pem, port = await self.tls("elsewhere.example")
        reason = await self.refused(f"rediss://localhost:{port}?ca={pem}")
        self.assertIn("VerificationError", reason)

    async def test_ownCertificate(self) -> None:
        """A Redis that wants to see a certificate, as it does by default, is shown one."""
        pem, port = await self.tls("localhost", "yes")
        url = f"rediss://localhost:{port}?ca={pem}"
        self.assertIn("certificate required", await self.refused(url))
        link = await self.up(f"{url}&cert={pem}")
        self.assertEqual(await link.call("PING"), b"PONG")
        node = await self.node("a", url=f"{url}&cert={pem}&key={pem}")
        await self.connected(node)

    async def test_renewed(self) -> None:
        """A certificate that was renewed, or is broken for a while, needs no restart."""
        pem, port = await self.tls("localhost", "yes")
        own = f"{pem}.own"
        shutil.copy(pem, own)
        link = self.link(f"rediss://localhost:{port}?ca={pem}&cert={own}")
        await self.until(lambda: link.up)
        with open(own, "w"):
            pass
        link.drop("the test drops it")
        await self.until(lambda: "it holds no certificate" in "".join(self.reasons))
        shutil.copy(pem, own)
        await self.until(lambda: link.up)

    async def test_noTls(self) -> None:
        """A server that does not speak TLS is not spoken to without it."""
        port = freePort()
        self.redis.ask("CONFIG", "SET", "port", port)
        reason = await self.refused(f"rediss://127.0.0.1:{port}")
        self.assertIn("no answer", reason)


class SentinelTests(LinkCase):
    """The master is found, and found again."""

    def sentinel(
        self, port: int, quorum: int, master: int, more: str = "", host: str = "127.0.0.1"
    ) -> None:
        """Start a Sentinel; on no port without TLS if it is zero."""
        directory = RedisServer().directory
        path = os.path.join(directory, "sentinel.conf")
        with open(path, "w") as file:
            file.write(
                f"port {port}\nbind 127.0.0.1\ndir {directory}\nlogfile {directory}/log\n"
                f"{more}"
                f"sentinel monitor main {host} {master} {quorum}\n"
                "sentinel down-after-milliseconds main 1000\n"
                "sentinel failover-timeout main 10000\n"
            )
        process = subprocess.Popen(
            [redisProgram(), path, "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def end() -> None:
            process.kill()
            process.wait()
            RedisServer.remove(holder)

        holder = RedisServer()
        holder.directory = directory
        self.addCleanup(end)

    async def test_failover(self) -> None:
        """The master dies, a replica is made master: the nodes find it, and presence is right."""
        first, second, sentinel = freePort(), freePort(), freePort()
        for option, value in (("bind", "127.0.0.1"), ("port", first)):
            self.redis.ask("CONFIG", "SET", option, value)
        replica = RedisServer("--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0").start()
        self.addCleanup(replica.remove)
        replica.ask("CONFIG", "SET", "port", second)
        replica.ask("REPLICAOF", "127.0.0.1", first)
        await self.until(lambda: b"master_link_status:up" in replica.ask("INFO", "replication"))
        self.sentinel(sentinel, 1, first)
        url = f"redis+sentinel://127.0.0.1:{freePort()},127.0.0.1:{sentinel}/main/0"
        nodes = [await self.node(name, url=url) for name in ("a", "b")]
        await self.connected(*nodes)
        lamp = await self.connect(nodes[0], "lamp")
        await self.assertHere({"lamp": "a"}, *nodes)
        # The Sentinel must know of the replica before the master dies.
        await self.until(lambda: self.replicasOf(sentinel) == 1)
        self.redis.kill()
        await self.until(lambda: all(node.presence.registry == "away" for node in nodes))
        await self.connect(nodes[1], "door")
        await self.until(lambda: b"role:master" in replica.ask("INFO", "replication"))
        await self.assertHere({"lamp": "a", "door": "b"}, *nodes)
        self.assertIsNone(lamp.termination)

    @staticmethod
    def replicasOf(port: int) -> int:
        """How many replicas a Sentinel knows of that can become master."""
        with RedisClient(port) as client:
            replicas = client.ask("SENTINEL", "REPLICAS", "main")
        return [dict(pairsOf(each))[b"flags"] for each in replicas].count(b"slave")

    async def test_password(self) -> None:
        """Sentinels let in who knows their password, and not who knows the registry's."""
        master, sentinel = freePort(), freePort()
        for option, value in (("bind", "127.0.0.1"), ("port", master), ("requirepass", "one")):
            self.redis.ask("CONFIG", "SET", option, value)
        self.sentinel(sentinel, 1, master, "requirepass two\n")
        url = f"redis+sentinel://:one@127.0.0.1:{sentinel}/main"
        self.assertIn("NOAUTH", await self.refused(url))
        self.assertIn("WRONGPASS", await self.refused(f"{url}?sentinelPassword=one"))
        for choice in ("sentinelPassword=two", "sentinelUser=default&sentinelPassword=two"):
            await self.up(f"{url}?{choice}")
        node = await self.node("a", url=f"{url}?sentinelPassword=two")
        await self.connected(node)

    async def test_tls(self) -> None:
        """Sentinels and master are reached over TLS, with a certificate of this node's."""
        self.redis.remove()
        pem = writeCertificate(os.path.join(self.mktemp() + ".pem"), "localhost")
        pem = os.path.abspath(pem)
        os.chmod(pem, 0o600)
        master, sentinel = freePort(), freePort()
        files = [("tls-cert-file", pem), ("tls-key-file", pem), ("tls-ca-cert-file", pem)]
        options = [word for name, value in files for word in (f"--{name}", value)]
        self.redis = RedisServer("--tls-port", str(master), *options)
        self.redis.start()
        self.addCleanup(self.redis.remove)
        more = "".join(f"{name} {value}\n" for name, value in files)
        more += f"tls-port {sentinel}\ntls-replication yes\n"
        more += "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n"
        self.sentinel(0, 1, master, more, "localhost")
        url = f"rediss+sentinel://localhost:{sentinel}/main?ca={pem}"
        self.assertIn("no Sentinel names a master", await self.refused(url))
        link = await self.up(f"{url}&cert={pem}")
        self.assertEqual(await link.call("PING"), b"PONG")
        node = await self.node("a", url=f"{url}&cert={pem}")
        await self.connected(node)

    async def test_noMaster(self) -> None:
        """Sentinels that know nothing of the service are said to."""
        sentinel = freePort()
        self.sentinel(sentinel, 1, freePort())
        reason = await self.refused(f"redis+sentinel://127.0.0.1:{sentinel}/other")
        self.assertIn("no Sentinel names a master", reason)
