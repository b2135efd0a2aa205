"""Environment variables by which Ray is set up and tells what it started; imports no Ray."""

import os

ADDRESS_TRIES = "RAY_gcs_server_port_wait_time_s"
"""The number of times that Ray asks an address whether it is a cluster, for 41 seconds each."""
DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_COLOR_PREFIX": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # Workers may wait for hours for one whose machine has images to decode, which says so itself.
    "RAY_TRAIN_COLLECTIVE_WARN_INTERVAL_S": "86400",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""The variables that `set_defaults` sets: Ray has no public option for any of them."""
WORKER_GROUP_SECONDS = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
"""The seconds that Ray Train waits for room for all workers."""
JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set for the entry point of a submitted job."""
_JOB_ID_OF_KUBERAY = "RAY_JOB_SUBMISSION_ID"


def set_defaults() -> None:
    """Sets what Ray reads from the environment when it starts, where the user has not."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def try_an_address_once() -> None:
    """Lets Ray ask once; where no cluster answers, it would otherwise ask for 15 minutes."""
    os.environ.setdefault(ADDRESS_TRIES, "1")


def wait_for_workers(seconds: float) -> None:
    """Sets how long Ray Train waits for room; it is read where the workers are started from."""
    os.environ[WORKER_GROUP_SECONDS] = str(seconds)


def is_submitted_job() -> bool:
    """Returns whether `ray job submit` started this process; no public function tells it."""
    return JOB_CONFIG in os.environ or _JOB_ID_OF_KUBERAY in os.environ
