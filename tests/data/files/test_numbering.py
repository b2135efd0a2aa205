"""Claims about images and masks whose numbers begin apart: they are told from those that lack one
another's."""

from pathlib import Path

import pytest

from factory.cli import main
from factory.data import loading
from factory.data.files.numbering import shift
from factory.errors import UserError
from factory.png import encode_png
from tests.data.inputs import pairs, problems_of
from tests.data.kinds.test_auto import auto, mask
from tests.data.recognizing.test_recognition import photograph


def paired(images: range, masks: range) -> list[tuple[str, str]]:
    return [(f"a/img_{i}.png", f"b/mask_{i}.png") for i in images if i in masks]


def unpaired(images: range, masks: range) -> list[str]:
    left = [f"a/img_{i}.png" for i in images if i not in masks]
    return left + [f"b/mask_{i}.png" for i in masks if i not in images]


@pytest.mark.parametrize(
    ("images", "masks", "expected"),
    [
        (range(10), range(1, 11), "a/img_0.png and b/mask_10.png have no partner"),
        (range(3, 13), range(10), "a/img_10.png and b/mask_2.png have no partner"),
        (range(10), range(10), ""),
        (range(10), range(1, 10), ""),
        (range(10), range(5, 25), ""),
        (range(20), range(18, 38), ""),
    ],
)
def test_numbers_begin_apart_where_both_ends_are_as_many(
    images: range, masks: range, expected: str
) -> None:
    assert shift(paired(images, masks), unpaired(images, masks)).startswith(expected)
    assert bool(shift(paired(images, masks), unpaired(images, masks))) == bool(expected)


def test_what_lacks_a_partner_in_between_is_no_shift() -> None:
    pairs_ = paired(range(10), range(10))
    assert not shift(pairs_[:4] + pairs_[6:], ["a/img_4.png", "b/mask_5.png"])


@pytest.mark.parametrize("form", ["{}.png", "m_{}.png"])
def test_pairs_of_shifted_numbers_are_refused_unless_it_is_said_that_they_agree(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for i in range(6):
        (tmp_path / f"data/images/{i}.png").write_bytes(encode_png(photograph(i)))
        (tmp_path / "data/masks" / form.format(i + 1)).write_bytes(encode_png(mask(0, 1)))
    told = f"images/0.png and masks/{form.format(6)} have no partner"
    assert main(["init", f"{tmp_path}/data", "--out", f"{tmp_path}/my.yaml"]) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1 and told in said
    with pytest.raises(UserError, match=told):
        loading.read_labelled(auto(tmp_path / "data", classes=["background", "thing"]), 8)
    keys = {"masks": "masks/" + form.replace("{}", "{stem}"), "images": "images/*.png"}
    assert told in problems_of(pairs(tmp_path / "data", **keys))[0]
    skipped = loading.read_labelled(pairs(tmp_path / "data", **keys, unpaired="skip"), 8)
    assert len(skipped.names) == 5 and any(told in note for note in skipped.notes)
