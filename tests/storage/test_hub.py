"""Claims about factory.storage.hub: what is meant by what people write and have of the Hub."""

import shutil
from pathlib import Path

import pytest

from factory import storage
from factory.errors import UserError
from factory.labeling.heads import load_head
from factory.shards.reader import ShardDataset
from factory.shards.reading import read_plan
from factory.storage import hub

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
OLD = Path(__file__).parents[1] / "shards" / "version_0_1" / "parquet"
PAGES = {
    "https://huggingface.co/google/ddpm-cat-256": "hf://google/ddpm-cat-256",
    "https://huggingface.co/google/ddpm-cat-256/tree/main": "hf://google/ddpm-cat-256",
    "https://hf.co/me/model/tree/fp16": "hf://me/model@fp16",
    "https://hf.co/me/model/tree/v1.0/unet": "hf://me/model@v1.0/unet",
    "https://www.huggingface.co/me/model/resolve/main/unet/config.json": "hf://me/model/unet",
    "https://huggingface.co/datasets/me/pairs": "hf://datasets/me/pairs",
    "HTTPS://huggingface.co/datasets/me/pairs/tree/v2/data": "hf://datasets/me/pairs@v2/data",
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_the_same_repository_revision_and_folder(page: str) -> None:
    with pytest.raises(UserError) as refusal:
        storage.normalize(page)
    assert str(refusal.value).endswith(f"is a web page. Write {PAGES[page]}.")
    assert storage.normalize(PAGES[page]) == PAGES[page]


def test_a_page_that_is_no_repositorys_names_none() -> None:
    for page in ("https://huggingface.co/google", "https://huggingface.co", "https://host/a/b"):
        assert hub.url_of_page(page) is None


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("me/pairs", "hf://datasets/me/pairs"),
        ("datasets/me/pairs", "hf://datasets/me/pairs"),
        ("me/pairs@v2", "hf://datasets/me/pairs@v2"),
        ("hf.co/datasets/me/pairs", "hf://datasets/me/pairs"),
    ],
)
def test_the_hubs_name_of_a_dataset_is_told_as_its_url(
    path: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"Hugging Face Hub write {url}"):
        ShardDataset(path)


@pytest.mark.parametrize("url", ["hf:google/ddpm", "hf:/google/ddpm", "hf://google", "hf://"])
def test_half_a_url_of_the_hub_shows_a_whole_one(url: str) -> None:
    with pytest.raises(UserError, match=r"Write hf://owner/name, or hf://datasets/owner/name\."):
        storage.normalize(url)


def test_files_that_git_has_not_fetched_are_not_called_damaged(
    tmp_path: Path, tiny_models: dict[str, str]
) -> None:
    pairs = Path(shutil.copytree(OLD, tmp_path / "pairs"))
    (pairs / "data" / "train-00000.parquet").write_bytes(POINTER)
    with pytest.raises(UserError, match="Run `git lfs pull`"):
        list(ShardDataset(str(pairs)))
    ensemble = Path(shutil.copytree(tiny_models["ensemble_url"], tmp_path / "ensemble"))
    (ensemble / "ensemble.safetensors").write_bytes(POINTER)
    with pytest.raises(UserError, match="Run `git lfs pull`"):
        load_head(str(ensemble), "")


@pytest.mark.parametrize("part", ["data", "data/train-00000.parquet", "_factory"])
def test_a_part_of_a_dataset_names_all_of_it(part: str) -> None:
    with pytest.raises(UserError, match=f"It is a part of one: name {OLD}"):
        read_plan(str(OLD / part))


def test_the_root_of_a_store_lies_in_nothing() -> None:
    for root in ("/", "s3://bucket", "hf://owner/name", "hf://datasets/owner/name/"):
        assert storage.parent(root) is None
    assert storage.parent("s3://bucket/a/b/") == "s3://bucket/a"
    assert storage.parent("hf://owner/name/unet") == "hf://owner/name"
    assert storage.parent("/a/b") == "/a"
