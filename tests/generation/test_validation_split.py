"""Claims about generate.val_fraction: from the command to whoever reads what it made."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import factory
from factory.cli import main
from factory.config import Config
from factory.errors import UserError
from factory.generation import planning
from factory.generation.command import generate, label
from factory.generation.recipe import load_models, make_plan
from factory.generation.repair import repair
from factory.shards.plan import Plan
from factory.shards.reader import ShardDataset, ShardIndex
from factory.shards.reading import read_manifest, read_plan
from factory.shards.schema import sample_key
from factory.shards.splits import SPLITS, Split, split_of
from factory.shards.verification import verify
from tests.folders import contents
from tests.generation.conftest import LabelConfig
from tests.mutations import mutated

NUM, FRACTION = 10, 0.3
NUM_REPAIRS = int(os.environ.get("NUM_REPAIRS", "12"))
OF: dict[Split, list[str]] = {
    split: [key for key in map(sample_key, range(NUM)) if split_of(key, FRACTION) == split]
    for split in SPLITS
}
MakeConfig = Callable[..., Config]


@pytest.fixture(params=["parquet", "webdataset"])
def config(request, tiny_config: MakeConfig) -> Config:
    keys = {"num": NUM, "workers": "here", "format": request.param, "val_fraction": FRACTION}
    return tiny_config(generate=keys)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where datasets are kept for the tests of this module."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def url(config: Config, kept: Path) -> str:
    """A finished dataset that a test may change."""
    format, url = config.generate.format, config.generate.url
    if not (kept / format).exists():
        generate(config)
        Path(url).rename(kept / format)
    return str(shutil.copytree(kept / format, url))


def keys_of(rows: Any) -> list[str]:
    return [row["key"] for row in rows]


def test_a_dataset_is_made_in_two_splits_of_the_same_pairs(url, tiny_config, tmp_path):
    undivided = tiny_config(
        generate={"num": NUM, "workers": "here", "url": str(tmp_path / "undivided")}
    )
    generate(undivided)
    pairs = {row["key"]: row for row in ShardDataset(undivided.generate.url)}
    for split, keys in OF.items():
        rows = list(ShardDataset(url, split=split))
        assert keys_of(rows) == keys
        for row in rows:
            assert np.array_equal(row["image"], pairs[row["key"]]["image"])
            assert np.array_equal(row["mask"], pairs[row["key"]]["mask"])
    assert verify(url, "decode").findings == []


def test_plans_without_it_are_what_they_were(tiny_config):
    """Settings that nobody asked for are in no plan, which older versions compare."""
    config = tiny_config()
    plan = make_plan(config, load_models(config))
    assert {"val_fraction", "metadata_files", "mask_column"}.isdisjoint(plan.recipe)
    assert plan.splits == ("train",) and not plan.has_metadata


@pytest.mark.parametrize("fraction", ["0", "1", "-0.1", "1.5", "nan", "many"])
def test_a_share_that_is_none_is_refused_by_its_key(tiny_config, fraction, capsys, tmp_path):
    out = str(tmp_path / "out")
    assert main(["generate", "--out", out, "--num", "4", "--val-fraction", fraction]) == 2
    error = capsys.readouterr().err
    assert "generate.val_fraction: must be a share above 0 and below 1, such as 0.1" in error
    assert f"got {fraction!r}. For no validation split leave it out." in error
    assert not Path(out).exists()


@pytest.mark.parametrize(
    ("fraction", "words"),
    [
        (
            0.001,
            r"generate\.val_fraction: 0\.001: none of 10 pairs would be in validation\. Give at "
            r"least 0\.033, or more pairs\.",
        ),
        (0.999, r"none of 10 pairs would be in train\. Give at most 0\.997, or more pairs"),
    ],
)
def test_a_share_by_which_a_split_would_be_empty_is_refused(tiny_config, fraction, words):
    config = tiny_config(generate={"num": NUM, "val_fraction": fraction, "workers": "here"})
    with pytest.raises(UserError, match=words):
        generate(config)
    assert not Path(config.generate.url).exists()


def test_samples_in_memory_have_no_splits():
    with pytest.raises(UserError, match="val_fraction"):
        factory.sample(factory.load_segmenter(), 2, val_fraction=0.5)


@pytest.mark.slow
def test_an_extended_dataset_is_that_of_the_larger_command(config, tiny_config, tmp_path):
    keys = {**config.generate.model_dump(exclude_unset=True)}
    generate(tiny_config(generate={**keys, "num": 8}))
    generate(tiny_config(generate={**keys, "num": 12, "extend": True}))
    generate(tiny_config(generate={**keys, "num": 12, "url": str(tmp_path / "other")}))
    for folder in ("data", "metadata"):
        one, other = (Path(url, folder) for url in (keys["url"], str(tmp_path / "other")))
        assert one.exists() == other.exists()
        assert contents(one) == contents(other)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["webdataset"], indirect=True)
def test_the_bytes_come_back_after_any_random_mutation(url):
    before, rng = contents(Path(url)), random.Random(3)
    for _ in range(NUM_REPAIRS):
        with mutated(Path(url), rng) as (what, concerned):
            assert {finding.name for finding in verify(url, "decode").findings} == concerned, what
            left = {finding.name for finding in repair(url).findings}
            assert left == concerned - before.keys(), f"{what}: {left}"
            after = contents(Path(url))
            assert {name: after.get(name) for name in before} == before, what


@pytest.mark.slow
def test_new_labels_keep_the_splits_of_a_dataset(url, label_config: LabelConfig, tmp_path):
    source = {"kind": "folder", "url": url}
    for form in ("parquet", "webdataset"):
        again = label_config(source=source, format=form, url=str(tmp_path / form))
        label(again)
        assert read_plan(again.label.url).val_fraction == FRACTION
        for split, keys in OF.items():
            rows = list(ShardDataset(again.label.url, split=split))
            assert keys_of(rows) == keys
            for row, old in zip(rows, ShardDataset(url, split=split), strict=True):
                assert np.array_equal(row["image"], old["image"])
        assert verify(again.label.url, "decode").findings == []
    masks = label_config(source=source, format="png", url=str(tmp_path / "png"))
    label(masks)
    assert len(list((tmp_path / "png" / "masks").iterdir())) == NUM


def test_tables_lie_beside_the_tars_of_labels(label_config: LabelConfig):
    config = label_config(format="webdataset")
    label(config)
    url = Path(config.label.url)
    assert [path.stem for path in sorted((url / "metadata").iterdir())] == [
        path.stem for path in sorted((url / "data").iterdir())
    ]
    rows = list(ShardIndex(str(url), columns=["source", "key"]))
    assert [row["source"] for row in rows][:2] == ["p0.png", "p1.png"]


@pytest.mark.parametrize("split", [None, "train", "validation"])
def test_a_source_of_its_shards_asks_for_a_split(url, config, tiny_config, split, tmp_path):
    source = {"kind": config.generate.format, "url": url}
    if split:
        source["split"] = split
    out = str(tmp_path / "labels")
    wanted = tiny_config(label={"url": out, "source": source, "workers": "here", "batch_size": 2})
    if split is None:
        with pytest.raises(UserError, match=r"split: train"):
            label(wanted)
        return
    label(wanted)
    assert read_manifest(out).rows == len(OF[split])


def older_plan(*given: Any, **more: Any) -> Plan:
    """A plan as the version before made it."""
    return make_plan(*given, **more).without_metadata()


@pytest.mark.slow
def test_tars_of_an_older_version_are_extended_and_repaired(tiny_config, monkeypatch):
    keys = {"num": 8, "workers": "here", "format": "webdataset"}
    config = tiny_config(generate=keys)
    with monkeypatch.context() as patch:
        patch.setattr(planning, "make_plan", older_plan)
        generate(config)
    url = Path(config.generate.url)
    assert not (url / "metadata").exists()
    larger = tiny_config(generate={**keys, "num": 12, "extend": True})
    generate(larger)
    assert not (url / "metadata").exists() and read_manifest(str(url)).rows == 12
    before = contents(url)
    (url / "data/train-00001.tar").write_bytes(b"other")
    (url / "data/train-00002.tar").unlink()
    assert repair(str(url)).findings == []
    assert contents(url) == before
