"""
Imports inside Thing point one way only: down the table of rooms.

``docs/rooms.py`` draws the rooms from what this module reads.
"""

import ast
import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import TestCase

import thing
import thing.core
import thing.endpoints
import thing.trust
from tests import PROJECT

# The floors of the house from the lowest to the highest, the rooms of each, and what
# each room holds. A module imports from its own room and from those of lower floors:
# rooms side by side know nothing of each other. At the top stand two that nobody in
# Thing imports: what users' tests need, and the facade that gathers the public names.
FLOORS: tuple[dict[str, tuple[str, ...]], ...] = (
    {
        "ground": (
            "thing.arguments",
            "thing.errors",
            "thing.events",
            "thing.identity",
            "thing.lazy",
            "thing.logger",
            "thing.text",
            "thing.version",
        )
    },
    {"core": ("thing.core",)},
    {"trust": ("thing.trust",)},
    {"session": ("thing.session",), "asyncio": ("thing.asyncio",)},
    {
        "endpoints": ("thing.endpoints",),
        "fleet": ("thing.fleet",),
        "conformance": ("thing.conformance",),
    },
    {"daemon": ("thing.daemon",)},
    {"cli": ("thing.cli",)},
    {"testing": ("thing.testing",), "facade": ("thing",)},
)
FACADE = "thing"
ROOMS = {
    package: room for floor in FLOORS for room, packages in floor.items() for package in packages
}
LEVELS = {room: level for level, floor in enumerate(FLOORS) for room in floor}

# The core is given bytes and the time; it fetches nothing and tells nobody.
# Secrets that no one may choose come from the secrets module, which is allowed.
NOT_IN_CORE = {
    *("asyncio", "select", "selectors", "signal", "socket", "ssl", "subprocess", "threading"),
    *("datetime", "random", "time", "logging", "warnings"),
    *("os", "pathlib", "shutil", "tempfile"),
    *("twisted", "zope"),
}

REACTOR = "twisted.internet.reactor"

IMPORT_ALL = """
import importlib, pkgutil, sys, thing
for module in pkgutil.walk_packages(thing.__path__, "thing."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
print(*sys.modules, sep="\\n")
"""

IMPORT_PLUGIN = """
import sys
import twisted.plugins.thing_service
print(*sys.modules, sep="\\n")
"""


class Import(NamedTuple):
    """
    What one import statement names.

    :ivar target: the full name; of ``from a import b`` it is ``a.b``, which
        may be a module or a name in one.
    :ivar atOnce: whether it runs when the module that holds it is imported, and
        not in a function or for type checkers only.
    """

    target: str
    atOnce: bool


def importsIn(source: str, package: str) -> Iterator[Import]:
    """
    Every import in a module, those inside functions too.

    :param source: the module's text.
    :param package: the package that its relative imports start from.
    """
    pending: list[tuple[ast.AST, bool]] = [(ast.parse(source), True)]
    while pending:
        node, atOnce = pending.pop()
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, atOnce) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                parts = package.split(".")
                base = parts[: len(parts) - node.level + 1] + base
            yield from (Import(".".join([*base, alias.name]), atOnce) for alias in node.names)
        atOnce = atOnce and not isLater(node)
        pending += [(child, atOnce) for child in ast.iter_child_nodes(node)]


def isLater(node: ast.AST) -> bool:
    """Whether what is in ``node`` does not run when the module is imported."""
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or (
        isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )


def isIn(name: str, package: str) -> bool:
    """Whether ``name`` is ``package`` or something in it."""
    return f"{name}.".startswith(f"{package}.")


def longest(name: str, packages: Iterable[str]) -> str | None:
    """The innermost of ``packages`` that ``name`` is in, if it is in any."""
    return max((package for package in packages if isIn(name, package)), key=len, default=None)


def roomOf(name: str) -> str | None:
    """The room that a module of Thing, or a name in one, is in."""
    package = longest(name, ROOMS)
    return None if package is None else ROOMS[package]


def upwardImports(modules: dict[str, list[Import]]) -> list[str]:
    """The imports, in words, that do not go down the table of rooms."""
    return [
        f"{name} imports {target}"
        for name, imports in modules.items()
        for target, _ in imports
        if (here := roomOf(name)) is not None
        and (there := roomOf(target)) not in (None, here)
        and LEVELS[there] >= LEVELS[here]
    ]


