"""Claims about repairs: what is damaged becomes what it was, and nothing else is touched."""

import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from factory.cli import main
from factory.errors import GenerationFailed, Incomplete, UserError
from factory.generation import repair as repairing
from factory.generation import synthesizer
from factory.generation.command import generate
from factory.generation.repair import repair
from factory.images import to_channels_last_arrays
from factory.shards import tar_metadata
from factory.shards.verification import verify
from factory.storage import files
from tests.failing_storage import fail_calls
from tests.folders import contents
from tests.mutations import mutated

# Each damages and mends a dataset.
pytestmark = pytest.mark.slow

NUM_REPAIRS = int(os.environ.get("NUM_REPAIRS", "25"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a dataset is kept for the tests of this module."""
    return tmp_path_factory.mktemp("kept") / "dataset"


@pytest.fixture
def dataset(kept: Path, tiny_config, shards_made, tmp_path: Path) -> Path:
    """A finished dataset of three shards that a test may damage."""
    if not kept.exists():
        config = tiny_config(generate={"workers": "here", "num": 10})
        generate(config)
        Path(config.generate.url).rename(kept)
    shards_made.clear()
    return Path(shutil.copytree(kept, tmp_path / "copy"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


SHARD, RECEIPT = "data/train-00001.parquet", "_factory/shards/00001.json"
DAMAGES: dict[str, tuple[list[str], list[int]]] = {
    "a shard": ([SHARD], [1]),
    "a receipt": ([RECEIPT], []),
    "a shard and its receipt": ([SHARD, RECEIPT], [1]),
    "the manifest": (["_factory/manifest.json"], []),
    "success": (["_SUCCESS"], []),
    "the plan": (["_factory/run.json"], []),
    "the config": (["_factory/config.yaml"], []),
    "the environment": (["_factory/env.json"], []),
    "the card": (["README.md", "id2label.json", "palette.json"], []),
    "much at once": (["README.md", SHARD, "data/train-00002.parquet", "_factory/run.json"], [1, 2]),
}


@pytest.mark.parametrize("how", [Path.unlink, cut])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_comes_back_byte_for_byte(dataset, shards_made, damage, how) -> None:
    before = contents(dataset)
    names, shards = DAMAGES[damage]
    for name in names:
        how(dataset / name)
    assert {finding.name for finding in verify(str(dataset)).findings} == set(names)
    found = repair(str(dataset))
    assert (found.findings, found.finished) == ([], True)
    assert contents(dataset) == before
    assert shards_made == ([shards] if shards else [])


def test_the_bytes_come_back_after_any_random_mutation(dataset) -> None:
    before = contents(dataset)
    rng = random.Random(1)
    for _ in range(NUM_REPAIRS):
        with mutated(dataset, rng) as (what, concerned):
            left = {finding.name for finding in repair(str(dataset)).findings}
            # Foreign files are named and left.
            assert left == concerned - before.keys(), f"{what}: {left}"
            after = contents(dataset)
            assert {name: after.get(name) for name in before} == before, what


TAR, TABLE = "data/train-00001.tar", "metadata/train-00001.parquet"


@pytest.fixture
def tars(tiny_config, shards_made) -> Path:
    """A finished dataset of three tars, with their tables."""
    config = tiny_config(generate={"workers": "here", "num": 10, "format": "webdataset"})
    generate(config)
    shards_made.clear()
    return Path(config.generate.url)


@pytest.mark.parametrize("how", [Path.unlink, cut])
def test_a_table_beside_a_tar_comes_back_from_the_tar_without_any_model(
    tars, shards_made, monkeypatch, capsys, how
) -> None:
    before = contents(tars)
    for name in (TABLE, "metadata/train-00000.parquet"):
        how(tars / name)
    monkeypatch.setattr(repairing, "load_models", None)
    found = repair(str(tars))
    assert (found.findings, found.finished, shards_made) == ([], True, [])
    assert contents(tars) == before
    told = "made again 2 tables from the tars beside: metadata/train-00000.parquet, "
    assert f"repair | {told}{TABLE}" in capsys.readouterr().out


def test_a_table_whose_tar_is_damaged_too_comes_back_with_its_shard(tars, shards_made) -> None:
    before = contents(tars)
    for name in (TAR, TABLE, "metadata/train-00000.parquet", "README.md"):
        cut(tars / name)
    assert repair(str(tars)).findings == []
    assert contents(tars) == before and shards_made == [[1]]


def test_a_table_of_other_bytes_than_the_receipt_has_is_not_written(
    tars, shards_made, monkeypatch
) -> None:
    before = contents(tars)
    cut(tars / TABLE)
    encode, calls = tar_metadata.encode, []

    def otherwise(*arguments):
        # As another version of pyarrow might.
        calls.append(arguments)
        return encode(*arguments) + (b" " if len(calls) == 1 else b"")

    monkeypatch.setattr(tar_metadata, "encode", otherwise)
    assert repair(str(tars)).findings == []
    assert contents(tars) == before and shards_made == [[1]]


def test_a_whole_dataset_is_left_alone(dataset, shards_made) -> None:
    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in dataset.rglob("*") if path.is_file()}

    before = times()
    assert repair(str(dataset)).findings == []
    assert times() == before
    assert shards_made == []


def test_swapped_shards_and_receipts_find_their_places(dataset) -> None:
    before = contents(dataset)
    for folder, ending in (("data", "train-{:05d}.parquet"), ("_factory/shards", "{:05d}.json")):
        one, other = (dataset / folder / ending.format(i) for i in (0, 1))
        one.rename(dataset / "swap")
        other.rename(one)
        (dataset / "swap").rename(other)
    assert repair(str(dataset)).findings == []
    assert contents(dataset) == before


def test_foreign_files_are_told_and_left(dataset) -> None:
    (dataset / "data" / "mine.parquet").write_bytes(b"mine")
    cut(dataset / SHARD)
    assert [finding.name for finding in repair(str(dataset)).findings] == ["data/mine.parquet"]
    assert (dataset / "data" / "mine.parquet").read_bytes() == b"mine"


def test_without_its_manifest_a_bad_receipt_has_its_shard_made_again(dataset, shards_made) -> None:
    before = contents(dataset)
    for name in (RECEIPT, "_factory/manifest.json"):
        cut(dataset / name)
    assert repair(str(dataset)).findings == []
    assert shards_made == [[1]]
    after = contents(dataset)
    changed = {name for name in before if after[name] != before[name]}
    # But for the seconds that making it took.
    assert changed <= {RECEIPT, "_factory/manifest.json", "_SUCCESS"}


def test_an_unfinished_dataset_keeps_its_gaps(tiny_config, shards_made, monkeypatch) -> None:
    config = tiny_config(generate={"workers": "here", "num": 10})
    folder = Path(config.generate.url)
    generate(config)
    for name in ("_SUCCESS", "_factory/manifest.json", "README.md", SHARD, RECEIPT):
        (folder / name).unlink()
    good = (folder / "data/train-00000.parquet").read_bytes()
    cut(folder / "data/train-00000.parquet")
    shards_made.clear()
    found = repair(str(folder))
    assert (found.findings, found.finished, shards_made) == ([], False, [[0]])
    assert (folder / "data/train-00000.parquet").read_bytes() == good
    assert not (folder / SHARD).exists()


def test_a_foreign_file_at_the_name_of_a_shard_gives_way(tiny_config, shards_made) -> None:
    config = tiny_config(generate={"workers": "here", "num": 10})
    generate(config)
    folder = Path(config.generate.url)
    before = contents(folder)
    for name in ("_SUCCESS", "_factory/manifest.json", RECEIPT):
        (folder / name).unlink()
    (folder / SHARD).write_bytes(b"foreign")
    assert verify(str(folder)).unproven == [1]
    with pytest.raises(GenerationFailed, match="factory repair"):
        generate(config)
    assert (folder / SHARD).read_bytes() == b"foreign"
    assert repair(str(folder)).finished
    assert contents(folder)[SHARD] == before[SHARD]


def test_models_that_give_other_bytes_change_nothing(dataset, tiny_config) -> None:
    cut(dataset / SHARD)
    before = contents(dataset)
    with pytest.raises(UserError, match=r"another plan[\s\S]*recipe\.seed: there 0, here 1"):
        repair(str(dataset), overrides=[("generate.seed", 1)])
    assert contents(dataset) == before


def test_a_config_is_refused_for_what_repair_reads_of_it_alone(dataset) -> None:
    cut(dataset / SHARD)
    with pytest.raises(UserError, match=r"generate\.min_actors: 3 must not be above"):
        repair(str(dataset), overrides=[("generate.min_actors", 3)])
    assert repair(str(dataset), overrides=[("train.num_workers", 5)]).findings == []


def test_bytes_that_the_receipt_is_not_for_are_not_written(dataset, monkeypatch) -> None:
    cut(dataset / SHARD)
    before = contents(dataset)
    # As another processor might round them.
    original = to_channels_last_arrays
    monkeypatch.setattr(synthesizer, "to_channels_last_arrays", lambda x_0: original(x_0) ^ 1)
    with pytest.raises(GenerationFailed, match="rounds otherwise"):
        repair(str(dataset))
    with pytest.raises(GenerationFailed, match="receipt is for other bytes"):
        repair(str(dataset), overrides=[("generate.allow_unlike_hardware", True)])
    assert contents(dataset) == before


def test_a_lost_config_is_asked_for(dataset) -> None:
    for name in ("_factory/manifest.json", "_factory/config.yaml"):
        (dataset / name).unlink()
    with pytest.raises(UserError, match=r"no such config file.*--config FILE"):
        repair(str(dataset))


def test_the_commands_tell_and_mend(dataset, capsys) -> None:
    url = str(dataset)
    assert main(["verify", url]) == 0 and "whole" in capsys.readouterr().out
    assert main(["status", url]) == 0 and "complete" in capsys.readouterr().out
    cut(dataset / SHARD)
    assert main(["verify", url, "--level", "size"]) == 1
    output = capsys.readouterr().out
    assert SHARD in output and "factory repair" in output
    assert main(["repair", url]) == 0 and "whole" in capsys.readouterr().out
    assert main(["gc", url, "--dry-run"]) == 0 and "0 leftovers" in capsys.readouterr().out


def test_a_place_without_a_dataset_is_a_mistake(tmp_path, capsys) -> None:
    for command in ("verify", "status", "repair", "gc"):
        assert main([command, str(tmp_path / "no")]) == 2
        assert "holds no dataset" in capsys.readouterr().err


def test_what_still_fails_while_mending_is_told_on_one_line(dataset, capsys, monkeypatch) -> None:
    def incomplete(*rest, **more):
        raise Incomplete(f"{dataset}: 1 of 4 shards is altered", [1])

    def full(url: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", url)

    for module, name, fails in ((repairing, "complete", incomplete), (files, "write", full)):
        cut(dataset / "_SUCCESS")
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fails)
            assert main(["repair", str(dataset)]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and lines[0].startswith(f"error: {dataset}")


def test_storage_that_fails_while_mending_is_asked_again(dataset, monkeypatch) -> None:
    before = contents(dataset)
    for name in (RECEIPT, "_factory/env.json"):
        cut(dataset / name)
    failures = fail_calls(monkeypatch)
    assert repair(str(dataset)).findings == []
    assert contents(dataset) == before and failures.num_by_url[str(dataset / RECEIPT)]
