"""How the page's sources become one document, and what is refused because it would not."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT
from thing.fleet import page
from thing.fleet.page import PageError, document, join

SOURCES = Path(PROJECT) / "thing" / "fleet" / "page"

MARKUP = """\
<!DOCTYPE html>
<link rel="stylesheet" href="style.css">
<body>
<script type="module" src="main.mjs"></script>
"""


def joined(main: str, **modules: str) -> str:
    """
    Join a page that has little but a script.

    :param main: the first module.
    :param modules: the others, by the name without its end.
    """
    sources = {"index.html": MARKUP, "style.css": "p { margin: 0; }\n", "main.mjs": main}
    sources |= {f"{name}.mjs": source for name, source in modules.items()}
    return join(sources.__getitem__)


def isRefused(line: str) -> bool:
    """Tell whether a page cannot have this line in its script."""
    try:
        joined(f"{line}\n", one="export const one = 1;\n")
    except PageError:
        return True
    return False


class JoinTests(SynchronousTestCase):
    """Sources that are joined, whatever is in them."""

    def test_oneDocument(self) -> None:
        """Style and script stand in the document, where it named them."""
        expected = """\
<!DOCTYPE html>
<style>
p { margin: 0; }
</style>
<body>
<script>
'use strict';
{
const modules = {};
{ // main.mjs
go();
modules['main.mjs'] = {};
}
}
</script>
"""
        self.assertEqual(joined("go();\n"), expected)

    def test_neededFirst(self) -> None:
        """A module stands behind those that it imports, once, whoever else imports it."""
        found = joined(
            "import {one} from './one.mjs';\nimport {two} from './two.mjs';\n",
            one="import {two} from './two.mjs';\nexport const one = two;\n",
            two="export const two = 2;\n",
        )
        self.assertEqual(re.findall(r"\{ // (.*)", found), ["two.mjs", "one.mjs", "main.mjs"])

    def test_importsAndExports(self) -> None:
        """What a module exports is left where those that import it take it from."""
        found = joined(
            "import {a, B,\n  $}\n  from './one.mjs';\n",
            one="export const a = 1;\nexport class B {}\n"
            "export function $() {}\nexport async function c() {}\n",
        )
        self.assertIn("\nconst {a, B,\n  $} = modules['one.mjs'];\n", found)
        self.assertIn("\nmodules['one.mjs'] = {a, B, $, c};\n", found)
        self.assertIn("\nconst a = 1;\nclass B {}\nfunction $() {}\nasync function c() {}\n", found)

    def test_circle(self) -> None:
        """Modules that import each other in a circle have no order, and are refused."""
        with self.assertRaisesRegex(PageError, "circle.*one.mjs"):
            joined(
                "import {one} from './one.mjs';\n",
                one="import {two} from './two.mjs';\nexport const one = 1;\n",
                two="import {one} from './one.mjs';\nexport const two = 2;\n",
            )

    def test_notExported(self) -> None:
        """A name that the other module does not export is refused, as a browser would."""
        with self.assertRaisesRegex(PageError, r"main.mjs imports \['other'\], which one.mjs"):
            joined("import {one, other} from './one.mjs';\n", one="export const one = 1;\n")

    def test_otherForms(self) -> None:
        """Every other form of import and export is refused, and not left in the script."""
        lines = (
            "import one from './one.mjs';",
            "import * as one from './one.mjs';",
            "import {one as two} from './one.mjs';",
            "import './one.mjs';",
            "import {one} from 'https://example.org/one.mjs';",
            "import('./one.mjs');",
            "  import('./one.mjs');",
            "if (go) import ('./one.mjs');",
            "const url = import.meta.url;",
            "  import {one} from './one.mjs';",
            "{ import {one} from './one.mjs'; }",
            "  export const two = 2;",
            "const one = await two();",
            "await two();",
            "for await (const one of two) go(one);",
            "if (go) {\n  await two();\n}",
            "async function go() {\n  two();\n}\nawait go();",
            "export default 1;",
            "export let two = 2;",
            "export {two};",
            "export * from './one.mjs';",
        )
        self.assertEqual([line for line in lines if not isRefused(line)], [])

    def test_allowed(self) -> None:
        """What only looks like one of them is not refused."""
        lines = (
            "const important = 1;",
            "// It can import(...) nothing, nor await anything.",
            "async function go() {\n  if (two) {\n    await two();\n  }\n}",
            "const go = async () => { await two(); };",
            "on('click', async () => {\n  await two();\n});",
        )
        self.assertEqual([line for line in lines if isRefused(line)], [])

    def test_endOfElement(self) -> None:
        """What would end script or style too early, or have it read otherwise, is refused."""
        texts = ("</script>", "</SCRIPT >", "<!-- -->", "<script>")
        self.assertEqual([text for text in texts if not isRefused(f"const a = '{text}';")], [])
        style = "p::after { content: '</style>'; }"
        with self.assertRaisesRegex(PageError, "</style"):
            join({"index.html": MARKUP, "style.css": style, "main.mjs": ""}.__getitem__)

    def test_oneOfEach(self) -> None:
        """A page with two scripts, or with none, is refused."""
        for markup in (MARKUP + MARKUP, "<!DOCTYPE html>\n"):
            with self.assertRaisesRegex(PageError, "index.html needs one"):
                join({"index.html": markup, "style.css": "", "main.mjs": ""}.__getitem__)


class DocumentTests(SynchronousTestCase):
    """The page's own sources."""

    def test_stable(self) -> None:
        """The document is the same at each request and after each start."""
        self.assertIs(document(), document())
        self.assertEqual(document.__wrapped__(), document())

    def test_selfContained(self) -> None:
        """The document names no file that a browser would have to ask for."""
        text = document().decode()
        self.assertEqual(re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']*""", text), [])
        self.assertEqual(re.findall(r"url\((?!#)|@import|^import|^export", text, re.MULTILINE), [])

    def test_everySource(self) -> None:
        """No source lies there that is in no document."""
        text = document().decode()
        modules = sorted(path.name for path in SOURCES.glob("*.mjs"))
        self.assertEqual(sorted(re.findall(r"^\{ // (.*)$", text, re.MULTILINE)), modules)
        others = {path.name for path in SOURCES.iterdir() if path.is_file()} - set(modules)
        self.assertEqual(others, {"__init__.py", page.MARKUP, "style.css"})
