"""Claims about factory.cluster, each in a process that has no Ray yet."""

import os
import subprocess
import sys

import pytest

CONNECT = """
from factory import cluster
from factory.errors import UserError
try:
    cluster.connect()
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:9", "[::1]:9", "nowhere.invalid:6379"])
def test_an_address_at_which_no_cluster_answers_is_refused(address: str) -> None:
    environment = {**os.environ, "RAY_ADDRESS": address}
    done = subprocess.run(
        [sys.executable, "-c", CONNECT],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"RAY_ADDRESS={address}: no Ray cluster answers there (")
    assert "unset it to run on this machine alone" in done.stdout
