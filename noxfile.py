"""
The steps of ``.ci/run``, each as a session: ``nox -l`` lists them, ``nox -s lint types`` runs two.

What a step does is written there and nowhere else; it installs what it needs, and the tools are
kept from one session to the next.
"""

import subprocess
from pathlib import Path

import nox

PROJECT = Path(__file__).resolve().parent
RUN = PROJECT / ".ci" / "run"
KEPT = PROJECT / ".nox" / "ci"

nox.needs_version = ">= 2024.4.15"


def stepOf(name: str, heading: str) -> None:
    """
    Make a session of a step.

    :param name: what the step is called.
    :param heading: what it is about.
    """

    def run(session: nox.Session) -> None:
        session.run(str(RUN), name, env={"THING_CI_WORK": str(KEPT)}, external=True)

    run.__doc__ = f"{heading}."
    nox.session(run, name=name, venv_backend="none")


for _line in subprocess.check_output([RUN, "--list"], text=True).splitlines():
    stepOf(*_line.split(maxsplit=1))
