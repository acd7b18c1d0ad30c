"""The models for Spin have the code's tables, and the page tells of all of them."""

import contextlib
import io
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from formal.run import SKIPPED
from formal.spin import run, tables
from formal.spin.run import MODELS, MUTATIONS, Model, digest, main, texts
from tests import PROJECT
from thing.core.states import TRANSITIONS
from thing.core.stream import STREAM_TRANSITIONS

PAGE = PROJECT / "docs" / "proof-states.rst"


class TablesTests(SynchronousTestCase):
    """What is made from the code"""

    def test_current(self) -> None:
        """The file in the repository is what the code gives."""
        self.assertEqual(tables.main(["--check"]), 0)

    def test_complete(self) -> None:
        """Each legal input of each state is there, and each refuses all others."""
        text = tables.tables()
        rows = [*STREAM_TRANSITIONS.values()]
        rows += [row for table in TRANSITIONS.values() for row in table.values()]
        self.assertEqual(text.count(":: input == "), sum(map(len, rows)))

    def test_stale(self) -> None:
        """A file that is not is noticed."""
        stale = Path(self.mktemp())
        stale.write_text(tables.tables() + " ")
        with mock.patch.object(tables, "PAGE", stale):
            self.assertEqual(tables.main(["--check"]), 1)
            self.assertEqual(tables.main([]), 0)
            self.assertEqual(tables.main(["--check"]), 0)

    def test_arguments(self) -> None:
        """What it does not know is refused with what it does know, and nothing is written."""
        kept = Path(self.mktemp())
        kept.write_text("kept")
        with mock.patch.object(tables, "PAGE", kept):
            for arguments in (["--help"], ["--check", "more"]):
                said = io.StringIO()
                with contextlib.redirect_stderr(said):
                    self.assertEqual(tables.main(arguments), 2)
                self.assertIn("formal.spin.tables", said.getvalue())
        self.assertEqual(kept.read_text(), "kept")


class ModelsTests(SynchronousTestCase):
    """What Spin gets"""

    def test_mutations(self) -> None:
        """Each changes what stands in its model, or in the tables, once."""
        for mutation in MUTATIONS:
            self.assertNotEqual(texts(mutation), texts(Model("whole", mutation.file)))

    def test_nowhere(self) -> None:
        """One that changes nothing is an error."""
        self.assertRaises(ValueError, texts, Model("none", "ends.pml", old="not there"))

    def test_page(self) -> None:
        """The page has each model and each mutation."""
        page = " ".join(PAGE.read_text().split())
        for model in (*MODELS, *MUTATIONS):
            self.assertIn(model.name, page)

    def test_digest(self) -> None:
        """The page tells of the models as they are now: it has the hash of what Spin had."""
        self.assertIn(digest(), PAGE.read_text())
        with mock.patch.object(run, "MODELS", MODELS[1:]):
            self.assertNotIn(digest(), PAGE.read_text())

    def test_skipped(self) -> None:
        """Without Spin nothing is run, and that is said."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), mock.patch("shutil.which", lambda name: None):
            self.assertEqual(main([]), SKIPPED)
        self.assertIn("Skipped", said.getvalue())

    def test_arguments(self) -> None:
        """It takes none: asked for anything, it tells what it does, and runs nothing."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said), mock.patch.object(run, "check") as check:
            self.assertEqual(main(["--help"]), 2)
        self.assertIn("formal.spin.run", said.getvalue())
        check.assert_not_called()
