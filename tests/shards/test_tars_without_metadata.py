"""Tars that were made before there were tables beside them are read, proven, extended and mended.

The dataset lies in tars_without_metadata/: the code before wrote it of the samples of this folder's
`draw`.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.report import write_report
from factory.shards.ledger import Ledger
from factory.shards.packing import pack
from factory.shards.plan import Plan
from factory.shards.random_access import ShardIndex
from factory.shards.reader import ShardDataset
from factory.shards.reading import read_manifest
from factory.shards.receipts import Circumstances
from factory.shards.schema import sample_key
from factory.shards.status import status
from factory.shards.verification import verify
from tests.folders import contents

CIRCUMSTANCES = Circumstances(seconds=0.5, host="here")


@pytest.fixture
def old(tmp_path) -> Path:
    """A copy of it, to be changed."""
    there = Path(__file__).parent / "tars_without_metadata"
    return Path(shutil.copytree(there, tmp_path / "old"))


@pytest.fixture
def wanted(make_plan) -> Callable[[int], Plan]:
    """The plan that this version makes of the settings of the dataset, for a number of samples."""
    recipe = {**make_plan().recipe, "metadata_files": True}
    return lambda num: make_plan(format="webdataset", recipe=recipe, num=num)


def without_card(folder: Path) -> dict[str, bytes]:
    """All files but the card, whose words are those of each version, and what holds its hash."""
    found = contents(folder)
    for name in ("README.md", "_factory/manifest.json", "_SUCCESS"):
        del found[name]
    return found


def put(ledger: Ledger, shard: int, make_samples, replace: bool = False) -> None:
    spec = ledger.plan.shard(shard)
    samples = make_samples(spec.stop - spec.start, spec.start)
    files = pack(ledger.plan, spec, list(map(ledger.plan.encode_sample, samples)))
    ledger.publish(spec, files, CIRCUMSTANCES, replace)


def test_it_is_whole_and_read(old):
    for level in ("size", "hash", "decode"):
        found = verify(str(old), level)
        assert (found.findings, found.finished, found.num_shards) == ([], True, 3)
    keys = [sample_key(i) for i in range(7)]
    for read in (ShardDataset, ShardIndex):
        assert [row["key"] for row in read(str(old))] == keys
        assert [row["key"] for row in read(str(old), split="train")] == keys
    assert status(str(old)).finished
    assert "7</dd>" in Path(write_report(str(old))).read_text()


def test_this_version_writes_the_same_bytes_of_its_plan(old, tmp_path, make_plan, make_samples):
    ledger = Ledger(str(tmp_path / "new"), make_plan(format="webdataset"))
    ledger.start("num: 7\n", {"python": "3"})
    for shard in ledger.pending():
        put(ledger, shard, make_samples)
    ledger.finish("A test.", "cc0-1.0")
    assert without_card(tmp_path / "new") == without_card(old)


def test_the_same_command_finds_it_complete(old, wanted):
    ledger = Ledger.resolve(str(old), wanted(7))
    assert not ledger.plan.has_metadata and list(ledger.pending()) == []


def test_it_is_extended_by_shards_of_its_own_kind(old, wanted, make_samples):
    before = contents(old)
    ledger = Ledger.resolve(str(old), wanted(11), extend=True)
    ledger.start("", {})
    assert list(ledger.pending()) == [3, 4]
    for shard in ledger.pending():
        put(ledger, shard, make_samples)
    assert ledger.finish("A test.", "cc0-1.0").rows == 11
    after = contents(old)
    assert {n: after[n] for n in before if n.startswith("data/")} == {
        n: data for n, data in before.items() if n.startswith("data/")
    }
    assert not any(name.startswith("metadata/") for name in after)
    assert verify(str(old), "decode").findings == []
    assert [row["key"] for row in ShardIndex(str(old))] == [sample_key(i) for i in range(11)]


@pytest.mark.parametrize("damage", ["lost", "altered"])
def test_it_is_mended_to_the_same_bytes(old, wanted, make_samples, damage):
    before, root = contents(old), read_manifest(str(old)).root
    shard = old / "data/train-00001.tar"
    shard.unlink()
    if damage == "altered":
        shard.write_bytes(before["data/train-00001.tar"][:-1])
    ledger = Ledger.resolve(str(old), wanted(7))
    put(ledger, 1, make_samples, replace=True)
    ledger.finish("A test.", "cc0-1.0", proven=[1])
    assert without_card(old) == {name: before[name] for name in without_card(old)}
    assert verify(str(old), "decode").findings == []
    assert read_manifest(str(old)).root == root
