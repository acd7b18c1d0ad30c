"""
What is wrong with the built documentation, though Sphinx has not said a word.

``python .ci/pages.py DIRECTORY`` prints it, page by page, and exits with 1 if there is something.
"""

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Where Furo writes "ERROR: Adding a table of contents" over it, in red, by its style sheet alone.
CONTENTS = re.compile(r'class="(?:[^"]* )?contents(?![^"]*this-will-duplicate)[ "]')

BLOCK = re.compile(
    r'<div class="highlight-(\w+)[^"]*"><div class="highlight"><pre>(.*?)</pre>', re.S
)
PROMPT = re.compile(r"(?m)^\$ ")


def troubles(page: str) -> Iterator[str]:
    """
    Look at a page.

    :param page: its HTML.
    :return: what is wrong with it, a line for each.
    """
    if CONTENTS.search(page):
        yield "a table of contents, which the theme has already, and shows as an error"
    for language, block in BLOCK.findall(page):
        text = html.unescape(re.sub(r"<[^>]+>", "", block))
        if PROMPT.search(text) and language != "console":
            yield f"what a terminal shows, coloured as {language}: {text.splitlines()[0]}"


def main(directory: str) -> int:
    """
    Look at all pages.

    :param directory: what ``sphinx-build`` has written.
    :return: 1 if anything is wrong, else 0.
    """
    pages = sorted(Path(directory).rglob("*.html"))
    found = [f"{page.name}: {each}" for page in pages for each in troubles(page.read_text())]
    sys.stderr.writelines(f"{each}\n" for each in found)
    return 1 if found or not pages else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
