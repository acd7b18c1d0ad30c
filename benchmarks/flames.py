"""Stacks, as profilers count them, drawn as a flame graph: one SVG file without scripts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from html import escape
from zlib import crc32

WIDTH = 1200
"""How wide the picture is."""

HEIGHT = 17
"""How high each line of it is."""

NARROWEST = 0.4
"""What is narrower is left out."""

LETTER = 6.3
"""How wide a letter is, about."""

Stacks = Counter[tuple[str, ...]]
"""How often each stack was seen, the outermost function first."""


def parse(raw: str, above: str, without: str) -> Stacks:
    """
    Read what py-spy writes as ``raw``.

    :param raw: lines of ``outermost;...;innermost COUNT``.
    :param above: the function whose callers, with itself, say nothing.
    :param without: the function whose stacks are left out.
    :return: the stacks.
    """
    stacks: Stacks = Counter()
    for line in raw.splitlines():
        text, _, count = line.rpartition(" ")
        frames = [frame.partition(" (")[0] + _place(frame) for frame in text.split(";")]
        if any(without in frame for frame in frames):
            continue
        tops = [number for number, frame in enumerate(frames) if above in frame]
        stacks[tuple(frames[tops[0] + 1 if tops else 0 :])] += int(count)
    return stacks


def _place(frame: str) -> str:
    """In which file a function is, without the line where it begins."""
    place = frame.partition(" (")[2].rstrip(")").rpartition(":")[0]
    return f" ({place})" if place else ""


@dataclass
class _Flame:
    """A function at one place of the picture."""

    count: int = 0
    above: dict[str, _Flame] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """How many lines it and what it calls take."""
        return 1 + max((flame.height for flame in self.above.values()), default=0)


def draw(stacks: Stacks, title: str) -> str:
    """
    Draw a flame graph: callers below, the width says how much time.

    :param stacks: what was seen.
    :param title: what it shows.
    :return: SVG.
    """
    root = _Flame()
    for stack, count in stacks.items():
        flame = root
        flame.count += count
        for name in stack:
            flame = flame.above.setdefault(name, _Flame())
            flame.count += count
    height = (root.height + 1) * HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="monospace" font-size="10.5">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    _add(lines, f"{title}, {root.count} samples", root, 0.0, height - HEIGHT, root.count)
    return "\n".join((*lines, "</svg>", ""))


def _add(lines: list[str], name: str, flame: _Flame, left: float, top: int, total: int) -> None:
    """Draw one function and what it calls."""
    width = WIDTH * flame.count / max(1, total)
    if width < NARROWEST:
        return
    colour = f"hsl({20 + crc32(name.encode()) % 35},75%,68%)"
    share = f"{flame.count / max(1, total):.1%}"
    text = name.partition(" (")[0] if "samples" not in name else name
    room = int(width / LETTER)
    shown = text if len(text) <= room else text[: room - 1] + "…" if room > 3 else ""
    lines.append(
        f'<g><title>{escape(name)}: {share}</title><rect x="{left:.1f}" y="{top}"'
        f' width="{width:.1f}" height="{HEIGHT - 1}" fill="{colour}"/>'
        + (f'<text x="{left + 2:.1f}" y="{top + 12}">{escape(shown)}</text>' if shown else "")
        + "</g>"
    )
    for each, above in sorted(flame.above.items()):
        _add(lines, each, above, left, top - HEIGHT, total)
        left += WIDTH * above.count / max(1, total)


def functions(stacks: Stacks, shown: int) -> str:
    """
    Sum stacks up by function.

    :param stacks: what was seen.
    :param shown: how many functions to tell.
    :return: two tables: those with most time of their own, and those with most in all.
    """
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for stack, count in stacks.items():
        own[stack[-1] if stack else ""] += count
        for name in set(stack):
            whole[name] += count
    total = max(1, sum(stacks.values()))
    lines = [f"{total} samples"]
    for order in (own, whole):
        lines += ["", f"{'alone':>7}{'whole':>8}  function"]
        lines += [
            f"{own[name] / total:>7.1%}{whole[name] / total:>8.1%}  {name}"
            for name, _ in order.most_common(shown)
        ]
    return "\n".join(lines) + "\n"
