"""Claims about the kinds of source that a config can name: each reads its own keys alone."""

from pathlib import Path
from typing import Any, get_args

import pytest

from factory.config import config_tree, parse_config
from factory.data.kinds.folder import FolderSource
from factory.data.kinds.known import KnownSource
from factory.data.kinds.pairs import PairsSource
from factory.data.kinds.toy import ToySource
from factory.errors import Problems, UserError
from factory.png import encode_png
from tests.data.inputs import flat, ids, pairs, put

VERSION_0_1 = {
    "kind": "toy",
    "url": None,
    "num": None,
    "seed": 0,
    "images": "images",
    "masks": "masks",
    "classes_url": None,
    "names_url": None,
    "names_key": None,
}
"""All keys of all kinds, as the first version stored them with each source."""


def parsed(source: dict[str, Any]) -> Any:
    return parse_config({"data": {"test": source}}).data.test


def problems_of(source: dict[str, Any]) -> list[str]:
    with pytest.raises(UserError) as refusal:
        parsed(source)
    return list(refusal.value.problems)


@pytest.mark.parametrize(
    ("keys", "source"),
    [
        ({"num": 3}, ToySource(num=3)),
        ({"kind": "folder", "url": "/a"}, FolderSource(url="/a")),
        (
            {"kind": "pairs", "url": "/a", "classes_url": "/c", "masks": "ids"},
            PairsSource(url="/a", classes_url="/c", masks="ids"),
        ),
    ],
)
def test_a_source_is_read_back_and_holds_the_keys_of_its_kind_alone(
    keys: dict[str, Any], source: FolderSource | PairsSource
) -> None:
    assert parsed(keys) == parsed({**VERSION_0_1, **keys}) == source
    stored = config_tree(parse_config({"data": {"test": source}}))["data"]["test"]
    assert stored.keys() <= type(source).model_fields.keys() and parsed(stored) == source


def test_all_keys_that_a_kind_needs_are_named_at_once() -> None:
    assert problems_of({"kind": "pairs"}) == [
        "config: data.test: kind pairs needs url: the folder, or a .zip archive",
        "config: data.test: kind pairs needs classes_url: a file of class names "
        "(or classes: the same, here)",
    ]


def test_a_misspelt_key_is_compared_with_those_of_its_kind() -> None:
    (problem,) = problems_of({"kind": "folder", "url": "/a", "name_url": "/n"})
    assert problem == "config: data.test.name_url: unknown key. Did you mean data.test.names_url?"
    (problem,) = problems_of({"num": 3, "sead": 4})
    assert problem.endswith("Did you mean data.test.seed?")


@pytest.mark.parametrize("kind", ["photos", None, 7, ["toy"]])
def test_an_unknown_kind_is_told_with_those_that_are_known(kind: object) -> None:
    (problem,) = problems_of({"kind": kind, "num": 3})
    *kinds, last = (section.model_fields["kind"].default for section in get_args(KnownSource))
    wanted = f"input should be {', '.join(map(repr, kinds))} or {last!r}"
    assert problem == f"config: data.test.kind: {wanted}, got {kind!r}"


def test_kinds_that_read_a_foreign_key_are_those_that_its_refusal_proposes() -> None:
    (problem,) = problems_of({"kind": "toy", "num": 3, "url": "/a"})
    for section in get_args(KnownSource):
        kind = section.model_fields["kind"].default
        proposed = f"kind: {kind} for {section.purpose}" in problem
        assert proposed == ("url" in section.model_fields)
    (problem,) = problems_of({"kind": "folder", "url": "/a", "masks": "b", "unpaired": "skip"})
    assert "Set kind: pairs for images beside masks; or leave these keys out" in problem
    first = {"seed": 7}
    assert first.keys() <= ToySource.model_fields.keys()
    (problem,) = problems_of({"kind": "folder", "url": "/a", **first})
    assert f"Set kind: toy for {ToySource.purpose}; or" in problem


def test_items_are_sorted_by_name_and_change_their_version_with_their_image(
    tmp_path: Path,
) -> None:
    for name in ("b", "a"):
        put(tmp_path / "images", **{f"{name}_png": encode_png(flat(1))})
        put(tmp_path / "masks", **{f"{name}_png": encode_png(ids([1]))})
    sources = FolderSource(url=str(tmp_path / "images")), pairs(tmp_path), ToySource(num=2)
    for source in sources:
        found = source.find(labelled=False, problems=(problems := Problems()))
        names = [item.name for item in found.items]
        assert names == sorted(names) and len(names) == 2 and not problems.found
        assert all(item.mask_url is None for item in found.items)
        versions = source.versions(found.items)
        assert len(versions) == 2
        put(tmp_path / "images", a_png=encode_png(flat(2, 9)))
        assert (source.versions(found.items) == versions) == (source.kind == "toy")
        put(tmp_path / "images", a_png=encode_png(flat(1)))


@pytest.mark.parametrize("kind", ["coco", "yolo", "labelme"])
@pytest.mark.parametrize("classes", [{}, {"classes": ["a", "b"]}])
def test_a_setting_on_values_is_refused_where_masks_are_drawn(
    kind: str, classes: dict[str, Any]
) -> None:
    of_values = {"nearest_colors": True, "ids_divided_by": 256, "smaller_ids": "objects"}
    told = problems_of({"kind": kind, "url": "/a", **classes, **of_values})
    assert sorted(told) == [
        f"config: data.test.{key}: has no effect on kind {kind}, whose masks are drawn. "
        "Leave it out."
        for key in sorted(of_values)
    ]
    assert parsed({"kind": kind, "url": "/a", "nearest_colors": False}).kind == kind
