"""Claims about verify, status and gc."""

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from factory import storage
from factory.cli import main
from factory.errors import UserError
from factory.shards.ledger import Ledger
from factory.shards.leftovers import leftovers, remove_leftovers
from factory.shards.receipts import Circumstances
from factory.shards.status import status
from factory.shards.verification import verify
from tests.failing_storage import fail_calls
from tests.mutations import mutated

NUM_MUTATIONS = int(os.environ.get("NUM_MUTATIONS", "300"))


def named(url: str, level="hash") -> dict[str, str]:
    return {finding.name: finding.what for finding in verify(url, level).findings}


@pytest.mark.parametrize("level", ["size", "hash", "decode"])
@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_a_whole_dataset_has_nothing_to_be_named(url, make_plan, write_dataset, format, level):
    plan = make_plan(format=format)
    write_dataset(url, plan)
    found = verify(url, level)
    assert (found.findings, found.finished, found.num_shards) == ([], True, 3)
    assert found.plan == plan and found.manifest.bytes == found.num_bytes


def test_a_report_and_hidden_files_are_nobodys_business(url, make_plan, write_dataset):
    write_dataset(url, make_plan())
    for name in ("report/index.html", ".gitattributes", ".cache/x", "data/.x.parquet.swp"):
        storage.write(f"{url}/{name}", b"x")
    assert named(url) == {}


