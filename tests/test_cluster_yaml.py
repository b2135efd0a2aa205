"""Claims about cluster.yaml, checked without a cloud."""

import re
import shlex
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ray.autoscaler._private.util import prepare_config, validate_config

from factory.cli import main

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "cluster.yaml").read_text()
HEADER = TEXT.split("\ncluster_name:")[0]


def resolved(text: str = TEXT) -> dict[str, Any]:
    """The config as `ray up` uses it, Ray's defaults filled in."""
    config: dict[str, Any] = prepare_config(yaml.safe_load(text))
    validate_config(config)
    return config


@pytest.fixture
def config() -> dict[str, Any]:
    return resolved()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("idle_timeout_minutes:", "idle_timeout_minute:"),
        ("    min_workers: 0", "    min_worker: 0"),
        ("head_node_type: head", "head_node_type: haed"),
        ("  container_name:", "  container_nam: x\n  container_name:"),
    ],
)
def test_ray_refuses_a_typo(right: str, wrong: str) -> None:
    assert right in TEXT
    with pytest.raises((ValidationError, ValueError)):
        resolved(TEXT.replace(right, wrong))


def test_head_runs_no_tasks(config: dict[str, Any]) -> None:
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert head["max_workers"] == 0


def test_an_idle_cluster_is_its_head_alone(config: dict[str, Any]) -> None:
    types = config["available_node_types"]
    assert all(kind["min_workers"] == 0 for kind in types.values())
    assert 0 < config["idle_timeout_minutes"] <= 15
    assert config["provider"]["cache_stopped_nodes"] is False


def test_gpu_workers_that_may_start_are_spot(config: dict[str, Any]) -> None:
    workers = [kind for kind in config["available_node_types"].values() if kind["max_workers"]]
    assert [kind["resources"].get("GPU") for kind in workers] == [1]
    assert workers[0]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert workers[0]["max_workers"] <= config["max_workers"]


def test_every_start_of_ray_demands_the_token(config: dict[str, Any]) -> None:
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token ray start" in command for command in starts)


def test_the_token_reaches_the_nodes_as_a_file_and_is_nowhere_written(
    config: dict[str, Any],
) -> None:
    assert config["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    assert "RAY_AUTH_TOKEN" not in TEXT
    assert not re.search(r"\b[0-9a-f]{32,}\b", TEXT)


def test_nothing_listens_to_the_world(config: dict[str, Any]) -> None:
    # Resolved, so that Ray's defaults, which do, are seen too.
    text = TEXT + yaml.safe_dump(config)
    assert "0.0.0.0" not in text and "::/0" not in text
    assert "IpPermissions" not in text
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]
    assert not re.search(r"--publish|-p \d|--ray-client-server-port", text)


def locked() -> dict[str, str]:
    """Returns {name: version} of the lock."""
    text = (ROOT / "requirements.lock").read_text()
    return {canonicalize_name(n): v for n, v in re.findall(r"(?m)^([\w.-]+)==(\S+)", text)}


def test_setup_installs_exact_versions_of_what_the_project_depends_on(
    config: dict[str, Any],
) -> None:
    lock, torch, *more = config["setup_commands"]
    assert config["file_mounts"]["/home/ray/requirements.lock"] == "requirements.lock"
    assert lock == "pip install --require-hashes --requirement /home/ray/requirements.lock"
    assert not any("pip" in command for command in more)
    match = re.fullmatch(r"pip install torch==([\d.]+)", torch)
    assert match
    versions = locked() | {"torch": match[1]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # The launcher on the head needs boto3.
    needed = [*project["dependencies"], *project["optional-dependencies"]["s3"], "boto3"]
    for requirement in map(Requirement, needed):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)])


def test_torch_brings_nothing_whose_version_is_open(config: dict[str, Any]) -> None:
    # Of CUDA, torch itself names exact versions.
    for requirement in map(Requirement, requires("torch") or []):
        if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
            exact = [s.operator for s in requirement.specifier] == ["=="]
            assert exact or canonicalize_name(requirement.name) in locked(), requirement


def test_images_hold_the_ray_and_python_of_the_project(config: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ray = next(r for r in map(Requirement, project["dependencies"]) if r.name == "ray")
    for image in (config["docker"]["head_image"], config["docker"]["worker_image"]):
        match = re.fullmatch(r"rayproject/ray:([\d.]+)-py(\d)(\d+)-(cpu|gpu)", image)
        assert match and ray.specifier.contains(match[1])
        assert Requirement(f"python{project['requires-python']}").specifier.contains(
            f"{match[2]}.{match[3]}"
        )


def test_the_job_that_is_shown_uses_all_nodes_and_no_more(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = re.sub(r"\\\n#\s*", "", HEADER)
    [arguments] = re.findall(r"python jobs/generate\.py (.*)", lines)
    assert main(["generate", *shlex.split(arguments), "--print-config"]) == 0
    generate = yaml.safe_load(capsys.readouterr().out)["generate"]
    num_nodes = config["available_node_types"]["gpu_spot"]["max_workers"]
    assert generate["max_actors"] == num_nodes == config["max_workers"]
    assert generate["gpus_per_actor"] == 1
