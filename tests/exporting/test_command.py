"""Claims about every export: resuming, refusing, splitting, and what is told."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import factory
from factory import storage
from factory.cli import main
from factory.errors import UserError
from factory.exporting import pairs
from factory.exporting.ledger import ExportLedger
from factory.exporting.table import FORMATS
from factory.shards import parquet, reading
from factory.shards.filtering import Pairs
from factory.shards.plan import Plan
from factory.shards.reading import read_manifest
from factory.shards.schema import Sample
from factory.storage import Folder
from tests.exporting import made
from tests.failing_storage import fail_calls

STORED = [name for name in FORMATS if name != "hub"]


@pytest.mark.slow
@pytest.mark.parametrize("to", STORED)
def test_an_export_that_is_killed_between_any_two_writes_ends_with_the_same_bytes(
    to: str, dataset: str, memory: str, killed_at: Callable[..., bool]
) -> None:
    factory.export(dataset, to, f"{memory}/whole", val=0.3)
    whole = made.contents(f"{memory}/whole")
    for point in range(1, 10_000):
        out = f"{memory}/{point}"
        if not killed_at(point, lambda out=out: factory.export(dataset, to, out, val=0.3)):
            break
        factory.export(dataset, to, out, val=0.3)
        assert made.contents(out) == whole, point
    assert point > 2 * len(whole), "each write was interrupted, before it and after it"


@pytest.mark.slow
@pytest.mark.parametrize("point", ["write.before:1", "write.after:1", "write.before:9"])
def test_a_process_that_was_killed_leaves_nothing_that_stops_the_next_one(
    dataset: str, tmp_path: Path, point: str
) -> None:
    out = str(tmp_path / "out")
    command = [sys.executable, "-m", "factory", "export", dataset, "--to", "folder", "--out", out]
    killed = subprocess.run(command, env={**os.environ, "FACTORY_FAULTS": point})
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / "_export" / "complete.json").exists()
    factory.export(dataset, "folder", out)
    assert not list((tmp_path / "out").rglob(".*.tmp"))
    factory.export(dataset, "folder", tmp_path / "whole")
    assert made.contents(out) == made.contents(str(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.ray
def test_a_dataset_in_a_bucket_is_exported_to_a_bucket(s3_bucket: str, tmp_path: Path) -> None:
    samples = made.write(f"{s3_bucket}/exported")
    cases: dict[str, dict[str, Any]] = {"coco": {}, "yolo": {}, "parquet": {"samples_per_shard": 4}}
    for to, options in cases.items():
        factory.export(f"{s3_bucket}/exported", to, f"{s3_bucket}/{to}", **options)
        made.write(str(tmp_path / to))
        factory.export(tmp_path / to, to, tmp_path / f"{to}-out", **options)
        for name, data in made.contents(str(tmp_path / f"{to}-out")).items():
            assert storage.read_bytes(f"{s3_bucket}/{to}/{name}") == data
    assert len(storage.list_files(f"{s3_bucket}/coco/train")) == len(samples)


@pytest.mark.parametrize("to", STORED)
def test_an_export_goes_on_at_the_next_shard(
    to: str,
    dataset: str,
    memory: str,
    killed_at: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []
    honest = reading.open_shard

    def open_shard(url: str, receipt: Any) -> list[BufferedReader]:
        read.append(receipt.shard)
        return honest(url, receipt)

    for point in range(1, 200):
        if "_export/shards/00001.json" in made.contents(f"{memory}/out"):
            break
        killed_at(point, lambda: factory.export(dataset, to, f"{memory}/out"))
    monkeypatch.setattr(pairs, "open_shard", open_shard)
    factory.export(dataset, to, f"{memory}/out")
    assert sorted(read) == [2, 3]
    factory.export(dataset, to, f"{memory}/whole")
    assert made.contents(f"{memory}/out") == made.contents(f"{memory}/whole")


def test_an_export_that_is_complete_is_not_written_again(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", dataset, "--to", "folder", "--out", str(tmp_path / "out"), "--val", "0.3"]
    assert main(command) == 0
    first = capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert main(command) == 0
    assert "nothing was written" in capsys.readouterr().out and "10 pairs (" in first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.fixture
def refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Runs an export that must be refused: exit code 2, nothing written; returns what it says."""

    def run(*arguments: str) -> str:
        before = made.contents(str(tmp_path))
        assert main(["export", *arguments]) == 2
        told = capsys.readouterr()
        assert "Traceback" not in told.err and told.err.startswith("error: ")
        assert made.contents(str(tmp_path)) == before
        return told.err

    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "folder", "--val", "0.4"], "options.val: there 0.3, here 0.4"),
        (["--to", "folder"], "options.val: there 0.3, here null"),
        (["--to", "folder", "--val", "0.3", "--keep", "0.5"], "options.keep: there null, here 0.5"),
        (["--to", "coco", "--val", "0.3"], 'format: there "folder", here "coco"'),
    ],
)
def test_another_command_into_the_folder_of_an_export_is_refused_with_the_difference(
    refused: Callable[..., str], dataset: str, tmp_path: Path, arguments: list[str], words: str
) -> None:
    out = str(tmp_path / "out")
    factory.export(dataset, "folder", out, val=0.3)
    told = refused(dataset, *arguments, "--out", out)
    assert words in told and "holds another export" in told


