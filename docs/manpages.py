"""
Write the manual pages, from what ``--help`` is made of: ``python docs/manpages.py DIRECTORY``.

There is one for ``thing``, one for each of its commands (``man thing-send``), and
``twistd-thing``. A release has them in its wheel, below ``share/man``.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from thing.cli.commands import commands
from thing.daemon.options import Options

HOME = "https://github.com/txthing/thing"


def plain(text: str) -> str:
    """
    Write a text so that roff shows it as it is.

    :param text: one line.
    :return: the line, which is no request.
    """
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def head(name: str, sentence: str) -> Iterator[str]:
    """
    Begin a page.

    :param name: what it is about.
    :param sentence: the same, in one sentence.
    :return: its first lines.
    """
    yield from (f'.TH {plain(name.upper())} 1 "" Thing', ".nh", ".ad l")
    yield from (".SH NAME", f"{plain(name)} \\- {plain(sentence.rstrip('.'))}")


def synopsis(*words: str) -> Iterator[str]:
    """
    Say how it is typed.

    :param words: the program, and what may follow.
    :return: lines.
    """
    yield from (".SH SYNOPSIS", f".B {plain(words[0])}", plain(" ".join(words[1:])))


def entry(name: str, text: str) -> Iterator[str]:
    """
    Say what an option or an exit code is.

    :param name: it.
    :param text: what it is.
    :return: lines.
    """
    yield from (".TP", f".B {plain(name)}", plain(text))


def paragraphs(text: str) -> Iterator[str]:
    """
    Write text.

    :param text: its paragraphs, an empty line between two.
    :return: lines.
    """
    lines = [plain(" ".join(paragraph.split())) for paragraph in text.split("\n\n")]
    yield from "\n.PP\n".join(lines).split("\n")


def closing(text: str) -> Iterator[str]:
    """
    Write what stands at the end of a command's help.

    :param text: the examples and the exit codes.
    :return: lines.
    """
    for title, *lines in (part.strip().split("\n") for part in text.split("\b\n")[1:]):
        if title == "Exit codes:":
            yield ".SH EXIT STATUS"
            for line in lines:
                yield from entry(*line.split(maxsplit=1))
        else:
            yield from (f".SH {plain(title.rstrip(':').upper())}", ".nf")
            yield from (*(plain(line.strip()) for line in lines), ".fi")


def commandPage(name: str, command: click.Command) -> Iterator[str]:
    """
    Write the page of ``thing``, or of one of its commands.

    :param name: the program and the command.
    :param command: what click knows of it.
    :return: its lines.
    """
    context = click.Context(command, parent=click.Context(commands), info_name=name)
    sentence, _, more = (command.help or "").strip().partition("\n\n")
    yield from head(name.replace(" ", "-"), " ".join(sentence.split()))
    yield from synopsis(name, *command.collect_usage_pieces(context))
    if more:
        yield from (".SH DESCRIPTION", *paragraphs(more))
    yield ".SH OPTIONS"
    for option in command.get_params(context):
        if isinstance(option, click.Option) and (record := option.get_help_record(context)):
            yield from entry(*record)
    others = getattr(command, "commands", {})
    if others:
        yield ".SH COMMANDS"
        for other, each in sorted(others.items()):
            yield from entry(f"thing-{other}(1)", each.get_short_help_str(200))
    yield from closing(command.epilog or "")
    yield from seeAlso("thing(1)" if name != "thing" else "twistd-thing(1)")


def daemonPage() -> Iterator[str]:
    """:return: the lines of the page of ``twistd thing``."""
    *groups, epilogue = Options().getUsage().strip().split("\n\n")
    yield from head("twistd-thing", "Serve Thing: sessions, who is here, and messages to things.")
    yield from synopsis("twistd", "[twistd's options]", "thing", "[options]")
    yield from (".SH DESCRIPTION", *paragraphs(epilogue), ".SH OPTIONS")
    for title, *lines in (group.split("\n") for group in groups):
        yield f".SS {plain(title.rstrip(':'))}"
        for line in lines:
            short, option, text = re.fullmatch(r" +(-\w, )? *(\S+) +(.+)", line).groups("")
            yield from entry(f"{short}{option}", text)
    yield from seeAlso("thing(1)", "twistd(1)")


def seeAlso(*others: str) -> Iterator[str]:
    """
    Lead to more.

    :param others: pages.
    :return: lines.
    """
    yield from (".SH SEE ALSO", plain(", ".join(others)), ".PP", plain(HOME))


def pages() -> dict[str, str]:
    """:return: the text of each page, by its file's name."""
    made = {"thing": commandPage("thing", commands), "twistd-thing": daemonPage()}
    for name, command in commands.commands.items():
        made[f"thing-{name}"] = commandPage(f"thing {name}", command)
    return {f"{name}.1": "\n".join([*lines, ""]) for name, lines in made.items()}


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for file, text in pages().items():
        (directory / file).write_text(text, "utf-8")
