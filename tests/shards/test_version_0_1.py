"""Datasets that version 0.1 made are read and proven by this one, and never mixed with its own.

They lie in version_0_1/, made by `factory generate --num 5 --samples-per-shard 3` of that version
with random models of 16 px, whose folders are not kept.
"""

import shutil
from pathlib import Path

import pytest

from factory.cli import main
from factory.data.toy.faces import CLASSES
from factory.errors import UserError
from factory.generation.repair import repair
from factory.report import write_report
from factory.shards.ledger import Ledger
from factory.shards.reader import ShardDataset
from factory.shards.reading import read_manifest, read_plan
from factory.shards.status import status
from factory.shards.verification import verify

FILES = {"parquet": "data/train-00001.parquet", "webdataset": "data/train-00001.tar"}


@pytest.fixture(params=FILES)
def old(request, tmp_path) -> Path:
    """A copy of one, to be spoiled."""
    there = Path(__file__).parent / "version_0_1" / request.param
    return Path(shutil.copytree(there, tmp_path / request.param))


def shard_of(dataset: Path) -> Path:
    return dataset / FILES[dataset.name]


@pytest.mark.parametrize("level", ["size", "hash", "decode"])
def test_verify_proves_it_whole(old, level):
    found = verify(str(old), level)
    assert (found.findings, found.finished, found.num_shards) == ([], True, 2)


def test_verify_names_an_altered_shard_of_it(old):
    data = shard_of(old).read_bytes()
    shard_of(old).write_bytes(data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])
    for level in ("hash", "decode"):
        assert [finding.name for finding in verify(str(old), level).findings] == [FILES[old.name]]


def test_its_samples_are_read_with_their_own_seeds(old):
    assert read_manifest(str(old)).rows == status(str(old)).pairs_done == 5
    samples = list(ShardDataset(str(old)))
    assert [sample["key"] for sample in samples] == [f"{i:09d}" for i in range(5)]
    plan = read_plan(str(old))
    seeds = [
        sample.seed
        for spec in plan.shards()
        for sample in plan.iterate((old / spec.path).read_bytes())
    ]
    assert max(seeds) >= 2**63, "that version's seeds have 64 bits"


def test_a_report_is_made_of_it(old):
    assert CLASSES[-1] in Path(write_report(str(old))).read_text()


def test_a_run_of_this_version_in_its_place_is_refused_naming_the_version_that_made_it(
    old, tiny_config, capsys
):
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    models = tiny_config().models
    folders = ["--ddpm", models.ddpm_url, "--ensemble", models.ensemble_url]
    for extend in ([], ["--extend"]):
        arguments = ["generate", "--out", str(old), "--num", "9", *folders, *extend]
        assert main(arguments) == 2
        message = capsys.readouterr().err
        assert "version 0.1.0" in message and "install version 0.1.0" in message
    assert before == {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}


def test_a_place_of_another_method_is_refused_whatever_else_differs(old):
    plan = read_plan(str(old))
    newer = plan.model_copy(update={"recipe": {**plan.recipe, "method": 3, "seed": 9}})
    with pytest.raises(UserError, match=r"version 0\.1\.0 .* \(method 2\)"):
        Ledger.resolve(str(old), newer)


def test_repair_restores_what_its_manifest_knows(old):
    (old / "_factory/shards/00001.json").unlink()
    (old / "_factory/env.json").write_text("{}")
    assert repair(str(old)).findings == []


def test_a_repair_that_would_make_other_bytes_is_refused_naming_the_version(old):
    shard_of(old).unlink()
    with pytest.raises(UserError, match=r"train-00001.*install version 0\.1\.0") as refusal:
        repair(str(old))
    assert "\n" not in str(refusal.value)
    assert not shard_of(old).exists()
