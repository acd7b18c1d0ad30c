"""
What an operator may reach: the rules that stand with its key, and the judgement by them.

Specification, "Reaching". A rule is ``THINGS:SERVICES``, each a list of patterns as in
``known_hosts``: ``*`` and ``?`` stand for anything and for one character, ``!`` excludes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from thing.errors import CredentialError

REACH = "reach:"
"""How the labels begin of streams in which a service is reached: its name follows."""

SERVICE_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a service may be called."""

_SERVICE_PATTERN = re.compile(r"!?[A-Za-z0-9._*?-]{1,64}")
_MAX_THINGS = 1024


def checkPermit(rule: str) -> str:
    """
    Check a rule.

    :param rule: as it was written.
    :return: the same.
    :raises CredentialError: if it is none, or could permit nothing.
    """
    things, _, services = rule.rpartition(":")
    if not things or len(things) > _MAX_THINGS:
        raise CredentialError(
            f'{rule[:80]!r} is not THINGS:SERVICES, as in permit-reach="lamp-*:ssh,web"'
        )
    for pattern in services.split(","):
        if not _SERVICE_PATTERN.fullmatch(pattern):
            raise CredentialError(f"{pattern[:80]!r} is no pattern of services")
    if not all(each.removeprefix("!") for each in things.split(",")):
        raise CredentialError(f"{rule[:80]!r} has an empty pattern")
    for patterns in (things, services):
        if all(each.startswith("!") for each in patterns.split(",")):
            raise CredentialError(f"{rule[:80]!r} excludes, and permits nothing")
    return rule


def allows(permits: Iterable[str], thing: str, service: str) -> bool:
    """
    Judge whether a service of a thing may be reached.

    :param permits: the rules, checked; one that matches is enough.
    :param thing: the thing's id.
    :param service: the service.
    :return: whether it may.
    """
    for rule in permits:
        things, _, services = rule.rpartition(":")
        if matches(things, thing) and matches(services, service):
            return True
    return False


def matches(patterns: str, name: str) -> bool:
    """
    Match a name with a list of patterns; which comes first does not matter.

    :param patterns: the patterns, with commas between.
    :param name: the name, in the same case.
    :return: whether one matches, and none that excludes.
    """
    matched = False
    for pattern in patterns.split(","):
        # In ssh's patterns a bracket is just a bracket.
        if fnmatchcase(name, pattern.removeprefix("!").replace("[", "[[]")):
            if pattern.startswith("!"):
                return False
            matched = True
    return matched
