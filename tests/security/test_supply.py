"""Rule S9: no version with a known hole, and a lock that says which bytes are installed."""

import json
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = [Requirement(text) for text in PROJECT["dependencies"]]
LOCK = (ROOT / "requirements.lock").read_text()
SECURITY = (ROOT / "SECURITY.md").read_text()
FLOORS = {"ray": "2.60", "torch": "2.10", "pillow": "12.3", "fsspec": "2026.6", "pyarrow": "24"}
BY_MACHINE = {"torch"}
"""Not in the lock: its build is chosen by the machine."""


def locked() -> dict[str, tuple[Version, list[str]]]:
    """{name: its version and hashes}."""
    found = {}
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", LOCK)).splitlines()
    for line in lines:
        match = re.fullmatch(r"([a-z0-9.-]+)==(\S+)((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line)
        assert match, line
        found[canonicalize_name(match[1])] = Version(match[2]), match[3].split()
    assert len(found) == len(lines), "a name is locked twice"
    return found


@pytest.mark.parametrize("name", FLOORS)
def test_no_version_below_the_floor_is_accepted(name: str) -> None:
    requirement = next(r for r in CORE if r.name == name)
    assert Version(FLOORS[name]) == min(
        Version(s.version) for s in requirement.specifier if s.operator == ">="
    )
    assert not requirement.specifier.contains(f"{int(FLOORS[name].split('.')[0]) - 1}.99.99")


def test_torch_has_a_ceiling() -> None:
    (torch,) = (requirement for requirement in CORE if requirement.name == "torch")
    assert torch.specifier == SpecifierSet(">=2.10,<2.14")


@pytest.mark.parametrize("requirement", CORE, ids=lambda requirement: requirement.name)
def test_what_is_installed_here_is_accepted(requirement: Requirement) -> None:
    assert requirement.specifier.contains(version(requirement.name))


def test_every_line_of_the_lock_has_hashes() -> None:
    for name, (_, hashes) in locked().items():
        assert len(set(hashes)) == len(hashes) >= 1, name


def test_the_lock_holds_the_core_dependencies_in_their_ranges() -> None:
    there = locked()
    for requirement in CORE:
        name = canonicalize_name(requirement.name)
        if name in BY_MACHINE:
            assert name not in there
        else:
            assert requirement.specifier.contains(there[name][0]), name
    assert not [name for name in there if name.startswith(("nvidia", "cuda", "triton"))]


def test_the_lock_leads_to_no_other_place() -> None:
    assert "://" not in re.sub(r"https://download\.pytorch\.org/whl/cpu", "", LOCK)
    assert not re.search(r"(?m)^\s*(?:-e|-r|--(?!hash))", re.sub(r"(?m)^#.*\n", "", LOCK))


def blocks(language: str) -> list[str]:
    """The examples in SECURITY.md."""
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


@pytest.mark.parametrize(
    "word",
    [
        "RAY_AUTH_MODE=token",
        "RAY_DATA_AUTOLOAD_PICKLE_OBJECT_SCALAR",
        "RAY_DATA_AUTOLOAD_CLOUDPICKLE_TENSOR_METADATA",
        "WDS_PYTORCH_WEIGHTS_ONLY=1",
        "RAY_DATA_WEBDATASET_ALLOW_UNSAFE_DESERIALIZATION",
        "memorise",
        "Report a vulnerability",
    ],
)
def test_users_are_told_which_flags_are_safe(word: str) -> None:
    assert word in SECURITY


def test_the_readme_leads_to_it() -> None:
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text()
    for name in re.findall(r"`(?:tests/security/)?(test_\w+\.py)`", SECURITY):
        assert (ROOT / "tests" / "security" / name).is_file()
