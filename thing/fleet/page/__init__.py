"""
The page's sources, and how they are joined into the one document that is served.

Beside this file lie the markup, the style and the modules of the script; what is served is in
:mod:`thing.fleet.http`. The sources work unjoined, too, where a server hands them out as they
are: ``index.html`` names its style and its first module as any page does.

Joined, each module is a block of one script, so its names are its own as before. The blocks
stand in the order of their imports; what a module exports, it leaves in a table where those
that import it find it. For this a module keeps to the simplest forms::

    import {one, other} from './module.mjs';
    export const name = ...      (or: export function, export class)

each at the beginning of a line, and modules do not import each other in a circle. A script waits
for nothing while it is read: there is no ``await`` outside of functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files

MARKUP = "index.html"

_STYLE = re.compile(r'<link rel="stylesheet" href="([\w-]+\.css)">')
_SCRIPT = re.compile(r'<script type="module" src="([\w-]+\.mjs)"></script>')
_IMPORT = re.compile(r"^import (\{[^{}]*\})\s+from '\./([\w-]+\.mjs)';$", re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) ([\w$]+))", re.MULTILINE)
_COMMENT = re.compile(r"(?:^|\s)//.*")
_UNKNOWN = re.compile(r"\b(?:import|export)\b")


class PageError(ValueError):
    """The sources cannot be joined."""


@cache
def document() -> bytes:
    """
    Join the sources that are installed, once in the life of the process.

    :return: the document; it asks for no other file.
    """
    directory = files(__name__)
    return join(lambda name: directory.joinpath(name).read_text("utf-8")).encode()


def join(read: Callable[[str], str]) -> str:
    """
    Join sources into one document.

    :param read: gives the text of the source of this name.
    :return: the document.
    :raises PageError: if that would change what they mean.
    """
    markup = _replaced(_STYLE, read(MARKUP), lambda name: _element("style", read(name)))
    return _replaced(_SCRIPT, markup, lambda name: _element("script", _script(name, read)))


def _replaced(place: re.Pattern[str], markup: str, content: Callable[[str], str]) -> str:
    """The markup with the one element that names a source replaced."""
    found = place.findall(markup)
    if len(found) != 1:
        raise PageError(f"{MARKUP} needs one element like {place.pattern}, and has {len(found)}")
    return place.sub(lambda match: content(match[1]), markup)


def _element(name: str, content: str) -> str:
    """An element that holds text which the browser's parser takes for nothing else."""
    end = re.search(rf"</{name}|<!--|<script", content, re.IGNORECASE)
    if end is not None:
        raise PageError(f"{end[0]!r} means something else within <{name}>")
    return f"<{name}>\n{content}</{name}>"


def _script(first: str, read: Callable[[str], str]) -> str:
    """One script of a module and all those that it needs."""
    sources: dict[str, str] = {}
    needs: dict[str, list[str]] = {}
    waiting = [first]
    while waiting:
        name = waiting.pop()
        if name not in sources:
            sources[name] = read(name)
            needs[name] = [target for _, target in _IMPORT.findall(sources[name])]
            waiting += needs[name]
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise PageError(f"modules import each other in a circle: {error.args[1]}") from None
    exports = {name: [found[1] for found in _EXPORT.findall(sources[name])] for name in order}
    blocks = [_block(name, sources[name], exports) for name in order]
    return "'use strict';\n{\nconst modules = {};\n" + "".join(blocks) + "}\n"


def _block(name: str, source: str, exports: dict[str, list[str]]) -> str:
    """A module as a block, which takes what it imports and leaves what it exports."""

    def take(match: re.Match[str]) -> str:
        names, target = match.groups()
        missing = set(re.findall(r"[^\s,{}][^,{}]*(?<!\s)", names)) - set(exports[target])
        if missing:
            raise PageError(f"{name} imports {sorted(missing)}, which {target} does not export")
        return f"const {names} = modules['{target}'];"

    body = _EXPORT.sub(r"\1", _IMPORT.sub(take, source))
    odd = _oddLine(body)
    if odd is not None:
        raise PageError(f"{name}: {odd.strip()!r} has a form that is not joined")
    left = ", ".join(exports[name])
    return f"{{ // {name}\n{body}modules['{name}'] = {{{left}}};\n}}\n"


def _oddLine(body: str) -> str | None:
    """The first line that imports or exports still, or awaits where no async line is around it."""
    around: list[tuple[int, bool]] = []  # How far each is indented, and whether it is async.
    for line in body.splitlines():
        code = _COMMENT.sub("", line)
        if not code.strip():
            continue
        indent = len(code) - len(code.lstrip())
        while around and around[-1][0] >= indent:
            around.pop()
        isAsync = "async" in code or (bool(around) and around[-1][1])
        if _UNKNOWN.search(code) or (not isAsync and re.search(r"\bawait\b", code)):
            return line
        around.append((indent, isAsync))
    return None