def test_another_dataset_into_the_folder_of_an_export_is_refused(
    refused: Callable[..., str], dataset: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    factory.export(dataset, "folder", out)
    for name, changes in {"seed": {"recipe": {"seed": 1}}, "larger": {"num": 11}}.items():
        made.write(str(tmp_path / name), **changes)  # type: ignore[arg-type]
        told = refused(str(tmp_path / name), "--to", "folder", "--out", out)
        assert {"seed": "dataset.run_id", "larger": "dataset.num: there 10, here 11"}[name] in told


def test_a_folder_that_holds_anything_else_is_refused(
    refused: Callable[..., str], dataset: str, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    told = refused(dataset, "--to", "folder", "--out", str(tmp_path / "mine"))
    assert "holds other files (notes.txt)" in told
    inside = refused(dataset, "--to", "folder", "--out", f"{dataset}/export")
    assert "lies in the dataset" in inside
    taken = refused(dataset, "--to", "folder", "--out", str(tmp_path / "mine" / "notes.txt"))
    assert "cannot be written" in taken


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "kitti"], "to = 'kitti': is no format."),
        (["--to", "foldr"], "Did you mean folder?"),
        (["--to", "folder", "--val", "0"], "val = '0': must be a share above 0 and below 1"),
        (["--to", "folder", "--val", "nan"], "val = 'nan'"),
        (["--to", "folder", "--val", "1"], "val = '1'"),
        (["--to", "folder", "--keep", "some"], "keep = 'some': must be a share"),
        (["--to", "folder", "--keep", "0"], "keep = '0'"),
        (["--to", "folder", "--val", "1e-9"], "none of 10 pairs would be in val"),
        (["--to", "folder", "--val", "0.999999"], "none of 10 pairs would be in train"),
        (["--to", "folder", "--polygons"], "polygons: is no option of folder, but of coco"),
        (["--to", "parquet", "--mask-column", "x"], "must be one of mask, label, annotation"),
        (["--to", "folder", "--out", "hf://datasets/a/b"], "Write --to hub"),
        (["--to", "hub", "--out", "s3://a/b"], "Write --out hf://datasets/owner/name"),
        (["--to", "folder", "--out", "ftp://a/b"], "protocol 'ftp' is not one of"),
        (["--to", "folder", "--out", "memory://a/b"], "memory:// is gone with the process"),
    ],
)
def test_a_mistake_is_refused_by_name_and_nothing_is_written(
    refused: Callable[..., str], dataset: str, tmp_path: Path, arguments: list[str], words: str
) -> None:
    if "--out" not in arguments:
        arguments = [*arguments, "--out", str(tmp_path / "out")]
    assert words in refused(dataset, *arguments)


