"""What ``thing conformance`` does: it sets the examination up, and prints what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import click
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, maybeDeferred
from twisted.internet.error import CannotListenError

from thing.cli.exits import CommandError, ExitCode, complain
from thing.cli.formats import Columns, colourWanted, visible
from thing.cli.options import ClientOptions
from thing.cli.output import asLine, write
from thing.cli.servers import choiceOf
from thing.cli.session import catchSignals, runToExit, warningsTold
from thing.conformance.asclient import ClientChoice
from thing.conformance.asserver import ServerChoice
from thing.conformance.bench import Bench, ClientBench, NotReached, ServerBench, Terms
from thing.conformance.catalogue import CHECKS, checksFor
from thing.conformance.check import Check, Outcome, Profile
from thing.conformance.examination import Examination, Result, passed
from thing.conformance.line import Lines
from thing.conformance.verdict import Failed
from thing.core.credentials import Anonymous
from thing.core.messages import Role
from thing.core.preshared import presharedKey
from thing.errors import NotAuthorized
from thing.identity import Identity
from thing.session.hosts import SystemResolver
from thing.trust.keys import IdentityKey
from thing.trust.preshared import PresharedKey

_OURS = frozenset({"identity", "passphraseFile", "presharedKey"})
"""The keywords of trust that are of use when this side is the server."""

_COLOURS = {Outcome.FAILS: "red", Outcome.DIFFERS: "yellow", Outcome.NOT_TRIED: "bright_black"}


def listChecks() -> None:
    """
    Print all checks, with the role that each examines and its section.

    :raises ReaderGone: if nobody reads them.
    """
    columns = Columns(["CHECK", "EXAMINES", "SECTION"])
    rows = [
        [each.name, " and ".join(sorted(f"{role.name.lower()}s" for role in each.examines)),
         each.section]
        for each in sorted(CHECKS, key=lambda each: each.name)
    ]  # fmt: skip
    lines = columns.lines(rows)
    write([*columns.lines([columns.headings]), *lines])


class Conforming:
    """A run of ``thing conformance``."""

    def __init__(
        self,
        options: ClientOptions,
        listen: bool,
        profile: str,
        only: Sequence[str],
        without: Sequence[str],
        label: str,
        asJson: bool,
    ) -> None:
        """
        :param options: what the user chose of a session.
        :param listen: whether to examine clients.
        :param profile: what the peer claims to be.
        :param only: patterns of the names of checks; all if there are none.
        :param without: patterns of the names of those that are left out.
        :param label: of the streams that are opened.
        :param asJson: whether to print JSON.
        :raises click.UsageError: if that makes no sense.
        """
        self._options = options
        self._listen = listen
        self._profile = Profile(profile)
        self._label = label
        self._asJson = asJson
        self._section = ""
        self._checks = list(self._chosen(only, without))
        self._check()

    def _chosen(self, only: Sequence[str], without: Sequence[str]) -> Iterator[Check]:
        checks = checksFor(Role.CLIENT if self._listen else Role.SERVER, self._profile)
        for pattern in (*only, *without):
            if not any(fnmatchcase(each.name, pattern) for each in checks):
                raise click.UsageError(f"no check here is called {pattern!r}; --list lists them")
        for each in checks:
            wanted = not only or any(fnmatchcase(each.name, pattern) for pattern in only)
            if wanted and not any(fnmatchcase(each.name, pattern) for pattern in without):
                yield each

    def _check(self) -> None:
        if not 0 < len(self._label.encode(errors="replace")) <= 255:
            raise click.UsageError("a label has 1 to 255 octets of UTF-8")
        if not self._listen:
            return
        if self._options.target.isEndpoint:
            raise click.UsageError(f"not HOST:PORT to listen at: {self._options.target.text}")
        if not self._options.trust.keys() <= _OURS:
            raise click.UsageError(
                "with --listen, of the options of trust only --identity, --passphrase-file and "
                "--preshared-key are of use"
            )

    def run(self, parallel: int) -> None:
        """
        Examine, print, and exit.

        :param parallel: how many checks at once.
        :raises SystemExit: always, with the exit code.
        :raises CommandError: if it cannot listen.
        :raises CredentialError: if a key or a file cannot be used.
        """
        from twisted.internet import reactor

        terms = Terms(
            clock=reactor,
            patience=self._options.timeout,
            profile=self._profile,
            label=self._label,
        )
        with warningsTold():
            bench = self._clients(terms) if self._listen else self._servers(terms)
        runToExit(lambda reactor: self._examine(reactor, bench, parallel))

    async def _examine(self, reactor: Any, bench: Bench[Any], parallel: int) -> ExitCode:
        examination = Examination(bench, self._checks, self._tell)
        running: Deferred[list[Result]] = ensureDeferred(examination.run(parallel))
        catchSignals(reactor, lambda number: running.cancel())
        try:
            results = await running
        except NotReached as problem:
            raise CommandError(str(problem), ExitCode.NOT_CONNECTED) from None
        except CancelledError:
            raise CommandError("interrupted", ExitCode.INTERRUPTED) from None
        self._sum(results)
        if not examination.reached:
            raise CommandError(f"no peer at {self._options.target.text}", ExitCode.NOT_CONNECTED)
        return ExitCode.GOODBYE if passed(results) else ExitCode.NOT_CONFORMING

    # The two ways.

    def _servers(self, terms: Terms) -> ServerBench:
        choice = choiceOf(self._options)
        credential, kinds = choice.credential, choice.authorizer.peerKinds
        offer = None
        if isinstance(credential, PresharedKey):
            offer, credential = presharedKey(credential.identity, credential.key), Anonymous()

        async def decide(identity: Identity) -> None:
            try:
                await maybeDeferred(choice.authorizer.authorize, identity)
            except NotAuthorized as refusal:
                raise Failed(f"the server is not trusted: {refusal}") from None

        clock = terms.clock
        clock.installNameResolver(SystemResolver(clock))
        endpoint = self._options.target.endpoint(clock, terms.patience)
        client = ClientChoice(credential=credential, kinds=kinds, decide=decide, offer=offer)
        return ServerBench(terms, endpoint, client)

    def _clients(self, terms: Terms) -> ClientBench:
        trust = {"anonymous": "yes", **self._options.trust}
        keys = {}
        if "presharedKey" in trust:
            shared = PresharedKey.load(trust["presharedKey"])
            keys[shared.identity] = shared.key
        key = choiceOf(self._options).credential if "identity" in trust else IdentityKey.generate()
        if not isinstance(key, IdentityKey):
            raise CommandError("the server's identity is a raw Ed25519 key here")
        target, lines = self._options.target, Lines(Role.CLIENT)
        assert target.server is not None, "a host and a port were parsed"
        host, port = target.server
        try:
            terms.clock.listenTCP(port, lines, interface=host)
        except CannotListenError as error:
            raise CommandError(f"cannot listen at {target.text}: {error.socketError}") from None
        complain(f"listening at {target.text}; the server's key is {key.fingerprint}")
        return ClientBench(terms, lines, ServerChoice(credential=key, presharedKeys=keys))

    # What is printed.

    def _tell(self, result: Result) -> None:
        if self._asJson:
            write([asLine(_asJson(result))])
            return
        lines = []
        if result.check.section != self._section:
            self._section = result.check.section
            lines += [f"{self._section}:"]
        why = f": {visible(result.why)}" if result.why else ""
        line = f"  {result.outcome.value:<9}  {result.check.name}{why}"
        colour = _COLOURS.get(result.outcome) if colourWanted() else None
        lines.append(click.style(line, fg=colour) if colour else line)
        if result.outcome is Outcome.FAILS or self._options.verbose:
            lines.append(f'             "{result.check.sentence}"')
        write(lines)

    def _sum(self, results: Sequence[Result]) -> None:
        if self._asJson:
            return
        counts = Counter(result.outcome for result in results)
        write(
            [
                "",
                f"{counts[Outcome.HOLDS]} hold, {counts[Outcome.FAILS]} fail, "
                f"{counts[Outcome.DIFFERS]} differ from what is recommended, "
                f"{counts[Outcome.NOT_TRIED]} were not tried",
            ]
        )


def _asJson(result: Result) -> dict[str, Any]:
    return {
        "name": result.check.name,
        "section": result.check.section,
        "sentence": result.check.sentence,
        "outcome": result.outcome.value.lower(),
        "why": result.why,
        "seconds": round(result.seconds, 3),
    }
