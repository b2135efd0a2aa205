"""Claims about dependencies: the lock says which bytes are installed, and SECURITY.md is right."""

import json
import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = [Requirement(text) for text in PROJECT["dependencies"]]
LOCK = (ROOT / "requirements.lock").read_text()
SECURITY = (ROOT / "SECURITY.md").read_text()
BY_MACHINE = {"torch"}
"""Not in the lock: its build is chosen by the machine."""


def locked() -> dict[str, tuple[Version, list[str]]]:
    """Returns {name: its version and hashes}."""
    found: dict[str, tuple[Version, list[str]]] = {}
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", LOCK)).splitlines()
    for line in lines:
        match = re.fullmatch(r"([a-z0-9.-]+)==(\S+)((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line)
        assert match, line
        found[canonicalize_name(match[1])] = Version(match[2]), match[3].split()
    assert len(found) == len(lines), "a name is locked twice"
    return found


def test_every_dependency_has_a_lower_bound() -> None:
    # What is older than a bound has known holes, or was never tried.
    bounded = {r.name for r in CORE if any(s.operator == ">=" for s in r.specifier)}
    assert bounded == {r.name for r in CORE}


def test_every_line_of_the_lock_has_hashes() -> None:
    for name, (_, hashes) in locked().items():
        assert len(set(hashes)) == len(hashes) >= 1, name


def test_the_lock_holds_the_core_dependencies_in_their_ranges() -> None:
    versions = locked()
    for requirement in CORE:
        name = canonicalize_name(requirement.name)
        if name in BY_MACHINE:
            assert name not in versions
        else:
            assert requirement.specifier.contains(versions[name][0]), name
    assert not [name for name in versions if name.startswith(("nvidia", "cuda", "triton"))]


def test_the_lock_leads_to_no_other_place() -> None:
    assert "://" not in re.sub(r"https://download\.pytorch\.org/whl/cpu", "", LOCK)
    assert not re.search(r"(?m)^\s*(?:-e|-r|--(?!hash))", re.sub(r"(?m)^#.*\n", "", LOCK))


def blocks(language: str) -> list[str]:
    """Returns the examples of SECURITY.md in a language."""
    return re.findall(rf"```{language}\n(.*?)```", SECURITY, flags=re.DOTALL)


def test_the_examples_of_hardening_can_be_read_and_give_no_more_than_is_needed() -> None:
    policy, lifecycle = map(json.loads, blocks("json"))
    actions = {
        action
        for statement in policy["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str)
                       else statement["Action"])
    }  # fmt: skip
    assert {"s3:ListBucket", "s3:GetObject", "s3:PutObject"} < actions
    assert not [action for action in actions if "*" in action]
    assert all("BUCKET" in statement["Resource"] for statement in policy["Statement"])
    (rule,) = lifecycle["Rules"]
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 1
    (network,) = map(yaml.safe_load, blocks("yaml"))
    assert network["kind"] == "NetworkPolicy" and network["spec"]["policyTypes"] == ["Ingress"]


def test_the_tests_that_prove_it_are_there() -> None:
    named = re.findall(r"`(?:tests/security/)?(test_\w+\.py)`", SECURITY)
    assert named and not [n for n in named if not (ROOT / "tests" / "security" / n).is_file()]