def test_all_mistakes_are_told_at_once(
    refused: Callable[..., str], dataset: str, tmp_path: Path
) -> None:
    arguments = ["--to", "folder", "--val", "2", "--keep", "2", "--jpeg"]
    assert refused(dataset, *arguments, "--out", str(tmp_path / "out")).count("error: ") == 3


def test_an_option_that_nobody_knows_is_refused(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vall: is no option. Did you mean val\?"):
        factory.export(dataset, "folder", tmp_path / "out", vall=0.1)
    with pytest.raises(UserError, match="polygons = 1: must be True or False"):
        factory.export(dataset, "coco", tmp_path / "out", polygons=1)


def test_no_dataset_an_unfinished_and_a_damaged_one_are_refused(
    refused: Callable[..., str], dataset: str, tmp_path: Path
) -> None:
    export = ["--to", "folder", "--out", str(tmp_path / "out")]
    assert "holds no dataset of this factory" in refused(str(tmp_path / "none"), *export)
    (Path(dataset) / "_SUCCESS").rename(tmp_path / "kept")
    assert "is unfinished, 4 of 4 shards done" in refused(dataset, *export)


def test_an_altered_shard_is_named_and_the_export_goes_on_once_it_is_repaired(
    dataset: str, tmp_path: Path
) -> None:
    shard = Path(dataset) / "data" / "train-00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + b"x")
    out = str(tmp_path / "out")
    with pytest.raises(UserError, match=r"train-00001.parquet: is damaged"):
        factory.export(dataset, "coco", out)
    assert not Path(out, "_export/complete.json").exists()
    assert not list(Path(out).glob("annotations/*")), "which would make it look complete"
    shard.write_bytes(whole)
    assert factory.export(dataset, "coco", out) == {"train": 10}


def test_files_that_are_missing_or_of_another_size_are_all_named_before_any_is_written(
    dataset: str, tmp_path: Path
) -> None:
    data = Path(dataset) / "data"
    (data / "train-00000.parquet").unlink()
    (data / "train-00002.parquet").write_bytes(b"x")
    (data / "train-00003.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError) as raised:
        factory.export(dataset, "folder", tmp_path / "out")
    missing, altered, pointer = str(raised.value).splitlines()[-3:]
    assert "train-00000.parquet: is missing. Run `factory repair`" in missing
    assert "train-00002.parquet: is altered: 1 byte, " in altered
    assert "train-00003.parquet: is a pointer of Git LFS" in pointer
    assert not (tmp_path / "out").exists()


def test_a_record_that_was_altered_is_named(
    dataset: str, tmp_path: Path, killed_at: Callable[..., bool]
) -> None:
    out = tmp_path / "out"
    factory.export(dataset, "folder", out)
    (out / "_export" / "complete.json").unlink()
    (out / "_export" / "shards" / "00002.json").write_text("{")
    with pytest.raises(UserError, match=r"00002.json: is damaged"):
        factory.export(dataset, "folder", out)


def test_a_store_that_fails_twice_is_tried_again(
    dataset: str, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = fail_calls(monkeypatch, times=2)
    factory.export(dataset, "folder", f"{memory}/out")
    assert failures.num_by_url[f"{memory}/out/images/000000003.png"] == 2
    assert len(made.contents(f"{memory}/out")) == 20 + 2 + 4 + 2


def test_keep_is_the_share_that_readers_keep(
    dataset: str, samples: list[Sample], tmp_path: Path
) -> None:
    manifest = read_manifest(dataset)
    limit = Pairs(dataset, manifest.plan, manifest.receipts).certainty.bound(0.5).value
    kept = [sample.key for sample in samples if sample.uncertainty <= limit]
    assert factory.export(dataset, "folder", tmp_path / "out", keep=0.5) == {"train": len(kept)}
    assert sorted(path.stem for path in (tmp_path / "out" / "masks").iterdir()) == kept
    read = factory.open_dataset(dataset, keep=0.5)
    assert sorted(sample["key"] for sample in read) == kept
    assert 0 < len(kept) < 10


def test_a_shard_of_which_nothing_is_kept_is_done_all_the_same(
    samples: list[Sample], tmp_path: Path
) -> None:
    made.write(str(tmp_path / "dataset"), samples_per_shard=1)
    out = tmp_path / "out"
    assert factory.export(tmp_path / "dataset", "folder", out, keep=0.1) == {"train": 1}
    least = min(samples, key=lambda sample: sample.uncertainty)
    assert [path.stem for path in (out / "images").iterdir()] == [least.key]


def test_a_split_of_which_nothing_is_kept_is_told(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    num = factory.export(dataset, "folder", tmp_path / "out", keep=0.1, val=0.3)
    (empty,) = [split for split, more in num.items() if not more]
    assert f"{empty} is empty: no pair of it was kept" in capsys.readouterr().out


def test_the_order_of_the_shards_does_not_matter_for_the_split(tmp_path: Path) -> None:
    for name, size in {"one": 10, "many": 2}.items():
        made.write(str(tmp_path / name), samples_per_shard=size)
        factory.export(tmp_path / name, "folder", tmp_path / f"{name}-out", val=0.3)
    found = [
        {name for name in made.contents(str(tmp_path / f"{name}-out")) if name.endswith(".png")}
        for name in ("one", "many")
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("keys", [["../../x"], ["000000001"], ["000000000", "000000001"]])
def test_a_shard_of_other_keys_is_refused(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: list[str]
) -> None:
    def rows(plan: Plan, shard: bytes | BinaryIO, *rest: Any) -> Any:
        row = next(parquet.rows(shard))
        for key in keys:
            yield type(row)({**row.fields, "key": key}, row.image_png, row.mask_png)

    monkeypatch.setattr(Plan, "rows", rows)
    with pytest.raises(UserError, match="holds other keys than those of its 3 pairs"):
        factory.export(dataset, "folder", tmp_path / "out" / "inner")
    assert not list(tmp_path.glob("x*")) and not list(tmp_path.glob("out/x*"))


def test_the_ledger_says_what_the_export_is(dataset: str, tmp_path: Path) -> None:
    factory.export(dataset, "folder", tmp_path / "out", val=0.3)
    told = json.loads((tmp_path / "out" / "_export" / "export.json").read_text())
    manifest = read_manifest(dataset)
    assert told["format"] == "folder" and told["options"]["val"] == 0.3
    assert told["dataset"] == {"run_id": manifest.run_id, "num": 10, "root": manifest.root}
    done = json.loads((tmp_path / "out" / "_export" / "complete.json").read_text())
    assert sum(done["num"].values()) == 10 and done["num"]["val"] > 0


def test_few_shards_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write(str(tmp_path / "dataset"), num=12, samples_per_shard=1)
    files: list[BufferedReader] = []
    most = 0
    honest = reading.open_shard

    def open_shard(*given: Any) -> list[BufferedReader]:
        nonlocal most
        opened = honest(*given)
        files.extend(opened)
        most = max(most, sum(not file.closed for file in files))
        return opened

    monkeypatch.setattr(pairs, "open_shard", open_shard)
    factory.export(tmp_path / "dataset", "folder", tmp_path / "out")
    assert len(files) == 12 and most <= 3 and all(file.closed for file in files)


def test_a_store_that_refuses_is_told_and_nothing_is_written(
    dataset: str, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = PermissionError(13, "Denied")
    fail_calls(monkeypatch, times=99, error=denied, at=lambda url: url.endswith("export.json"))
    with pytest.raises((UserError, OSError), match="Denied"):
        factory.export(dataset, "folder", f"{memory}/out")
    assert made.contents(f"{memory}/out") == {}


def test_what_is_exported_is_what_is_in_the_dataset(
    dataset: str, samples: list[Sample], tmp_path: Path
) -> None:
    factory.export(dataset, "folder", tmp_path / "out")
    assert storage.read_bytes(str(tmp_path / "out" / "masks" / "000000001.png"))[:4] == b"\x89PNG"
    assert np.unique(samples[1].mask).tolist() == [0, 1, 2, 3, 255]


def test_an_export_to_a_link_into_its_dataset_is_refused(
    refused: Callable[..., str], dataset: str, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(dataset)
    told = refused(dataset, "--to", "folder", "--out", str(tmp_path / "link" / "out"))
    assert "lies in the dataset that is exported" in told


def test_a_store_that_does_not_let_us_in_is_refused_with_a_remedy(
    refused: Callable[..., str], dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(self: ExportLedger, name: str) -> Any:
        raise PermissionError(13, "Denied", name)

    monkeypatch.setattr(ExportLedger, "_read", deny)
    told = refused(dataset, "--to", "folder", "--out", str(tmp_path / "out"))
    assert "out: cannot be read (Denied). Name a place that you may read and write." in told


def test_a_command_that_begins_while_another_looks_at_the_folder_is_no_other_content(
    dataset: str, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    factory.export(dataset, "folder", f"{memory}/out")
    honest, num = ExportLedger._read, 0

    def read(self: ExportLedger, name: str) -> Any:
        nonlocal num
        num += 1
        if num == 1:
            raise FileNotFoundError(name)
        return honest(self, name)

    monkeypatch.setattr(ExportLedger, "_read", read)
    assert factory.export(dataset, "folder", f"{memory}/out") == {"train": 10}


def test_shares_may_be_numbers_of_numpy(dataset: str, memory: str) -> None:
    val: Any = np.float32(0.3)
    num = factory.export(dataset, "folder", f"{memory}/out", val=val, keep=np.float64(0.8))
    assert set(num) == {"train", "val"}


def test_a_format_of_another_type_is_refused(dataset: str, tmp_path: Path) -> None:
    to: Any = ["coco"]
    with pytest.raises(UserError, match=r"to = \['coco'\]: is no format"):
        factory.export(dataset, to, tmp_path / "out")


def test_an_export_whose_disk_is_full_ends_resumable_and_goes_on(
    dataset: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest, num = Folder.write, 0

    def write(self: Folder, name: str, data: bytes) -> None:
        nonlocal num
        num += 1
        if num > 9:
            raise OSError(errno.ENOSPC, "No space left on device", self.url_of(name))
        honest(self, name, data)

    arguments = ["export", dataset, "--to", "folder", "--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", write)
        assert main(arguments) == 3
    told = capsys.readouterr().err
    assert "No space left on device" in told and "run the same command again" in told
    assert main(arguments) == 0


@pytest.mark.parametrize("to", STORED)
@pytest.mark.parametrize("made_as", ["parquet", "webdataset"])
def test_a_dataset_of_version_0_1_is_exported_or_refused_with_a_format_that_takes_it(
    refused: Callable[..., str], tmp_path: Path, made_as: str, to: str
) -> None:
    dataset = str(Path(__file__).parents[1] / "shards" / "version_0_1" / made_as)
    if to == "parquet":
        told = refused(dataset, "--to", to, "--out", str(tmp_path / "out"))
        assert "is of version 0.1" in told and "--to webdataset or imagefolder" in told
    else:
        assert factory.export(dataset, to, tmp_path / "out") == {"train": 5}


@pytest.fixture(params=["parquet", "webdataset"])
def parted(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A dataset with a validation split of its own."""
    url = str(tmp_path / "parted")
    recipe = {"seed": 0, "val_fraction": 0.3}
    if request.param == "webdataset":
        recipe["metadata_files"] = True
    made.write(url, format=request.param, recipe=recipe)
    return url


def test_the_splits_of_a_dataset_are_those_of_its_export(
    parted: str, dataset: str, tmp_path: Path
) -> None:
    """As a share for validation parts a dataset that has none."""
    for to in ("folder", "yolo", "imagefolder", "parquet"):
        num = factory.export(parted, to, tmp_path / to)
        assert num == factory.export(dataset, to, tmp_path / f"{to}-val", val=0.3)
        assert num["train"] and num["val"]
        one, other = (
            {n: data for n, data in made.contents(str(tmp_path / name)).items() if is_picture(n)}
            for name in (to, f"{to}-val")
        )
        assert one == other
    assert factory.export(parted, "folder", tmp_path / "folder", val=0.3) == num


def is_picture(name: str) -> bool:
    return name.endswith((".png", ".txt"))


def test_another_share_than_that_of_the_dataset_is_refused(
    parted: str, dataset: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    told = refused(parted, "--to", "coco", "--val", "0.2", "--out", out)
    assert "has a validation split of its own, of 0.3" in told and "Leave val out" in told
    told = refused(dataset, "--to", "coco", "--split", "train", "--out", out)
    assert "has no validation split" in told and "give val, too" in told
    told = refused(parted, "--to", "coco", "--split", "val", "--out", out)
    assert "split = 'val': must be one of train, validation" in told


@pytest.mark.parametrize("to", STORED)
def test_one_split_alone_is_what_the_whole_export_has_of_it(
    to: str, dataset: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"val": 0.3, "keep": 0.9}
    whole = factory.export(dataset, to, tmp_path / "whole", **options)
    all_files = made.contents(str(tmp_path / "whole"))
    found: dict[str, bytes] = {}
    for split, name in (("train", "train"), ("validation", "val")):
        num = factory.export(dataset, to, tmp_path / split, split=split, **options)
        assert num == {name: whole[name]}
        found |= made.contents(str(tmp_path / split))
    pictures = {name: data for name, data in all_files.items() if is_of_pairs(name)}
    assert pictures and pictures == {n: data for n, data in found.items() if is_of_pairs(n)}


def is_of_pairs(name: str) -> bool:
    return name.endswith((".png", ".parquet", ".tar")) and not name.startswith("_export")


def test_the_file_of_yolo_names_the_images_that_there_are(dataset: str, tmp_path: Path) -> None:
    for split, name in (("train", "train"), ("validation", "val")):
        factory.export(dataset, "yolo", tmp_path / split, val=0.3, split=split)
        content = yaml.safe_load((tmp_path / split / "data.yaml").read_text())
        assert content["train"] == content["val"] == f"images/{name}"


def test_exports_of_all_splits_tell_no_split(dataset: str, tmp_path: Path) -> None:
    """So that exports that older versions began go on."""
    factory.export(dataset, "folder", tmp_path / "out", val=0.3)
    told = json.loads((tmp_path / "out" / "_export" / "export.json").read_text())
    assert "split" not in told["options"]
    factory.export(dataset, "folder", tmp_path / "one", val=0.3, split="train")
    told = json.loads((tmp_path / "one" / "_export" / "export.json").read_text())
    assert told["options"]["split"] == "train"


ODD = (
    *("../../up.png", "/etc/a.png", "a b.png", "A B.PNG", "é😀.png", "e\u0301.png", "x" * 250),
    "-rf.png",
)


@pytest.mark.parametrize("to", STORED)
def test_names_of_images_are_never_names_of_exported_files_and_stay_with_their_keys(
    to: str, tmp_path: Path
) -> None:
    url = str(tmp_path / "dataset")
    recipe = {"seed": 0, "columns": ["source"]}
    samples = made.write(url, num=len(ODD), sources=ODD, recipe=recipe)
    factory.export(url, to, tmp_path / "out")
    files = made.contents(str(tmp_path / "out"))
    assert all(re.fullmatch(r"[\w.-]+(/[\w.-]+)*", name, re.ASCII) for name in files)
    assert len({name.lower() for name in files}) == len(files)
    if to in ("parquet", "webdataset"):
        again = read_again(str(tmp_path / "out"), to)
        assert again == {sample.key: sample.source for sample in samples}
    else:
        numbers = [name.replace("_", "") for name in files]  # Cityscapes parts them.
        assert all(any(sample.key in number for number in numbers) for sample in samples)
    assert list(read_again(url, "parquet").values()) == list(ODD)


def read_again(out: str, to: str) -> dict[str, str]:
    """The names of images by keys, in an export of rows."""
    if to == "parquet":
        tables = map(pq.read_table, sorted(Path(out, "data").iterdir()))
        return {row["key"]: row["source"] for table in tables for row in table.to_pylist()}
    found = {}
    for path in Path(out, "data").iterdir():
        with tarfile.open(path) as tar:
            for member in (each for each in tar if each.name.endswith(".json")):
                row = json.load(tar.extractfile(member))  # type: ignore[arg-type]
                found[row["key"]] = row["source"]
    return found
