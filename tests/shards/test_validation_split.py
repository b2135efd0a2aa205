"""Claims about datasets with a validation split: who finds which samples, and what becomes of them
when something fails."""

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from torch.utils.data import DataLoader

import factory
from factory import faults, storage
from factory.errors import DamagedShard, Incomplete, ShardConflict, UserError
from factory.report import write_report
from factory.shards.ledger import Ledger
from factory.shards.packing import pack
from factory.shards.plan import Plan
from factory.shards.random_access import ShardIndex
from factory.shards.reader import ShardDataset, read_dataset
from factory.shards.reading import read_manifest, read_receipts
from factory.shards.receipts import Circumstances
from factory.shards.schema import sample_key
from factory.shards.splits import split_of
from factory.shards.status import status
from factory.shards.verification import verify
from tests.folders import contents

NUM, PER_SHARD, FRACTION = 24, 6, 0.25
KEYS = [sample_key(i) for i in range(NUM)]
OF = {
    split: [key for key in KEYS if split_of(key, FRACTION) == split]
    for split in ("train", "validation")
}
FORMATS = ["parquet", "webdataset"]


@pytest.fixture(params=FORMATS)
def plan(request, make_plan) -> Plan:
    return plan_of(make_plan, request.param)


def plan_of(make_plan, format: str, **changes: Any) -> Plan:
    recipe = {**make_plan().recipe, "val_fraction": FRACTION}
    if format == "webdataset":
        recipe["metadata_files"] = True
    fields = {"num": NUM, "samples_per_shard": PER_SHARD, "format": format, "recipe": recipe}
    return make_plan(**{**fields, **changes})


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """Where datasets are kept for the tests of this module."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def url(tmp_path, plan, write_dataset, kept) -> str:
    """A dataset that a test may damage."""
    if not (kept / plan.format).exists():
        write_dataset(str(kept / plan.format), plan)
    return str(shutil.copytree(kept / plan.format, tmp_path / "out"))


@pytest.fixture
def packed(make_samples) -> Callable[..., dict[str, bytes]]:
    def packed(plan: Plan, shard: int) -> dict[str, bytes]:
        spec = plan.shard(shard)
        samples = make_samples(spec.stop - spec.start, spec.start)
        return pack(plan, spec, list(map(plan.encode_sample, samples)))

    return packed


def test_both_splits_have_files_of_their_own_which_hold_all_samples_once(url, plan):
    assert 3 < len(OF["validation"]) < 9
    found: dict[str, list[str]] = {"train": [], "validation": []}
    for path in sorted(Path(url, "data").iterdir()):
        split = path.name.partition("-")[0]
        found[split] += [row.fields["key"] for row in plan.rows(path.read_bytes())]
    assert found == OF


def test_a_shard_of_one_split_has_one_file(make_plan, packed):
    plan = plan_of(make_plan, "parquet", samples_per_shard=1)
    for shard in range(NUM):
        (name,) = packed(plan, shard)
        split = "train" if KEYS[shard] in OF["train"] else "validation"
        assert name == plan.shard(shard).path == f"data/{split}-{shard:05d}.parquet"


def test_receipts_tell_the_files_and_what_each_split_has(url, plan, make_samples):
    receipts = read_receipts(url)
    for spec in plan.shards():
        receipt = receipts[spec.shard]
        assert receipt.paths == spec.paths and receipt.rows == spec.stop - spec.start
        for file in receipt.files:
            assert storage.size_of(f"{url}/{file.path}") == file.bytes
        samples = make_samples(spec.stop - spec.start, spec.start)
        for split in plan.splits:
            mine = [sample for sample in samples if sample.key in OF[split]]
            part = receipt.of_split(split)
            assert (part is None) == (not mine)
            if part is not None:
                assert [part.first_key, part.last_key] == [mine[0].key, mine[-1].key]
                assert part.rows == len(mine) == sum(file.rows for file in part.data_files)
                assert part.uncertainty_max == max(s.uncertainty for s in mine)
                masks = np.array([sample.mask for sample in mine])
                assert part.class_pixels == [int((masks == i).sum()) for i in range(3)]
                assert all(f"/{split}-" in path for path in part.paths)
    manifest = read_manifest(url)
    assert manifest.bytes == sum(
        path.stat().st_size for name in ("data", "metadata") for path in Path(url).glob(f"{name}/*")
    )


def keys_of(rows: Any) -> list[str]:
    return [row["key"] for row in rows]


@pytest.mark.parametrize("split", [None, "train", "validation"])
def test_our_readers_give_the_samples_of_a_split_in_order(url, split, make_samples):
    wanted = KEYS if split is None else OF[split]
    samples = {sample.key: sample for sample in make_samples(NUM)}
    streamed, index = ShardDataset(url, split=split), ShardIndex(url, split=split)
    assert keys_of(streamed) == keys_of(index) == wanted
    assert len(streamed) == len(index) == len(wanted)
    for i in (-1, 0, len(wanted) // 2):
        row, put = index[i], samples[wanted[i]]
        assert np.array_equal(row["image"].permute(1, 2, 0), put.image)
        assert np.array_equal(row["mask"], put.mask) and row["key"] == put.key
    assert keys_of(factory.open_dataset(url, split=split)) == wanted
    assert keys_of(factory.open_dataset(url, split=split, random_access=True)) == wanted


def test_ranks_and_workers_share_a_split(url):
    parts = [
        keys_of(ShardDataset(url, split="validation", rank=rank, world_size=2, equal_ranks=False))
        for rank in range(2)
    ]
    assert parts[0] + parts[1] == OF["validation"] and all(parts)
    shuffled = keys_of(ShardDataset(url, split="train", shuffle=True))
    assert sorted(shuffled) == OF["train"] != shuffled


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* shards for 2 consumers")
def test_workers_of_a_loader_share_a_split(url):
    loader = DataLoader(ShardDataset(url, split="validation"), batch_size=None, num_workers=2)
    assert sorted(keys_of(loader)) == OF["validation"]


def test_a_filter_of_a_split_is_told_by_the_samples_of_that_split(url, make_samples):
    values = {sample.key: sample.uncertainty for sample in make_samples(NUM)}
    least = min(values[key] for key in OF["validation"])
    below = np.nextafter(np.float32(least), np.float32(0)).item()
    assert min(values.values()) < below, "training has a sample that is more certain"
    with pytest.raises(UserError, match=f"keeps none of {len(OF['validation'])} pairs"):
        ShardDataset(url, split="validation", max_uncertainty=below)
    kept = keys_of(ShardDataset(url, split="validation", max_uncertainty=least))
    assert kept == [key for key in OF["validation"] if values[key] <= least]
    assert keys_of(ShardDataset(url, split="train", max_uncertainty=below))
    half = keys_of(ShardDataset(url, split="validation", keep=0.5))
    bound = sorted(values[key] for key in OF["validation"])[len(half) - 1]
    assert abs(len(half) - len(OF["validation"]) / 2) <= 1
    assert half == [key for key in OF["validation"] if values[key] <= bound]


@pytest.mark.ray
@pytest.mark.parametrize("split", [None, "train", "validation"])
def test_ray_reads_the_samples_of_a_split(url, ray_session, split):
    rows = read_dataset(url, split=split).take_all()
    wanted = KEYS if split is None else OF[split]
    assert sorted(sample_key(row["index"]) for row in rows) == wanted


@pytest.mark.parametrize("read", [ShardDataset, ShardIndex, read_dataset])
def test_a_split_that_there_is_not_is_refused(read, tmp_path, make_plan, write_dataset):
    without = str(tmp_path / "without")
    write_dataset(without, make_plan())
    with pytest.raises(UserError, match="'train' or 'validation'; None"):
        read(without, split="val")
    with pytest.raises(UserError, match=r"without a validation split.*generate\.val_fraction"):
        read(without, split="validation")
    if read is not read_dataset:
        assert len(read(without, split="train")) == 7, "all of them are for training"


def test_unfinished_data_of_which_nothing_is_of_a_split_is_told_so(tmp_path, make_plan, packed):
    plan, url = plan_of(make_plan, "parquet", samples_per_shard=1), str(tmp_path / "out")
    Ledger(url, plan).start("", {})
    shard = KEYS.index(OF["train"][0])
    Ledger(url, plan).publish(plan.shard(shard), packed(plan, shard), Circumstances(0.0, ""))
    assert keys_of(ShardDataset(url, partial=True, split="train")) == OF["train"][:1]
    with pytest.raises(UserError, match="none of its shards that has samples of split 'validat"):
        ShardDataset(url, partial=True, split="validation")


@pytest.mark.slow
@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_finds_both_splits_with_the_same_pixels(
    url, plan, streaming, make_samples, monkeypatch, tmp_path, logged
):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    loaded = datasets.load_dataset(url, streaming=streaming, cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "validation"} and logged == []
    names = ("key", "image", "mask")
    if plan.format == "webdataset":
        names = ("__key__", "image.png", "mask.png")
    samples = {sample.key: sample for sample in make_samples(NUM)}
    for split, rows in loaded.items():
        found = [[row[name] for name in names] for row in rows]
        assert [key for key, *_ in found] == OF[split]
        for key, image, mask in found:
            assert np.array_equal(image, samples[key].image)
            assert np.array_equal(mask, samples[key].mask) and mask.mode == "L"


def test_pyarrow_finds_each_split_by_the_names_of_its_files(
    tmp_path, make_plan, write_dataset, make_samples
):
    url = str(tmp_path / "out")
    write_dataset(url, plan_of(make_plan, "parquet"))
    samples = {sample.key: sample for sample in make_samples(NUM)}
    for split, keys in OF.items():
        tables = [pq.read_table(path) for path in sorted(Path(url).glob(f"data/{split}-*"))]
        rows = [row for table in tables for row in table.to_pylist()]
        assert [row["key"] for row in rows] == keys
        for row in rows:
            for name in ("image", "mask"):
                pixels = np.array(Image.open(io.BytesIO(row[name]["bytes"])))
                assert np.array_equal(pixels, getattr(samples[row["key"]], name))


def test_webdataset_finds_each_split_with_the_same_pixels(
    tmp_path, make_plan, write_dataset, make_samples
):
    import webdataset

    url = str(tmp_path / "out")
    write_dataset(url, plan_of(make_plan, "webdataset"))
    samples = {sample.key: sample for sample in make_samples(NUM)}
    for split, keys in OF.items():
        tars = [str(path) for path in sorted(Path(url).glob(f"data/{split}-*"))]
        rows = list(webdataset.WebDataset(tars, shardshuffle=False))
        assert [row["__key__"] for row in rows] == keys
        for row in rows:
            for name in ("image", "mask"):
                pixels = np.array(Image.open(io.BytesIO(row[f"{name}.png"])))
                assert np.array_equal(pixels, getattr(samples[row["__key__"]], name))


def test_the_card_lists_both_splits_with_their_counts(url, plan):
    text = Path(url, "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    counts = {split["name"]: split["num_examples"] for split in front["dataset_info"]["splits"]}
    assert counts == {split: len(keys) for split, keys in OF.items()}
    files = front["configs"][0]["data_files"]
    ending = "tar" if plan.format == "webdataset" else "parquet"
    sizes = {split["name"]: split["num_bytes"] for split in front["dataset_info"]["splits"]}
    for split, size in sizes.items():
        assert size == sum(path.stat().st_size for path in Path(url).glob(f"data/{split}-*"))
    assert files == [
        {"split": split, "path": f"data/{split}-*.{ending}"} for split in ("train", "validation")
    ]
    train, validation = (len(OF[split]) for split in ("train", "validation"))
    assert f"{train} samples are for `train`, {validation} samples are for `validation`." in text
    assert 'ShardDataset(".", split="train", keep=0.8)' in text


def test_reports_tell_both_splits_and_show_samples_of_both(url):
    page = Path(write_report(url, num_samples=NUM)).read_text()
    assert f"{NUM} ({len(OF['train'])} train, {len(OF['validation'])} validation)" in page
    assert all(key in page for key in KEYS)


def test_the_split_is_a_part_of_the_plan(url, plan):
    other = plan.model_copy(update={"recipe": {**plan.recipe, "val_fraction": 0.3}})
    with pytest.raises(UserError, match=r"recipe\.val_fraction: there 0\.25, here 0\.3"):
        Ledger.resolve(url, other)


def test_an_extended_dataset_keeps_each_sample_in_its_split(url, plan, packed):
    before = contents(Path(url))
    grown = plan.extended(NUM + 15)
    Ledger(url, grown).start("", {})
    for shard in Ledger(url, grown).pending():
        Ledger(url, grown).publish(grown.shard(shard), packed(grown, shard), Circumstances(0.0, ""))
    Ledger(url, grown).finish("", "mit")
    after = contents(Path(url))
    assert {name: after[name] for name in before if "data/" in name} == {
        name: data for name, data in before.items() if "data/" in name
    }
    assert verify(url, "decode").findings == []
    for split in ("train", "validation"):
        found = keys_of(ShardDataset(url, split=split))
        assert found[: len(OF[split])] == OF[split] and len(found) > len(OF[split])


# What fails


class Killed(BaseException):
    """Ends a process where it stands."""


@pytest.mark.slow
def test_a_run_killed_at_any_write_is_finished_by_the_next_one(tmp_path, plan, packed, monkeypatch):
    """At every point of one shard's files and receipt: nothing torn, no receipt without its files,
    and the same bytes in the end."""
    # Only the loss of power would tell whether something waited for the disk.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    whole = str(tmp_path / "whole")
    plan = Plan(**{**plan.model_dump(), "num": PER_SHARD})

    def run(url: str) -> None:
        Ledger(url, plan).start("", {})
        for shard in Ledger(url, plan).pending():
            Ledger(url, plan).publish(
                plan.shard(shard), packed(plan, shard), Circumstances(0.0, "")
            )
        Ledger(url, plan).finish("", "mit")

    run(whole)
    assert set(plan.shard(0).paths) <= contents(Path(whole)).keys()
    assert len(plan.shard(0).splits) == 2
    for point in range(1, 200):
        url, seen = str(tmp_path / str(point)), [0]

        def hit(name: str, seen: list[int] = seen, point: int = point) -> None:
            seen[0] += 1
            if seen[0] >= point:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(faults, "hit", hit)
            try:
                run(url)
            except Killed:
                pass
            else:
                break
        if "_factory/shards/00000.json" in contents(Path(url)):
            assert set(plan.shard(0).paths) <= contents(Path(url)).keys()
        run(url)
        found = {name: data for name, data in contents(Path(url)).items() if ".tmp" not in name}
        assert found == contents(Path(whole))
    assert point > 20


def test_a_lost_file_of_any_kind_makes_its_shard_pending(url, plan):
    Path(url, "_SUCCESS").unlink()
    for path in plan.shard(1).paths:
        data = Path(url, path).read_bytes()
        for lost in (b"", None):
            Path(url, path).unlink()
            if lost is not None:
                Path(url, path).write_bytes(lost)
            assert list(Ledger(url, plan).pending()) == [1]
            assert status(url).shards_done == plan.num_shards - 1
            Path(url, path).write_bytes(data)
    assert list(Ledger(url, plan).pending()) == []


def test_an_altered_file_of_any_kind_is_not_sealed(url, plan):
    Path(url, "_SUCCESS").unlink()
    for path in plan.shard(1).paths:
        data = Path(url, path).read_bytes()
        Path(url, path).write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        with pytest.raises(Incomplete, match="1 of 4 shards are missing or altered"):
            Ledger(url, plan).finish("", "mit")
        Path(url, path).write_bytes(data)
    Ledger(url, plan).finish("", "mit")


@pytest.mark.parametrize("level", ["size", "hash", "decode"])
def test_verify_names_each_file_that_is_lost_or_altered(url, plan, level):
    assert verify(url, level).findings == []
    for path in plan.shard(2).paths:
        data = Path(url, path).read_bytes()
        for other in (None, data[:-1], data[:200] + bytes([data[200] ^ 1]) + data[201:]):
            Path(url, path).unlink()
            if other is not None:
                Path(url, path).write_bytes(other)
            found = verify(url, level).findings
            names = [(finding.name, finding.shard) for finding in found]
            unseen = level == "size" and other is not None and len(other) == len(data)
            assert names == ([] if unseen else [(path, 2)])
            Path(url, path).write_bytes(data)


def test_verify_names_several_files_of_one_shard(url, plan):
    for path in plan.shard(2).paths:
        data = Path(url, path).read_bytes()
        Path(url, path).write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    for level in ("hash", "decode"):
        found = [finding.name for finding in verify(url, level).findings]
        assert found == sorted(plan.shard(2).paths)


def test_files_of_a_shard_without_a_receipt_are_unproven_and_others_are_foreign(url, plan):
    for name in ("_SUCCESS", "_factory/manifest.json", "_factory/shards/00001.json"):
        Path(url, name).unlink()
    foreign = "data/validation-99999.parquet"
    Path(url, foreign).write_bytes(b"mine")
    found = verify(url)
    assert [finding.name for finding in found.findings] == [foreign] and found.unproven == [1]
    Path(url, plan.shard(1).path).unlink()
    assert verify(url).unproven == [1]


def test_other_bytes_under_any_name_of_a_shard_are_a_conflict_that_names_it(tmp_path, plan, packed):
    spec = plan.shard(0)
    for path in spec.paths:
        url = str(tmp_path / path.replace("/", "-"))
        Ledger(url, plan).start("", {})
        storage.write(f"{url}/{path}", b"other")
        publish = Ledger(url, plan).publish
        with pytest.raises(ShardConflict, match=f"{path}: holds other bytes"):
            publish(spec, packed(plan, 0), Circumstances(0.0, ""))
        assert read_receipts(url) == {}
        receipt = publish(spec, packed(plan, 0), Circumstances(0.0, ""), replace=True)
        assert receipt.paths == spec.paths
        assert publish(spec, packed(plan, 0), Circumstances(9.0, "")) == receipt


def test_bytes_that_a_receipt_is_not_for_are_refused_whichever_file_differs(
    url, plan, make_samples
):
    """An altered validation sample changes its own file alone."""
    spec = plan.shard(1)
    for split in plan.splits:
        samples = make_samples(PER_SHARD, spec.start)
        changed = [replace(s, seed=s.seed ^ 1) if s.key in OF[split] else s for s in samples]
        files = pack(plan, spec, list(map(plan.encode_sample, changed)))
        with pytest.raises(ShardConflict, match=f"{split}-00001.* its receipt is for other bytes"):
            Ledger(url, plan).publish(spec, files, Circumstances(0.0, ""), replace=True)
    assert verify(url, "decode").findings == []


def test_a_sample_in_the_file_of_the_other_split_is_refused(url, plan, packed):
    """As would be the files of another share under the names of this one."""
    spec = plan.shard(0)
    files = packed(plan, 0)
    train, validation = spec.data_paths
    files[train], files[validation] = files[validation], files[train]
    with pytest.raises(DamagedShard, match="expected"):
        Ledger(url, plan).publish(spec, files, Circumstances(0.0, ""), replace=True)


def test_a_lost_file_of_a_split_stops_only_readers_of_that_split(url, plan):
    spec = plan.shard(0)
    Path(url, spec.data_paths[1]).unlink()
    assert keys_of(ShardDataset(url, split="train")) == OF["train"]
    for read in (ShardDataset, ShardIndex):
        with pytest.raises(UserError, match=r"validation-00000.*missing.*repair"):
            keys_of(read(url, split="validation"))
        with pytest.raises(UserError, match=r"validation-00000.*missing.*repair"):
            keys_of(read(url))


def test_the_manifest_restores_receipts_with_splits(url):
    before = contents(Path(url))
    receipt = Path(url, "_factory/shards/00001.json")
    content = json.loads(receipt.read_text())
    content["splits"]["validation"]["rows"] += 1
    receipt.write_text(json.dumps(content))
    assert [finding.name for finding in verify(url).findings] == ["_factory/shards/00001.json"]
    shutil.copy(Path(url, "_factory/shards/00000.json"), receipt)
    assert [finding.name for finding in verify(url).findings] == ["_factory/shards/00001.json"]
    receipt.write_bytes(before["_factory/shards/00001.json"])
    assert verify(url).findings == []


def test_opening_hashes_no_key_and_verify_finds_receipts_of_other_splits_than_those_of_the_keys(
    url, plan, monkeypatch
):
    def other(*asked: object) -> tuple[str, ...]:
        hashed.append(asked)
        return ("train",)

    hashed: list[object] = []
    monkeypatch.setattr("factory.shards.plan.splits_of_range", other)
    assert read_manifest(url).rows == NUM
    ShardDataset(url, split="validation")
    assert hashed == []
    found = {finding.what for finding in verify(url).findings}
    assert "altered: not of its keys' splits" in found
