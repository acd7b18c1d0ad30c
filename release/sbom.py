"""
List what an installation of a wheel has: ``python release/sbom.py PYTHON WHEEL FILE``.

The list is a CycloneDX SBOM of the environment that PYTHON is of, without what every environment
has, and of what is in there the hash of the wheel. It is refused if something is missing, or has a
licence that asks for more than Thing's own.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

OURS = "txthing"

NOT_OURS = {"pip", "setuptools", "wheel"}
"""What an environment has anyway."""

LICENCES = {
    *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0", "ZPL-2.1"),
    "License :: OSI Approved :: Apache Software License",
    "License :: OSI Approved :: BSD License",
    "License :: OSI Approved :: MIT License",
}
"""Those that ask for no more than to be named, as SPDX or the package index calls them."""


def main(python: str, wheel: Path, file: Path) -> None:
    """
    Write the list.

    :param python: the interpreter of an environment in which the wheel is installed.
    :param wheel: the wheel.
    :param file: where to write it.
    """
    command = ["cyclonedx_py", "environment", "--output-reproducible", "--no-validate"]
    found = json.loads(subprocess.check_output([sys.executable, "-m", *command, python]))
    listed = ofWheel(found, wheel)
    problems = [*troubles(listed, needed(wheel)), *map(str, schemaErrors(listed))]
    if problems:
        sys.exit("\n".join(problems))
    file.write_text(json.dumps(listed, indent=2, sort_keys=True) + "\n")
    print(
        f"{file.name}: {len(listed['components'])} packages, {', '.join(sorted(licences(listed)))}"
    )


def ofWheel(found: dict[str, Any], wheel: Path) -> dict[str, Any]:
    """
    Make a list of an environment one of what is installed with a wheel.

    :param found: the list, with whatever is there.
    :param wheel: the wheel.
    :return: the same, about the wheel.
    """
    kept = {each["bom-ref"]: each for each in found["components"] if each["name"] not in NOT_OURS}
    (own,) = (each for each in kept.values() if each["name"] == OURS)
    del kept[own["bom-ref"]]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for reference in own["externalReferences"]:
        if reference["type"] == "distribution":  # Where it was installed from is nobody's business.
            reference["url"] = wheel.name
    own["hashes"] = [{"alg": "SHA-256", "content": digest}]
    own["purl"] = f"pkg:pypi/{OURS}@{own['version']}"
    return {
        **found,
        "metadata": {**found["metadata"], "component": own},
        "components": list(kept.values()),
        "dependencies": [
            {**each, "dependsOn": [ref for ref in each.get("dependsOn", ()) if ref in kept]}
            for each in found["dependencies"]
            if each["ref"] in kept or each["ref"] == own["bom-ref"]
        ],
    }


def licences(listed: dict[str, Any]) -> set[str]:
    """
    Find all licences in a list.

    :param listed: the list.
    :return: what they are called.
    """
    return {name for each in listed["components"] for name in licencesOf(each)}


def licencesOf(component: dict[str, Any]) -> set[str]:
    """
    Find what licences a package says that it has.

    :param component: the package.
    :return: what they are called, each of those that an expression names.
    """
    names = set()
    for each in component.get("licenses", ()):
        licence = each.get("license", {})
        names |= {licence["id"]} if "id" in licence else set()
        names |= {licence["name"]} if "name" in licence else set()
        names |= set(re.split(r" (?:OR|AND) |[()]", each.get("expression", "")))
    return names - {""}


def needed(wheel: Path) -> set[str]:
    """
    Find what a wheel says that it needs, extras left out.

    :param wheel: the wheel.
    :return: the names of the packages, normalized.
    """
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        text = archive.read(path).decode()
    lines = re.findall(r"^Requires-Dist: ([A-Za-z0-9._-]+)(.*)$", text, re.MULTILINE)
    return {normalized(name) for name, rest in lines if "extra ==" not in rest}


def normalized(name: str) -> str:
    """
    Write the name of a package as the index does.

    :param name: the name.
    :return: the same, normalized.
    """
    return re.sub("[-_.]+", "-", name).lower()


def troubles(listed: dict[str, Any], needed: set[str]) -> list[str]:
    """
    Tell what is wrong with a list.

    :param listed: the list.
    :param needed: the names of the packages that have to be in it.
    :return: a line for each trouble.
    """
    own = listed["metadata"]["component"]
    missing = needed - {normalized(each["name"]) for each in listed["components"]}
    said = [f"{name} is not in the list" for name in sorted(missing)]
    for each in [own, *listed["components"]]:
        has = licencesOf(each)
        if not has:
            said.append(f"{each['name']} does not say which licence it has")
        said += [f"{each['name']} has the licence {name}" for name in sorted(has - LICENCES)]
    return said


def schemaErrors(listed: dict[str, Any]) -> list[object]:
    """
    Check a list against the schema of CycloneDX.

    :param listed: the list.
    :return: what is wrong; empty if nothing is.
    """
    from cyclonedx.schema import SchemaVersion  # Only who writes lists has it.
    from cyclonedx.validation.json import JsonStrictValidator

    version = SchemaVersion.from_version(listed["specVersion"])
    error = JsonStrictValidator(version).validate_str(json.dumps(listed))
    return [] if error is None else [error]


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} PYTHON WHEEL FILE")
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
