"""
The page's modules by themselves, under Node.js: those that touch no element of a page.

Their tests are the files ``*.test.mjs`` beside this one. While you write them,
``node --test tests/fleet/page/*.test.mjs`` runs them alone.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT
from thing.fleet.page import join

HERE = Path(__file__).parent
SOURCES = Path(PROJECT) / "thing" / "fleet" / "page"

NODE = shutil.which("node") or ""
MISSING = "" if NODE else "node is not installed (18 or newer; Debian's package is nodejs)"

IMPORT = re.compile(r"^import .*?'\./([\w-]+)\.mjs';$", re.MULTILINE | re.DOTALL)

OF_THE_PAGE = re.compile(r"\b(?:document|location|sessionStorage|window)[.(]")
"""What only a page in a browser has; when its frames come a test can say, too."""


def run(*arguments: str, cwd: Path = HERE) -> str:
    """
    Run Node.js.

    :param arguments: of its command line.
    :param cwd: its working directory.
    :return: what it wrote.
    :raises AssertionError: it failed; the error holds all that it wrote.
    """
    done = subprocess.run(
        [NODE, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"node exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def modulesWithoutPage() -> set[str]:
    """The modules that can run without a page: they and what they import touch nothing of one."""
    sources = {path.stem: path.read_text("utf-8") for path in SOURCES.glob("*.mjs")}
    touching = {name for name, source in sources.items() if OF_THE_PAGE.search(source)}
    while more := {
        name
        for name, source in sources.items()
        if name not in touching and touching.intersection(IMPORT.findall(source))
    }:
        touching |= more
    return set(sources) - touching


class ModuleTests(SynchronousTestCase):
    """What the modules do, each by itself."""

    skip = MISSING or None

    def test_behaviours(self) -> None:
        """Each module that needs no page does what its tests say."""
        files = sorted(path.name for path in HERE.glob("*.test.mjs"))
        imports = "".join(f"import './{name}';" for name in files)
        told = run("--test-reporter=tap", "--input-type=module", "--eval", imports)
        passed = re.findall(r"^# pass (\d+)$", told, re.MULTILINE)
        self.assertEqual(len(passed), 1, told)
        self.assertGreater(int(passed[0]), len(files))

    def test_everyModule(self) -> None:
        """Every module that needs no page has tests, and those that have tests need none."""
        tested = {path.name.partition(".")[0] for path in HERE.glob("*.test.mjs")}
        self.assertEqual(modulesWithoutPage(), tested)

    def test_joinedAsApart(self) -> None:
        """Modules do the same in one script as apart: in their order, each with its own names."""
        sources = {
            "index.html": '<link rel="stylesheet" href="a.css">'
            '<script type="module" src="main.mjs"></script>',
            "a.css": "",
            "main.mjs": "import {one} from './one.mjs';\nimport {two, Two} from './two.mjs';\n"
            "const own = 'main';\nconsole.log(own, one(), two, new Two().own);\n"
            "console.log(context());\nfunction context() { return typeof this; }\n",
            "one.mjs": "import {two} from './two.mjs';\nconst own = 'one';\n"
            "console.log(own);\nexport function one() { return own + two; }\n",
            "two.mjs": "export const two = 2;\nconst own = 'two';\nconsole.log(own);\n"
            "export class Two { own = own; }\n",
        }
        directory = Path(self.mktemp())
        directory.mkdir()
        for name, text in sources.items():
            (directory / name).write_text(text, "utf-8")
        script = join(sources.__getitem__).partition("<script>")[2].partition("</script>")[0]
        apart = run("main.mjs", cwd=directory)
        self.assertEqual(run("--eval", script, cwd=directory), apart)
        self.assertEqual(apart, "two\none\nmain one2 2 two\nundefined\n")
