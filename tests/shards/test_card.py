"""Claims about README.md of a dataset, as the Hugging Face Hub reads it."""

from pathlib import Path

import pytest


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_the_hubs_own_parser_reads_what_the_card_says(tmp_path, make_plan, write_dataset, format):
    from huggingface_hub import DatasetCard

    write_dataset(str(tmp_path / "out"), make_plan(format=format))
    data = DatasetCard.load(Path(tmp_path, "out", "README.md")).data
    assert data.pretty_name == "Synthetic image/mask pairs"
    assert data.task_categories == ["image-segmentation"]
    assert data.task_ids == ["semantic-segmentation"]
    assert data.annotations_creators == ["machine-generated"]
    assert data.source_datasets == ["original"]
    assert data.license == "cc0-1.0" and data.size_categories == ["n<1K"]
    num_bytes = sum(path.stat().st_size for path in Path(tmp_path, "out", "data").iterdir())
    split = {"name": "train", "num_bytes": num_bytes, "num_examples": 7}
    assert data.dataset_info["splits"] == [split]


def test_the_counts_of_the_splits_are_those_that_datasets_finds(
    tmp_path, make_plan, write_dataset, monkeypatch, logged
):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    write_dataset(str(tmp_path / "out"), make_plan())
    options = {"cache_dir": str(tmp_path / "cache"), "verification_mode": "all_checks"}
    loaded = datasets.load_dataset(str(tmp_path / "out"), **options)
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 7}
    assert logged == []
