"""What the release files hold, and what ``twistd`` makes of them."""

import atexit
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from configparser import RawConfigParser
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from functools import cache
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests import PROJECT
from thing.fleet.page import document

# What a working tree may hold beside the source.
NOT_SOURCE = shutil.ignore_patterns(
    *[".*", "__pycache__", "_trial_temp*", "dropin.cache"],
    *["build", "dist", "*.egg-info", "_build", "api"],
)

TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"

PAGE = (
    "import hashlib; from thing.fleet.page import document as made; "
    "print(hashlib.sha256(made()).hexdigest())"
)

COMMAND = "from thing.cli import main; main()"

GIT = shutil.which("git")

(UNRELEASED,) = re.findall(
    r'(?m)^fallback_version = "(\d+\.\d+\.\d+\.dev)0"$', (PROJECT / "pyproject.toml").read_text()
)

PLUGIN_ORIGIN = "import twisted.plugins.thing_service as plugin; print(plugin.__file__)"


def runPython(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    """
    Run this interpreter in a process of its own.

    :param arguments: its command line.
    :param cwd: its working directory.
    :param path: a directory that it shall import from first.
    :return: what it wrote to standard output.
    :raises AssertionError: it failed; the error holds all that it wrote.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{arguments} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def git(directory: Path, *arguments: str) -> str:
    """
    Run git.

    :param directory: where.
    :param arguments: its command line.
    :return: what it wrote to standard output.
    """
    who = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")
    return subprocess.run(
        ["git", *who, *arguments], cwd=directory, check=True, capture_output=True, text=True
    ).stdout.strip()


@dataclass(frozen=True)
class Release:
    """
    The release files, and the places where they can be tried.

    :ivar source: the copy of the source that they were built from.
    :ivar site: the wheel's files, as an installation lays them out.
    :ivar elsewhere: an empty directory.
    :ivar wheel: the names of the wheel's files.
    :ivar sdist: the names of the sdist's files, below its one directory.
    :ivar metadata: what the wheel says of itself.
    """

    source: Path
    site: Path
    elsewhere: Path
    wheel: frozenset[str]
    sdist: frozenset[str]
    metadata: Message


@cache
def release() -> Release:
    """Build the sdist, and the wheel from it, once and with nothing fetched."""
    directory = Path(tempfile.mkdtemp(prefix="thing-release-")).resolve()
    atexit.register(shutil.rmtree, directory)
    source, site, elsewhere, dist = (
        directory / name for name in ("source", "site", "elsewhere", "dist")
    )
    elsewhere.mkdir()
    shutil.copytree(PROJECT, source, ignore=NOT_SOURCE)
    runPython("docs/manpages.py", "man", cwd=source, path=source)
    if GIT is not None:  # A source without one is past a release, too, but which commit it is?
        git(source, "init", "--quiet")
        git(source, "add", ".")
        git(source, "commit", "--quiet", "-m", "Begin")
    # What twistd leaves beside the plugins must not be released.
    cache = source / "twisted" / "plugins" / "dropin.cache"
    cache.write_bytes(b"not to be released")
    runPython("-m", "build", "--no-isolation", "-o", str(dist), str(source), cwd=elsewhere)
    cache.unlink()
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as unzipped:
        wheelNames = frozenset(unzipped.namelist())
        unzipped.extractall(site)
    with tarfile.open(sdist) as untarred:
        sdistNames = frozenset(name.partition("/")[2] for name in untarred.getnames())
    (metadata,) = site.glob("*.dist-info/METADATA")
    told = message_from_string(metadata.read_text("utf-8"))
    return Release(source, site, elsewhere, wheelNames, sdistNames, told)


class ReleaseFileTests(TestCase):
    """The sdist, and the wheel that is built from it."""

    def setUp(self) -> None:
        """Have the release files built."""
        self.release = release()

    def sourceFiles(self, *directories: str) -> set[str]:
        """The names of the files of the source that lie under ``directories``."""
        root = self.release.source
        return {
            path.relative_to(root).as_posix()
            for directory in directories
            for path in (root / directory).rglob("*")
            if path.is_file() and path.suffix != ".pyc" and path.name != "dropin.cache"
        }

    def test_wheelHoldsEveryModule(self) -> None:
        """Every module of the source is in the wheel, whatever package it is in."""
        modules = {name for name in self.sourceFiles("thing", "twisted") if name.endswith(".py")}
        self.assertIn("thing/__init__.py", modules)
        self.assertEqual(modules - self.release.wheel, set())

    def test_wheelHoldsThePlugin(self) -> None:
        """The wheel holds the plugin file, where twistd looks for it."""
        self.assertIn("twisted/plugins/thing_service.py", self.release.wheel)

    def test_wheelLeavesTwistedAlone(self) -> None:
        """No release file holds an ``__init__.py`` under ``twisted``: it would replace its own."""
        for files in (self.release.wheel, self.release.sdist):
            inTwisted = {name for name in files if name.startswith("twisted/")}
            self.assertTrue(inTwisted)
            self.assertEqual({name for name in inTwisted if name.endswith("__init__.py")}, set())

    def test_wheelIsTyped(self) -> None:
        """The wheel says that its annotations may be relied on."""
        self.assertIn("thing/py.typed", self.release.wheel)

    def test_wheelHoldsNothingElse(self) -> None:
        """The wheel holds only thing, its plugins, manual pages and metadata: no tests, no docs."""
        tops = {name.partition("/")[0] for name in self.release.wheel}
        (metadata,) = (top for top in tops if top.endswith(".dist-info"))
        data = metadata.replace(".dist-info", ".data")
        self.assertEqual(tops, {"thing", "twisted", metadata, data})
        pages = {name for name in self.release.wheel if name.startswith(data)}
        folder = f"{data}/data/share/man/man1"
        self.assertLess({f"{folder}/thing.1", f"{folder}/thing-send.1"}, pages)
        self.assertEqual({name.rpartition("/")[0] for name in pages}, {folder})

    def test_noPluginCacheIsReleased(self) -> None:
        """The plugin cache of the tree that built a release is not in the release."""
        for files in (self.release.wheel, self.release.sdist):
            self.assertEqual([name for name in files if name.endswith("dropin.cache")], [])

    def test_wheelHasTheCommand(self) -> None:
        """The wheel installs the ``thing`` command."""
        (name,) = (name for name in self.release.wheel if name.endswith("/entry_points.txt"))
        self.assertIn("thing = thing.cli:main", (self.release.site / name).read_text())

    def test_wheelServesThePage(self) -> None:
        """The wheel holds the page's sources: it makes the same document as the source."""
        release = self.release
        made = runPython("-c", PAGE, cwd=release.elsewhere, path=release.site)
        self.assertEqual(made.strip(), hashlib.sha256(document()).hexdigest())

    def test_sdistHoldsTestsAndDocs(self) -> None:
        """A distributor can run the tests and build the documentation from the sdist."""
        files = self.sourceFiles("tests", "docs")
        self.assertIn("tests/test_packaging.py", files)
        self.assertIn("docs/conf.py", files)
        self.assertEqual(files - self.release.sdist, set())

    def test_sdistHoldsTheFilesOfTheProject(self) -> None:
        """The sdist holds the licence, the news, what builds the package and what guides."""
        expected = {"LICENSE", "CHANGELOG.rst", "README.rst", "setup.cfg", "pyproject.toml"}
        expected |= {"CONTRIBUTING.rst", "SECURITY.rst", "noxfile.py"}
        self.assertEqual(expected - self.release.sdist, set())

    def assertTwistdKnowsThing(self, root: Path) -> None:
        """Assert that ``twistd``, run elsewhere, offers ``thing`` from below ``root``."""
        elsewhere = self.release.elsewhere
        shown = runPython("-c", TWISTD, "--help", cwd=elsewhere, path=root)
        self.assertIn("thing", [line.split()[0] for line in shown.splitlines() if line.strip()])
        origin = runPython("-c", PLUGIN_ORIGIN, cwd=elsewhere, path=root).strip()
        self.assertEqual(Path(origin), root / "twisted" / "plugins" / "thing_service.py")

    def test_twistdFindsTheWheel(self) -> None:
        """Wherever ``twistd`` is run, it offers ``thing`` from the wheel's files."""
        self.assertTwistdKnowsThing(self.release.site)

    def test_twistdFindsTheCheckout(self) -> None:
        """With a checkout on the path, ``twistd`` offers ``thing`` from any directory."""
        self.assertTwistdKnowsThing(self.release.source)


class VersionTests(TestCase):
    """What the version says of a build, wherever it is built."""

    if GIT is None:
        skip = "git is not installed"

    def setUp(self) -> None:
        """Have a repository of two commits, with all that tells the version."""
        self.clone = Path(self.mktemp()).resolve()
        self.clone.mkdir()
        for name in ("setup.cfg", "pyproject.toml", ".gitattributes", ".git_archival.txt"):
            shutil.copy(PROJECT / name, self.clone)
        git(self.clone, "init", "--quiet")
        git(self.clone, "add", ".")
        self.commit()
        self.commit()

    def commit(self) -> str:
        """Commit something: the commit."""
        git(self.clone, "commit", "--quiet", "--allow-empty", "-m", "Go on")
        return git(self.clone, "rev-parse", "--short=7", "HEAD")

    def version(self, directory: Path | None = None) -> str:
        """The version of what would be built in a directory, by default in the repository."""
        where = directory or self.clone
        return runPython("-W", "ignore", "-m", "setuptools_scm", cwd=where).strip()

    def test_withoutTags(self) -> None:
        """A clone without tags is past the last release, and tells which commit it is."""
        commit = self.commit()
        self.assertRegex(self.version(), rf"^{re.escape(UNRELEASED)}3\+g{commit}\w*$")

    def test_tagged(self) -> None:
        """A release has the version of its tag, and no other."""
        git(self.clone, "tag", "-a", "-m", "Thing 7.8.9", "7.8.9")
        self.assertEqual(self.version(), "7.8.9")

    def test_pastATag(self) -> None:
        """What comes after a release is before the next, and tells which commit it is."""
        git(self.clone, "tag", "-a", "-m", "Thing 7.8.9", "7.8.9")
        commit = self.commit()
        self.assertRegex(self.version(), rf"^7\.8\.10\.dev1\+g{commit}\w*$")

    def test_changed(self) -> None:
        """A tree with changes that are not committed is no release."""
        git(self.clone, "tag", "-a", "-m", "Thing 7.8.9", "7.8.9")
        with (self.clone / "setup.cfg").open("a") as file:
            file.write("\n")
        self.assertRegex(self.version(), r"^7\.8\.10\.dev0\+g\w+\.d\d{8}$")

    def test_shallow(self) -> None:
        """A shallow clone does not know how far it is, but which commit it is."""
        commit = self.commit()
        shallow = Path(self.mktemp()).resolve()
        git(self.clone, "clone", "--quiet", "--depth=1", self.clone.as_uri(), str(shallow))
        self.assertRegex(self.version(shallow), rf"^{re.escape(UNRELEASED)}1\+g{commit}\w*$")

    def test_archive(self) -> None:
        """What ``git archive`` makes, as for a download of the source, knows its release."""
        for tag, version in ((None, f"{UNRELEASED}0"), ("7.8.9", "7.8.9")):
            if tag is not None:
                git(self.clone, "tag", "-a", "-m", f"Thing {tag}", tag)
            archive, unpacked = Path(f"{self.mktemp()}.tar").resolve(), Path(self.mktemp())
            git(self.clone, "archive", f"--output={archive}", "HEAD")
            shutil.unpack_archive(archive, unpacked)
            self.assertEqual(self.version(unpacked), version)

    def test_built(self) -> None:
        """Wheel and sdist tell the commit: the wheel is built from the sdist, which has no git."""
        commit = git(release().source, "rev-parse", "--short=7", "HEAD")
        self.assertEqual(release().metadata["Name"], "txthing")
        expected = rf"^{re.escape(UNRELEASED)}1\+g{commit}\w*$"
        self.assertRegex(release().metadata["Version"], expected)


class ToldVersionTests(TestCase):
    """How an installation tells its version."""

    def told(self, *words: str) -> str:
        """What a program of the installed wheel says."""
        return runPython(*words, cwd=release().elsewhere, path=release().site).strip()

    def test_attribute(self) -> None:
        """``thing.__version__`` is that of the installed distribution."""
        told = self.told("-c", "import thing; print(thing.__version__)")
        self.assertEqual(told, release().metadata["Version"])

    def test_commands(self) -> None:
        """``thing --version`` and ``twistd thing --version`` say the same, in one line."""
        expected = f"thing {release().metadata['Version']}"
        self.assertEqual(self.told("-c", COMMAND, "--version"), expected)
        self.assertEqual(self.told("-c", TWISTD, "thing", "--version"), expected)

    def test_notInstalled(self) -> None:
        """A source tree that was not installed has no version, and says so."""
        tree = Path(self.mktemp()).resolve()
        shutil.copytree(PROJECT / "thing", tree / "thing", ignore=NOT_SOURCE)
        told = runPython("-S", "-c", "import thing; print(thing.__version__)", cwd=tree)
        self.assertEqual(told.strip(), "0+unknown")


class IndexPageTests(TestCase):
    """The README is the project's page on the package index, where no file lies beside it."""

    HOME = "https://github.com/txthing/thing"
    PAGES = "https://txthing.readthedocs.io/en/latest/"
    FILES = "https://raw.githubusercontent.com/txthing/thing/main/"

    def test_page(self) -> None:
        """The page is what README.rst says."""
        self.assertEqual(release().metadata["Description-Content-Type"], "text/x-rst")
        page = str(release().metadata.get_payload())
        self.assertEqual(page.strip(), (PROJECT / "README.rst").read_text("utf-8").strip())

    def test_links(self) -> None:
        """Its links lead there from anywhere: to pages and files that there are."""
        text = (PROJECT / "README.rst").read_text("utf-8")
        self.assertNotRegex(text, r"<(?!https://)[\w./-]+>`_")
        targets = re.findall(r"(?m)^\.\. (?:_[^:]+|image|figure):+ (\S+)$", text)
        targets += re.findall(r"<(https://\S+)>`_", text)
        self.assertGreater(len(targets), 20)
        for target in targets:
            if target.startswith(self.FILES):
                file = PROJECT / target.removeprefix(self.FILES)
            else:
                self.assertTrue(target.startswith(self.PAGES), target)
                file = PROJECT / "docs" / target.removeprefix(self.PAGES)
                file = file.with_suffix(".rst") if file.suffix == ".html" else file / "index.rst"
            self.assertTrue(file.is_file(), target)

    def test_projectURLs(self) -> None:
        """The index links the project's home, and what else one looks for there."""
        told = release().metadata
        urls = dict(url.split(", ", 1) for url in told.get_all("Project-URL", []))
        self.assertIn(self.HOME, (told["Home-page"], urls.get("Homepage")))
        self.assertEqual(urls["Documentation"], self.PAGES)
        for name in ("Changelog", "Source", "Issues"):
            self.assertTrue(urls[name].startswith(self.HOME), name)


class NewsTests(TestCase):
    """The changelog, and what is to come into it."""

    def test_release(self) -> None:
        """Where no tag is known, a tree is past the newest release of the changelog."""
        text = (PROJECT / "CHANGELOG.rst").read_text("utf-8")
        newest, last = re.findall(r"(?m)^Thing (\d+\.\d+)\.(\d+) \(", text)[0]
        self.assertEqual(UNRELEASED, f"{newest}.{int(last) + 1}.dev")

    def test_plain(self) -> None:
        """It is read where Sphinx is not: nothing in it is a role that only Sphinx knows."""
        for file in (PROJECT / "CHANGELOG.rst", *(PROJECT / "newsfragments").iterdir()):
            self.assertIsNone(re.search(r":[a-z]+:`", file.read_text("utf-8")), file.name)


class NameTests(TestCase):
    """The name of the distribution: on the package index ``thing`` is another project's."""

    def setUp(self) -> None:
        """Know what a text would look like that fetches the other project."""
        self.setup = RawConfigParser()
        self.setup.read(PROJECT / "setup.cfg")
        extras = "|".join(self.setup["options.extras_require"])
        self.strange = re.compile(
            rf"\bthing\[({extras})\b"
            r"|\bpip3? install\b[^\n`&|;]*(?<![\w./-])thing(?![\w./-])"
            r"|\b(version|distribution|metadata|requires|files)\([\"']thing[\"']\)"
            r"|^name = [\"']?thing\b",
            re.MULTILINE,
        )

    def test_name(self) -> None:
        """The distribution is called ``txthing``."""
        self.assertEqual(self.setup["metadata"]["name"], "txthing")

    def test_nothingFetchesTheOther(self) -> None:
        """No page, message, extra or program of the tree names the other project."""
        files = [*release().source.rglob("*"), *(PROJECT / ".ci").iterdir()]
        for file in (each for each in files if each.is_file()):
            found = self.strange.search(file.read_bytes().decode("utf-8", "replace"))
            self.assertIsNone(found, file)

    def test_strangeForms(self) -> None:
        """The forms in which it would be named are known, and what looks like them is not."""
        other = "thing"
        for text in (
            f"pip install {other}",
            f"run ``pip install --upgrade '{other}>=0.2'``",
            f"    {other}[redis]",
            f"{other}[test, docs]",
            f'version("{other}")',
            f"name = {other}",
        ):
            self.assertIsNotNone(self.strange.search(text), text)
        for text in (
            "pip install txthing",
            "txthing[redis]",
            "/opt/thing-1/bin/pip install 'txthing[redis]'",
            "pip install --quiet . && .venv/bin/twistd -n thing",
            "pip install -e /srv/thing",
            'thing["id"]',
        ):
            self.assertIsNone(self.strange.search(text), text)
