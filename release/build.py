"""
Build the files of a release, the same wherever and whenever: ``python release/build.py DIR``.

The sdist is built from the tree around this file, and the wheel from the sdist. The tools are those
of ``release/requirements.txt``, which has to be installed. All times in the files are that of the
commit; modes and owners are what git knows of them, and not what this machine says. The sums of the
files are printed, and of what else their octets depend: this Python and its zlib compress them.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def main(directory: str) -> None:
    """
    Build both files.

    :param directory: where to put them; it is made if it is not there.
    """
    os.umask(0o022)  # A wheel has the modes of the files that it is made of.
    time = commitTime()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(time), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    target = Path(directory).resolve()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        build("sdist", PROJECT, work, environment)
        (built,) = Path(work).glob("*.tar.gz")
        sdist = target / built.name
        rewrite(built, sdist, time)
        with tarfile.open(sdist) as archive:
            archive.extractall(work, filter="data")  # It is our own.
        build("wheel", Path(work, built.name.removesuffix(".tar.gz")), str(target), environment)
    print(sums(target))


def commitTime() -> int:
    """
    Tell when the commit was made that is built, or what ``SOURCE_DATE_EPOCH`` says.

    :return: seconds since 1970.
    """
    said = os.environ.get("SOURCE_DATE_EPOCH")
    return int(said or subprocess.check_output(["git", "log", "-1", "--format=%ct"], cwd=PROJECT))


def build(kind: str, source: Path, target: str, environment: dict[str, str]) -> None:
    """
    Build a file.

    :param kind: ``sdist`` or ``wheel``.
    :param source: the tree that it is made of.
    :param target: where to put it.
    :param environment: for whatever builds it.
    """
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", target]
    # Standard output has the sums.
    subprocess.run([*command, str(source)], check=True, env=environment, stdout=sys.stderr)


def rewrite(built: Path, target: Path, time: int) -> None:
    """
    Write an sdist again, without what is of this machine and this hour.

    :param built: as it was built.
    :param target: where to write it.
    :param time: what all times in it are to be.
    """
    with (
        tarfile.open(built) as old,
        open(target, "wb") as file,
        gzip.GzipFile("", "wb", 9, file, mtime=time) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            member.mtime, member.uid, member.gid = time, 0, 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)


def sums(directory: Path) -> str:
    """
    Tell which octets the files have, and what compressed them.

    :param directory: where they are, and nothing else.
    :return: lines, as ``sha256sum --check`` takes them.
    """
    lines = [f"# Python {platform.python_version()}, zlib {zlib.ZLIB_RUNTIME_VERSION}"]
    for file in sorted(directory.iterdir()):
        lines.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}")
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DIR")
    main(sys.argv[1])
