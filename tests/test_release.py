"""What a release is built with, and the list of what comes with it."""

from __future__ import annotations

import platform
import re
import runpy
import zlib
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT

RELEASE = PROJECT / "release"

MARKER = "[a-z_]+ [<>=!]+ '[A-Za-z0-9.]+'"


class LockTests(SynchronousTestCase):
    """What builds the files is known by hashes."""

    def test_pinned(self) -> None:
        """Each package in the lock is one release, by its hashes; what is asked for is there."""
        lines = (RELEASE / "requirements.txt").read_text().replace("\\\n", " ").splitlines()
        names = set()
        for line in lines:
            match = re.fullmatch(
                rf"([a-z0-9-]+)==[0-9.]+( ; {MARKER}( and {MARKER})*)?"
                r"( +--hash=sha256:[0-9a-f]{64})+ *",
                line,
            )
            assert match is not None, line
            names.add(match[1])
        wanted = (RELEASE / "requirements.in").read_text()
        self.assertLessEqual(set(re.findall("^[a-z-]+", wanted, re.MULTILINE)), names)


class SumsTests(SynchronousTestCase):
    """Tests for ``release/build.py``."""

    def test_sums(self) -> None:
        """Each file has its sum, as sha256sum writes it, and a comment says what compressed it."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "b.whl").write_bytes(b"")
        (directory / "a.tar.gz").write_bytes(b"abc")
        self.assertEqual(
            runpy.run_path(str(RELEASE / "build.py"))["sums"](directory).splitlines(),
            [
                f"# Python {platform.python_version()}, zlib {zlib.ZLIB_RUNTIME_VERSION}",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.tar.gz",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b.whl",
            ],
        )


class ListTests(SynchronousTestCase):
    """Tests for ``release/sbom.py``."""

    def setUp(self) -> None:
        self.sbom = runpy.run_path(str(RELEASE / "sbom.py"))

    def component(self, name: str, *licences: dict[str, Any]) -> dict[str, Any]:
        return {"bom-ref": name, "name": name, "version": "1", "licenses": list(licences)}

    def listed(self, *components: dict[str, Any]) -> dict[str, Any]:
        """The list of a wheel, in an environment that has these."""
        own = self.component("txthing", {"license": {"id": "MIT"}})
        own["externalReferences"] = [{"type": "distribution", "url": "file:///home/me/x.whl"}]
        wheel = RELEASE / "build.py"  # Any file has a hash.
        names = [each["name"] for each in components]
        found: dict[str, Any] = self.sbom["ofWheel"](
            {
                "metadata": {},
                "components": [own, *components],
                "dependencies": [{"ref": "txthing", "dependsOn": names}],
            },
            wheel,
        )
        return found

    def test_ofWheel(self) -> None:
        """It is about the wheel, by its hash, and says neither where it lay nor what all have."""
        mit = {"license": {"id": "MIT"}}
        listed = self.listed(self.component("pip", mit), self.component("click", mit))
        self.assertEqual([each["name"] for each in listed["components"]], ["click"])
        self.assertEqual(listed["dependencies"], [{"ref": "txthing", "dependsOn": ["click"]}])
        own = listed["metadata"]["component"]
        self.assertRegex(own["hashes"][0]["content"], "^[0-9a-f]{64}$")
        self.assertNotIn("/home", str(listed))
        self.assertEqual(self.sbom["troubles"](listed, {"click"}), [])

    def test_troubles(self) -> None:
        """What is missing, has no licence or another one, is told, each in a line."""
        listed = self.listed(
            self.component("one", {"expression": "(MIT OR GPL-3.0-only) AND ISC"}),
            self.component("two"),
            self.component("three", {"license": {"name": "My own"}}),
        )
        self.assertEqual(
            self.sbom["troubles"](listed, {"one", "click"}),
            [
                "click is not in the list",
                "one has the licence GPL-3.0-only",
                "two does not say which licence it has",
                "three has the licence My own",
            ],
        )