def test_repair_is_advised_only_where_it_mends_something(
    tmp_path, make_plan, write_dataset, capsys
):
    write_dataset(str(tmp_path), make_plan())
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["verify", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert ": 1 file of other origin\n" in told and "move or delete" in told
    assert "factory repair" not in told
    (tmp_path / "README.md").write_text("altered")
    assert main(["verify", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "1 file is not as it was written, 1 file of other origin" in told
    assert f"`factory repair {tmp_path}`" in told


@pytest.mark.slow
@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_every_random_mutation_is_named(tmp_path, make_plan, write_dataset, format):
    url = str(tmp_path / "out")
    write_dataset(url, make_plan(format=format))
    rng = random.Random(f"{format} 1")
    for _ in range(NUM_MUTATIONS):
        with mutated(Path(url), rng) as (what, concerned):
            found = set(named(url))
            assert concerned & found, f"{what}: only {found} was named"
            # What is said is about the damage, not about the whole dataset.
            assert len(found - concerned) <= 1, f"{what}: {found}"
    assert named(url) == {}


def test_a_flipped_byte_is_found_at_the_level_that_looks_for_it(url, make_plan, write_dataset):
    plan = make_plan(format="webdataset")
    write_dataset(url, plan)
    name = plan.shard(1).path
    content = bytearray(storage.read_bytes(f"{url}/{name}"))
    content[512 + 60] ^= 1  # in the first picture
    storage.write(f"{url}/{name}", bytes(content))
    assert named(url, "size") == {}
    for level in ("hash", "decode"):
        assert list(named(url, level)) == [name]
    assert [finding.shard for finding in verify(url).findings] == [1]


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_decoding_reads_each_file_of_a_shard_once(
    url, make_plan, write_dataset, monkeypatch, format
):
    plan = make_plan(format=format)
    write_dataset(url, plan)
    paths = {path for spec in plan.shards() for path in spec.paths}
    read = []

    def counting(function):
        def count(self, name):
            read.append(name)
            return function(self, name)

        return count

    for name in ("read_bytes", "sha256_of"):
        monkeypatch.setattr(storage.Folder, name, counting(getattr(storage.Folder, name)))
    assert named(url, "decode") == {}
    assert sorted(name for name in read if name in paths) == sorted(paths)


def test_an_unfinished_dataset_is_looked_at_as_far_as_it_is(url, make_plan, make_samples):
    plan = make_plan()
    Ledger(url, plan).start("", {})
    for spec in plan.shards()[:2]:
        data = plan.encode(make_samples(3, spec.start))
        Ledger(url, plan).publish(spec, {spec.path: data}, Circumstances(seconds=1.0, host="here"))
    found = verify(url)
    assert (found.findings, found.finished, found.num_shards) == ([], False, 2)
    # In the making: a shard is written before its receipt.
    storage.write(f"{url}/{plan.shard(2).path}", b"x")
    assert named(url) == {}
    storage.write(f"{url}/{plan.shard(0).path}", b"x")
    receipt = f"{url}/_factory/shards/00001.json"
    storage.write(receipt, storage.read_bytes(receipt)[:-9])
    assert list(named(url)) == ["_factory/shards/00001.json", plan.shard(0).path]


def test_an_extension_in_the_making_is_no_damage(url, make_plan, write_dataset):
    plan = make_plan()
    write_dataset(url, plan)
    Ledger(url, plan.extended(20)).start("", {})
    found = verify(url)
    assert (found.findings, found.finished, found.num_shards) == ([], False, 3)


def test_a_manifest_that_contradicts_success_is_told_from_an_altered_success(
    url, make_plan, write_dataset
):
    write_dataset(url, make_plan())
    for name, field in (("_factory/manifest.json", "env_json"), ("_SUCCESS", "rows")):
        before = storage.read_bytes(f"{url}/{name}")
        content = {**json.loads(before), field: "{}" if field == "env_json" else 8}
        storage.write(f"{url}/{name}", (json.dumps(content, indent=1) + "\n").encode())
        assert list(named(url)) == [name]
        storage.write(f"{url}/{name}", before)


def test_a_place_without_a_dataset_is_told_so(url):
    for look in (verify, status, leftovers):
        with pytest.raises(UserError, match="holds no dataset"):
            look(url)


# Status


def test_status_tells_done_missing_and_rate(tmp_path, make_plan, make_samples):
    url, plan = str(tmp_path), make_plan()
    Ledger(url, plan).start("", {})
    state = status(url)
    assert (state.shards_done, state.pairs_done, state.finished) == (0, 0, False)
    assert state.pairs_per_second is None and state.seconds_left is None
    for spec in plan.shards()[:2]:
        data = plan.encode(make_samples(3, spec.start))
        Ledger(url, plan).publish(spec, {spec.path: data}, Circumstances(seconds=1.0, host="here"))
        os.utime(f"{url}/_factory/shards/{spec.shard:05d}.json", (0, 1000 + 2 * spec.shard))
    state = status(url)
    assert (state.shards_done, state.pairs_done, state.finished) == (2, 6, False)
    assert state.pairs_per_second == pytest.approx(1.5)
    assert state.seconds_left == pytest.approx(1 / 1.5)


@pytest.fixture
def with_receipts_at(tmp_path, make_plan, make_samples) -> Callable[[list[float], float], str]:
    """A dataset of shards of one pair that each took so many seconds, its receipts' times set."""

    def make(times: list[float], seconds: float) -> str:
        url = str(tmp_path / f"{len(times)} shards")
        plan = make_plan(num=len(times) + 1, samples_per_shard=1)
        ledger = Ledger(url, plan)
        ledger.start("", {})
        for spec, written in zip(plan.shards(), times, strict=False):
            data = plan.encode(make_samples(1, spec.start))
            ledger.publish(spec, {spec.path: data}, Circumstances(seconds=seconds, host="here"))
            os.utime(f"{url}/_factory/shards/{spec.shard:05d}.json", (0, written))
        return url

    return make


def test_a_copy_tells_no_rate(with_receipts_at):
    url = with_receipts_at([1000, 1000.01, 1000.02], seconds=60)
    assert status(url).pairs_per_second is None and status(url).seconds_left is None


def test_the_first_shards_of_many_actors_tell_no_rate_and_their_second_ones_do(with_receipts_at):
    first = [1000.0 + i / 100 for i in range(4)]
    assert status(with_receipts_at(first, seconds=60)).pairs_per_second is None
    second = [time + 60 for time in first]
    rate = status(with_receipts_at([*first, *second], seconds=60)).pairs_per_second
    assert rate == pytest.approx(7 / 60, rel=0.01)


def test_shards_that_come_faster_than_one_is_made_are_counted_over_the_time_of_one(
    with_receipts_at, monkeypatch
):
    monkeypatch.setattr("factory.shards.status._RECENT", 3)
    rate = status(with_receipts_at([1000.0 + i for i in range(20)], seconds=10)).pairs_per_second
    assert rate == pytest.approx(1.0)


def test_status_of_a_finished_and_of_an_extended_dataset(url, make_plan, write_dataset):
    plan = make_plan()
    write_dataset(url, plan)
    assert status(url).finished and status(url).pairs_done == 7
    Ledger(url, plan.extended(20)).start("", {})
    state = status(url)
    assert not state.finished and (state.pairs_done, state.plan.num) == (7, 20)


# Leftovers


def test_gc_takes_old_leftovers_and_nothing_else(tmp_path, make_plan, write_dataset):
    url = str(tmp_path / "out")
    write_dataset(url, make_plan())
    hexa = "0123456789abcdef" * 2
    old = [
        f"data/.train-00000.parquet.{hexa}.tmp",
        f"_factory/.run.json.{hexa}.tmp",
        f"probe-{hexa}",
    ]
    young = f"data/.train-00001.parquet.{hexa}.tmp"
    foreign = ["data/mine.tmp", "data/.mine.tmp", "probe-mine", f".{hexa}.tmp"]
    for name in (*old, young, *foreign):
        storage.write(f"{url}/{name}", b"xyz")
        if name != young:
            os.utime(f"{url}/{name}", (time.time() - 2 * 86400,) * 2)
    assert {entry.name for entry in leftovers(url)} == set(old)
    before = {entry.name for entry in storage.entries(url)}
    assert {entry.name for entry in remove_leftovers(url)} == set(old)
    assert {entry.name for entry in storage.entries(url)} == before - set(old)
    assert {name for name in named(url)} == {"data/mine.tmp", "probe-mine"}


@pytest.mark.parametrize("days", [-1, 1])
def test_gc_goes_by_the_stores_clock(tmp_path, make_plan, write_dataset, monkeypatch, days):
    url = str(tmp_path / "out")
    write_dataset(url, make_plan())
    hexa = "0123456789abcdef" * 2
    young, old = f"data/.a.parquet.{hexa}.tmp", f"data/.b.parquet.{hexa}.tmp"
    for name in (young, old):
        storage.write(f"{url}/{name}", b"xyz")
    os.utime(f"{url}/{old}", (time.time() - 1.5 * 86400,) * 2)
    original = time.time
    monkeypatch.setattr(time, "time", lambda: original() + days * 86400)
    there = {entry.name for entry in storage.entries(url)}
    assert [entry.name for entry in leftovers(url)] == [old]
    assert {entry.name for entry in storage.entries(url)} == there
    # Where nothing can be written, by the youngest file.
    error = PermissionError(13, "Permission denied")
    failures = fail_calls(monkeypatch, 99, error, at=lambda url: "probe-" in url)
    assert [entry.name for entry in leftovers(url)] == [old] and failures.num_by_url


# Files that cannot be read, and storage that fails now and then


def refuse_to_read(monkeypatch, name: str) -> None:
    """Only the file of this name."""
    error = PermissionError(13, "Permission denied")
    fail_calls(monkeypatch, times=99, error=error, at=lambda url: url.endswith(name))


@pytest.mark.parametrize("level", ["hash", "decode"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_file_that_cannot_be_read_is_named(
    url, make_plan, write_dataset, monkeypatch, level, finished
):
    plan = make_plan()
    write_dataset(url, plan)
    names = [plan.shard(1).path, "_factory/shards/00001.json", "_factory/run.json"]
    if finished:
        names += ["_factory/manifest.json", "_SUCCESS"]
    else:
        for name in ("_factory/manifest.json", "_SUCCESS"):
            storage.remove(f"{url}/{name}")
    for name in names:
        with monkeypatch.context() as patch:
            refuse_to_read(patch, name)
            [(found, what)] = named(url, level).items()
            assert found == name and what.startswith("cannot be read: Permission denied")


def test_a_folder_at_a_files_name_is_named(tmp_path, make_plan, write_dataset):
    url, plan = tmp_path / "out", make_plan()
    write_dataset(str(url), plan)
    for name in (plan.shard(1).path, "_factory/shards/00001.json"):
        (url / name).unlink()
        (url / name).mkdir()
        assert named(str(url))[name] == "missing"
    for folder, name in (("data", plan.shard(0).path), ("_factory/shards", "00000.json")):
        (url / folder).rename(tmp_path / "away")
        (url / folder).write_bytes(b"a file")
        assert any(
            file.endswith(name) and what == "missing" for file, what in named(str(url)).items()
        )
        (url / folder).unlink()
        (tmp_path / "away").rename(url / folder)


@pytest.mark.parametrize("look", [verify, status, leftovers, remove_leftovers])
def test_storage_that_fails_once_is_asked_again(url, make_plan, write_dataset, monkeypatch, look):
    write_dataset(url, make_plan())
    undisturbed = look(url)
    failures = fail_calls(monkeypatch)
    assert look(url) == undisturbed
    assert failures.num_by_url


def test_an_outage_proves_no_damage(url, make_plan, write_dataset, monkeypatch):
    write_dataset(url, make_plan())
    fail_calls(monkeypatch, times=99, at=lambda file: file.endswith(".parquet"))
    with pytest.raises(OSError, match="503"):
        verify(url)