def importCycle(modules: dict[str, list[Import]]) -> list[str]:
    """
    Modules that cannot be read one after the other, since each refers to the next.

    An import counts wherever it stands: in a function or for type checkers only, too.

    :param modules: every module, with its imports.
    :return: their names, the first again at the end; empty if there are none.
    """
    graph = {
        name: {longest(target, modules) for target, _ in imports} - {None, name}
        for name, imports in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def importsByCore(modules: dict[str, list[Import]]) -> list[str]:
    """The imports, in words, that the core may not have."""
    return [
        f"{name} imports {target}"
        for name, imports in modules.items()
        for target, _ in imports
        if isIn(name, "thing.core") and target.partition(".")[0] in NOT_IN_CORE
    ]


def importsOfReactor(modules: dict[str, list[Import]]) -> list[str]:
    """The modules that import the reactor when they are imported."""
    return [
        name
        for name, imports in modules.items()
        if any(atOnce and isIn(target, REACTOR) for target, atOnce in imports)
    ]


def modulesOfThing() -> dict[str, list[Import]]:
    """Every module of Thing, by its full name, with its imports."""
    modules = {}
    for path in sorted((PROJECT / "thing").rglob("*.py")):
        package = ".".join(path.relative_to(PROJECT).parent.parts)
        name = package if path.stem == "__init__" else f"{package}.{path.stem}"
        modules[name] = list(importsIn(path.read_text(), package))
    return modules


def loadedBy(script: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after ``script``, which prints them."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return set(done.stdout.split())


class RoomTests(TestCase):
    """The modules of Thing keep to the table."""

    def setUp(self) -> None:
        """Read the modules."""
        self.modules = modulesOfThing()

    def test_everyModuleHasARoom(self) -> None:
        """No module stands outside the table, where no rule would reach it."""
        self.assertIn("thing.errors", self.modules)
        inFacade = [name for name in self.modules if longest(name, ROOMS) == FACADE]
        self.assertEqual(inFacade, [FACADE])

    def test_length(self) -> None:
        """No module is longer than the rules have it: it would hold more than one concept."""
        rules = (PROJECT / "CONTRIBUTING.rst").read_text()
        most = int(rules.split("A module has ")[1].split(" lines at most")[0])
        lines = {
            str(path.relative_to(PROJECT)): path.read_text().count("\n")
            for path in (PROJECT / "thing").rglob("*.py")
        }
        self.assertIn("thing/session/factory.py", lines)
        self.assertEqual({name: n for name, n in lines.items() if n > most}, {})

    def test_importsPointDown(self) -> None:
        """A module imports from its own room and from lower ones only."""
        self.assertEqual(upwardImports(self.modules), [])

    def test_noModulesNeedEachOther(self) -> None:
        """Inside a room, too, imports have one direction, those of types and late ones included."""
        self.assertEqual(importCycle(self.modules), [])

    def test_nobodyImportsTheFacade(self) -> None:
        """The facade is for users: a module of Thing names the home of what it needs."""
        users = [
            name
            for name, imports in self.modules.items()
            if any(longest(target, self.modules) == FACADE for target, _ in imports)
        ]
        self.assertEqual(users, [])

    def test_coreDoesNoIO(self) -> None:
        """The core imports no Twisted, no clock, no log and nothing that does input or output."""
        self.assertEqual(importsByCore(self.modules), [])

    def test_reactorIsNotImportedAtTheTop(self) -> None:
        """Each module leaves the choice of a reactor to the program."""
        self.assertEqual(importsOfReactor(self.modules), [])

    def test_importingEverythingInstallsNoReactor(self) -> None:
        """Nothing that Thing imports from others installs a reactor behind its back."""
        loaded = loadedBy(IMPORT_ALL)
        self.assertIn("thing.errors", loaded)
        self.assertNotIn(REACTOR, loaded)

    def test_withoutTwisted(self) -> None:
        """Who brings other input and output than Twisted's has not to load Twisted."""
        for name in ("asyncio", "core", "trust.authorized", "trust.keys", "trust.servers"):
            loaded = loadedBy(f"import sys, thing.{name}\nprint(*sys.modules, sep='\\n')")
            self.assertIn(f"thing.{name}", loaded)
            self.assertEqual({each for each in loaded if isIn(each, "twisted")}, set(), name)
            if name == "core":
                self.assertEqual({each for each in loaded if isIn(each, "zope")}, set())

    def test_optionsAreQuick(self) -> None:
        """``twistd thing --help`` waits for no session, a server not for clients or TLS."""
        late = {"twisted.internet.endpoints", "twisted.application.internet", "OpenSSL"}
        for name, others in (("tap", {"thing.session.link"}), ("assembly", set())):
            asked = f"import sys\nimport thing.daemon.{name}\n"
            loaded = loadedBy(f"{asked}print(*sys.modules, sep='\\n')")
            self.assertEqual(loaded & (late | others), set(), name)
            self.assertIn("thing.daemon.options", loaded)

    def test_pluginImportsNothingOfThing(self) -> None:
        """``twistd --help`` stays fast: the plugin names Thing and does not load it."""
        loaded = loadedBy(IMPORT_PLUGIN)
        self.assertIn("twisted.plugins.thing_service", loaded)
        self.assertEqual({name for name in loaded if isIn(name, "thing")}, set())


class CheckerTests(TestCase):
    """The checks above find what they look for."""

    def modules(self, **sources: str) -> dict[str, list[Import]]:
        """Modules made up from their texts; a name has ``_`` for each dot."""
        names = {key: f"thing.{key.replace('_', '.')}" for key in sources}
        return {
            names[key]: list(importsIn(source, names[key].rpartition(".")[0]))
            for key, source in sources.items()
        }

    def test_upwardImports(self) -> None:
        """An import of a higher room is found in every spelling, and wherever it stands."""
        for source in (
            "import thing.session.protocol",
            "from thing.session.protocol import ThingProtocol",
            "from thing.session import protocol",
            "from ..session import protocol",
            "from ..session.protocol import ThingProtocol",
            "from thing import ThingProtocol",
            "def later():\n    from thing.session.protocol import ThingProtocol",
            "if TYPE_CHECKING:\n    from thing.session.protocol import ThingProtocol",
        ):
            self.assertEqual(len(upwardImports(self.modules(core_states=source))), 1, source)

    def test_sidewaysImports(self) -> None:
        """An import of a room on the same floor is found, too."""
        for here, there in (("fleet_local", "endpoints"), ("endpoints_stream", "fleet.local")):
            found = upwardImports(self.modules(**{here: f"import thing.{there}"}))
            self.assertEqual(len(found), 1, here)

    def test_allowedImports(self) -> None:
        """Imports of lower rooms, of the same room and of other packages are not complained of."""
        source = "import enum\nimport thing.errors\nfrom thing.core import states\nfrom . import a"
        self.assertEqual(upwardImports(self.modules(core_connection=source)), [])

    def test_cycles(self) -> None:
        """Modules that import each other are a cycle, though one does so later or for its types."""
        back = "from .a import x"
        for spelled in (back, f"def late():\n    {back}", f"if TYPE_CHECKING:\n    {back}"):
            cycle = importCycle(self.modules(core_a="from . import b", core_b=spelled))
            self.assertEqual(set(cycle), {"thing.core.a", "thing.core.b"}, spelled)
        self.assertEqual(importCycle(self.modules(core_a="from . import b", core_b="")), [])

    def test_core(self) -> None:
        """A clock in the core is found; outside the core it is allowed."""
        modules = self.modules(core_states="from time import monotonic", daemon_tap="import time")
        self.assertEqual(importsByCore(modules), ["thing.core.states imports time.monotonic"])

    def test_reactor(self) -> None:
        """A reactor is found in a class or a condition, and allowed in a function."""
        spelled = "from twisted.internet import reactor"
        modules = self.modules(
            session_protocol=f"if True:\n    {spelled}",
            endpoints="class A:\n    import twisted.internet.reactor",
            daemon_tap=f"def makeService():\n    {spelled}",
        )
        self.assertEqual(importsOfReactor(modules), ["thing.session.protocol", "thing.endpoints"])


class FacadeTests(TestCase):
    """The public names, in :mod:`thing` itself."""

    def test_names(self) -> None:
        """Each public name is what its home has by that name, also for ``from thing import *``."""
        star: dict[str, object] = {}
        exec("from thing import *", star)
        self.assertEqual(set(star) - {"__builtins__"}, set(thing.__all__))
        self.assertIn("ThingProtocol", thing.__all__)
        for name in thing.__all__:
            value = getattr(thing, name)
            self.assertIs(value, getattr(importlib.import_module(value.__module__), name))
            self.assertIs(value, star[name])
            self.assertEqual(value.__name__, name)

    def test_typesAreTheSame(self) -> None:
        """Type checkers are told the same names and homes as are imported."""
        for package in (thing, thing.core, thing.endpoints, thing.trust):
            source = Path(package.__file__ or "").read_text()
            told = [target for target, atOnce in importsIn(source, FACADE) if not atOnce]
            imported = [
                f"{home}.{name}" for home, names in package._HOMES.items() for name in names
            ]
            self.assertEqual(sorted(told), sorted(imported))
            names = sorted(name.rpartition(".")[2] for name in told)
            self.assertEqual(names, sorted(package.__all__))

    def test_dir(self) -> None:
        """All names are told before any is used."""
        told = loadedBy("import thing; print(*dir(thing), sep='\\n')")
        self.assertLessEqual(set(thing.__all__), told)

    def test_others(self) -> None:
        """A name that is not public is missed in the usual way."""
        for name in ("protocol", "Things", "_things"):
            self.assertFalse(hasattr(thing, name))
        with self.assertRaises(ImportError):
            exec("from thing import Things", {})

    def test_pickle(self) -> None:
        """A class is pickled by its home, and comes back as the same."""
        for name in thing.__all__:
            value = getattr(thing, name)
            self.assertIs(pickle.loads(pickle.dumps(value)), value)

    def test_quick(self) -> None:
        """The facade alone, the ground or the core bring neither Twisted nor one another."""
        for name in ("thing", "thing.errors", "thing.core.messages"):
            loaded = loadedBy(f"import sys, {name}\nprint(*sys.modules, sep='\\n')")
            self.assertIn(name, loaded)
            self.assertEqual({each for each in loaded if isIn(each, "twisted")}, set())
            self.assertNotIn("thing.session", loaded)
        loaded = loadedBy("import sys, thing\nprint(*sys.modules, sep='\\n')")
        self.assertEqual({each for each in loaded if isIn(each, "thing")}, {"thing", "thing.lazy"})
