"""Claims about all of it: whatever goes wrong, the same command ends with the same bytes.

`make chaos RUNS=1000` is the long version.
"""

import random

import pytest

from tests.chaos import chaos


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, s3_bucket: str
) -> tuple[list[str], dict[str, str]]:
    chaos.make_bucket()
    return chaos.prepare(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("number", range(len(chaos.FAULTS)))
def test_a_disturbed_run_ends_as_an_undisturbed_one(number, undisturbed, tmp_path) -> None:
    options, expected = undisturbed
    # Other runs than the first of the long version.
    result = chaos.chaos(number + 10_000 * len(chaos.FAULTS), tmp_path, options, expected)
    assert result["wrong"] == [], (result, (tmp_path / "log.txt").read_text()[-3000:])


def test_the_harness_notices_a_store_that_shows_half_a_shard(
    undisturbed, tmp_path, monkeypatch
) -> None:
    options, expected = undisturbed

    def torn(run: chaos.Run) -> None:
        # Plan, config, environment; then a shard and its receipt in turns.
        run.finish(run.start(faults="write.before:6", tears=True))

    monkeypatch.setattr(chaos, "FAULTS", [(torn, "disk")])
    wrong = chaos.chaos(0, tmp_path, options, expected)["wrong"]
    assert "exit code 3" in wrong and any("torn read" in finding for finding in wrong)


def test_the_harness_notices_other_bytes(undisturbed, tmp_path) -> None:
    options, expected = undisturbed
    run = chaos.Run(0, tmp_path, [*options, "--seed", "1"], random.Random(0))
    run.finish(run.start())
    wrong = chaos._wrong(run, expected)
    assert any(finding.startswith("root") for finding in wrong)
    assert any(finding.startswith("shards") for finding in wrong)


def test_the_table_counts_what_held() -> None:
    results = [
        {"fault": "a", "wrong": [], "seconds": 1.0},
        {"fault": "a", "wrong": ["x"], "seconds": 3.0},
        {"fault": "b", "wrong": [], "seconds": 2.0},
    ]
    table = chaos.table(results)
    assert "| a | 2 | 1 | 3.0 |" in table and "| **all** | **3** | **2** | |" in table
