"""The models of the protocol are those of the code, and the results are those of the models."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from formal.claims import MODELS_DIRECTORY, Claim, Model, Mutation, Run, Verdict, runs
from formal.results import PAGE, Result, faults, load, page
from formal.run import MODELS, SKIPPED, main
from tests import PROJECT
from thing.core import handshake, keyschedule
from thing.core.catalogue import MESSAGES
from thing.core.extensions import GivenTicket, PresharedOffer, Puzzle, Solution
from thing.core.layout import Message

SECURITY = PROJECT / "docs" / "security.rst"

EXTENSIONS = {each.__name__: each for each in (Puzzle, Solution, PresharedOffer, GivenTicket)}


def stated(kind: str) -> Iterator[tuple[str, str]]:
    """What the models say of one kind: each name, and what is said of it."""
    for path in sorted([*MODELS_DIRECTORY.glob("*.pvl"), *MODELS_DIRECTORY.glob("*.pv")]):
        for found in re.finditer(rf"\(\* {kind} ([^:]+): (.*?) ?\*\)", path.read_text(), re.DOTALL):
            yield found[1], " ".join(found[2].split())


def layoutOf(cls: type[Message]) -> str:
    """A message's layout in the words of the models."""
    pairs = zip(cls.__match_args__, cls.LAYOUT, strict=True)
    return ", ".join(f"{name} {field}" for name, field in pairs) or "nothing"


class ResultTests(SynchronousTestCase):
    """The results and the page"""

    def test_current(self) -> None:
        """Each claim and mutation was run as it stands, and has the verdict that it must have."""
        self.assertEqual(list(faults(MODELS, load())), [])

    def test_page(self) -> None:
        """The page's tables are those of the results."""
        text = PAGE.read_text()
        self.assertEqual(page(MODELS, load(), text), text)

    def test_sentences(self) -> None:
        """Each sentence that a claim shows stands on the page about security."""
        security = " ".join(SECURITY.read_text().split())
        for run in runs(MODELS):
            self.assertIn(run.claim.sentence, security, run.name)

    def test_whys(self) -> None:
        """What is not proved, and what breaks nothing, has a reason; each name is there once."""
        names = [run.name for run in runs(MODELS)]
        self.assertEqual(len(set(names)), len(names))
        for run in runs(MODELS):
            if run.mutation is not None and run.mutation.verdict is not Verdict.BROKEN:
                self.assertTrue(run.mutation.why, run.name)
            if run.claim.verdict is Verdict.OPEN:
                self.assertTrue(run.claim.why, run.name)


class FaultTests(SynchronousTestCase):
    """What is noticed"""

    claim = Claim("possible", "It ends.", "", "query attacker(c).", Verdict.BROKEN)
    model = Model("signatures", "A model", (claim,))

    def faults(self, *results: Result) -> list[str]:
        """The faults if the claim had this result."""
        return list(faults((self.model,), dict.fromkeys(["signatures/possible"], *results)))

    def test_good(self) -> None:
        """A result of the same text with the verdict that is due is none."""
        self.assertEqual(self.faults(Result(Run(self.model, self.claim).hash(), "broken", 1.0)), [])

    def test_changed(self) -> None:
        """A model, or a query, that has changed since."""
        (fault,) = self.faults(Result("0" * 64, "broken", 1.0))
        self.assertIn("has changed", fault)

    def test_wrong(self) -> None:
        """Another verdict."""
        (fault,) = self.faults(Result(Run(self.model, self.claim).hash(), "proved", 1.0))
        self.assertIn("proved, and not broken", fault)

    def test_missing(self) -> None:
        """No result, and one that belongs to nothing."""
        fault, other = faults((self.model,), {"other": Result("", "open", 0.0)})
        self.assertIn("never run", fault)
        self.assertIn("no such run", other)

    def test_nowhere(self) -> None:
        """A mutation of something that does not stand in the model."""
        run = Run(self.model, self.claim, Mutation("none", "nothing", "not there", ""))
        self.assertRaises(ValueError, run.text)

    def test_skipped(self) -> None:
        """Without ProVerif nothing is run, and that is said."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), mock.patch.dict(os.environ, {"PROVERIF": ""}):
            self.assertEqual(main([]), SKIPPED)
        self.assertIn("Skipped", said.getvalue())


class LayoutTests(SynchronousTestCase):
    """What the models were made for"""

    def test_layouts(self) -> None:
        """The fields of each message that is in a model are those of the code."""
        classes = {kind.name: cls for kind, cls in MESSAGES.items()} | EXTENSIONS
        layouts = dict(stated("layout"))
        self.assertLessEqual({"CHI", "SHI", "SDH", "CDH", "SCC", "CCC", "SHF"}, set(layouts))
        for name, layout in layouts.items():
            self.assertEqual(layout, layoutOf(classes[name]), name)

    def test_contexts(self) -> None:
        """The contexts of signatures are those of the code."""
        said = " ".join(text for _, text in stated("proof"))
        for context in keyschedule.SIGNATURE_CONTEXTS.values():
            self.assertIn(f'"{context.decode()}"', said)
        self.assertTrue(handshake.SIGNATURE_CONTEXTS is keyschedule.SIGNATURE_CONTEXTS)
