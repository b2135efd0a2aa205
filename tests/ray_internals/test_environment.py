"""Claims about factory.ray_internals.environment: Ray reads these variables."""

import os

import pytest

from factory.ray_internals import environment
from tests.ray_internals import installed

READ_BY = {
    "RAY_USAGE_STATS_ENABLED": "_common/usage/usage_constants.py",
    "RAY_COLOR_PREFIX": "_private/worker.py",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "train/v2/_internal/constants.py",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "train/v2/_internal/constants.py",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "train/v2/_internal/constants.py",
    "RAY_TRAIN_COLLECTIVE_WARN_INTERVAL_S": "train/v2/_internal/constants.py",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "_private/accelerators/accelerator.py",
    environment.ADDRESS_TRIES: "_private/node.py",
    environment.WORKER_GROUP_SECONDS: "train/v2/_internal/constants.py",
    environment.JOB_CONFIG: "_private/runtime_env/constants.py",
}
"""Variables, and the files of Ray that name them."""


@pytest.mark.parametrize("name", READ_BY)
def test_ray_knows_each_variable(name: str) -> None:
    assert f'"{name}"'.encode() in installed.content(READ_BY[name])


def test_no_variable_is_set_that_the_table_does_not_name() -> None:
    assert environment.DEFAULTS.keys() <= READ_BY.keys()


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*environment.DEFAULTS, environment.ADDRESS_TRIES):
        monkeypatch.setenv(name, "the user's")
    environment.set_defaults()
    environment.try_an_address_once()
    assert {os.environ[name] for name in environment.DEFAULTS} == {"the user's"}
    assert os.environ[environment.ADDRESS_TRIES] == "the user's"


def test_a_submitted_job_is_known_by_the_variable_that_ray_gives_its_entry_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(environment.JOB_CONFIG, raising=False)
    assert not environment.is_submitted_job()
    monkeypatch.setenv(environment.JOB_CONFIG, "{}")
    assert environment.is_submitted_job()
    # The manager of jobs sets it by this name.
    assert b"RAY_JOB_CONFIG_JSON_ENV_VAR" in installed.content(
        "dashboard/modules/job/job_supervisor.py"
    )
