"""Claims about places that are free for something new."""

from pathlib import Path

import pytest

from factory import storage
from factory.errors import UserError
from factory.shards.free_place import check_free, plan_at


def names_at(url: str) -> list[str]:
    return list(storage.Folder(url).entries())


@pytest.mark.parametrize(
    "name", [".DS_Store", ".git/config", ".gitattributes", "Thumbs.db", f"probe-{'0' * 32}"]
)
def test_files_of_systems_and_of_killed_processes_are_in_nobodys_way(url: str, name: str) -> None:
    storage.write(f"{url}/{name}", b"x")
    check_free(url, names_at(url))
    assert plan_at(url) is None


def test_a_place_that_holds_any_other_file_is_not_free(url: str) -> None:
    storage.write(f"{url}/sub/photo.jpg", b"x")
    with pytest.raises(UserError, match=r"holds other files \(sub/photo\.jpg\)"):
        plan_at(url)


@pytest.mark.parametrize("below", ["new", "data/new"])
@pytest.mark.parametrize("kind", ["run.json", "export.json"])
def test_a_place_in_a_dataset_or_an_export_is_not_free(url: str, below: str, kind: str) -> None:
    storage.write(f"{url}/_factory/{kind}", b"{}")
    with pytest.raises(UserError, match=rf"lies in the dataset or export {url}, .*another --out"):
        plan_at(f"{url}/{below}")
    check_free(f"{url}-2", [])


def test_a_place_in_a_dataset_is_known_whatever_links_lead_there(tmp_path: Path) -> None:
    (tmp_path / "pairs" / "_factory").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "pairs")
    with pytest.raises(UserError, match="lies in the dataset"):
        check_free(str(tmp_path / "link" / "new"), [])


def test_whoever_may_not_look_above_a_place_may_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> bool:
        raise PermissionError(url)

    monkeypatch.setattr(storage, "exists", refuse)
    check_free("s3://bucket/mine/new", [])


def test_a_lost_plan_is_told_with_what_restores_it(url: str) -> None:
    storage.write(f"{url}/_factory/manifest.json", b"{}")
    with pytest.raises(UserError, match=r"run\.json is lost\. `factory repair"):
        plan_at(url)
