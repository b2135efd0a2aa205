"""Claims about factory.worst_pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory import worst_pairs as module
from factory.calibration import NOT_THERE, Calibration, ClassLines
from factory.classes import Classes
from factory.errors import UserError
from factory.images import UInt8
from factory.shards.ledger import Ledger
from factory.shards.packing import pack
from factory.shards.plan import Plan
from factory.shards.reading import read_manifest
from factory.shards.receipts import Circumstances
from factory.shards.schema import Sample, sample_key
from factory.worst_pairs import FEWEST_PIXELS, MAX_SHOWN, WorstPairs, worst_pairs

SIZE = 16


def calibration(num_classes: int) -> Calibration:
    lines = ClassLines(slope=1.0, intercepts=(0.0,) * num_classes, error=0.1)
    return Calibration(
        intercept=0.0, slope=1.0, error=0.1, wrong_above=None, num_images=10, classes=lines
    )


def mask_of(pixels: dict[int, int]) -> UInt8:
    """A mask with so many pixels of each class, and background."""
    ids = [class_id for class_id, num in pixels.items() for _ in range(num)]
    return np.array(ids + [0] * (SIZE**2 - len(ids)), np.uint8).reshape(SIZE, SIZE)


def write(
    url: str,
    masks: Sequence[UInt8],
    ious: Sequence[dict[int, float]] | None,
    class_names: Sequence[str] = ("ground", "cat", "dog", "owl"),
    uncertainties: Sequence[float] = (),
    channels: int = 3,
    **changes: Any,
) -> str:
    """Writes a dataset of these masks; ious: what is expected of each class of each mask, 0.9 where
    nothing is said; None: nothing is expected."""
    num_classes = len(class_names)
    recipe: dict[str, Any] = {"seed": 0, "channels": channels}
    if ious is not None:
        recipe["calibration"] = calibration(num_classes).model_dump(mode="json")
    fields: dict[str, Any] = {
        "num": len(masks),
        "samples_per_shard": 3,
        "format": "parquet",
        "class_names": tuple(class_names),
        "palette": Classes.named(class_names).palette,
        "recipe": {**recipe, **changes.pop("recipe", {})},
    }
    plan, samples = Plan(**{**fields, **changes}), []
    for i, mask in enumerate(masks):
        image = np.random.default_rng(i).integers(0, 256, (SIZE, SIZE, channels), np.uint8)
        expected: dict[str, Any] = {}
        if ious is not None:
            there = set(np.unique(mask).tolist())
            values = [ious[i].get(c, 0.9) if c in there else NOT_THERE for c in range(num_classes)]
            values = np.array(values, np.float32).tolist()
            iou = calibration(num_classes).iou_of_classes(values)
            expected = {
                "expected_class_iou": tuple(values),
                "expected_iou": float(np.float32(iou)),
            }
        uncertainty = uncertainties[i] if uncertainties else 0.5
        samples.append(
            Sample(sample_key(i), image, mask, i, float(np.float32(uncertainty)), "m", **expected)
        )
    Ledger(url, plan).start("", {})
    for spec in plan.shards():
        files = pack(plan, spec, [plan.encode_sample(s) for s in samples[spec.start : spec.stop]])
        Ledger(url, plan).publish(spec, files, Circumstances(seconds=1.0, host="here"))
    Ledger(url, plan).finish("A test.", "cc0-1.0")
    return url


def found_in(url: str) -> WorstPairs:
    return worst_pairs(url, read_manifest(url))


def numbers(found: WorstPairs) -> dict[int, int]:
    """Class -> the pair that is shown for it."""
    return {pairs.class_id: candidate.number for pairs, candidate in found.shown()}


@pytest.mark.parametrize("val_fraction", [None, 0.4])
@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_each_class_has_the_pair_in_which_least_is_expected_of_it(
    tmp_path: Path, format: str, val_fraction: float | None
) -> None:
    masks = [mask_of({1: 30, 2: 40}) for _ in range(8)]
    ious = [{1: 0.8 - i / 100, 2: 0.5 + i / 100} for i in range(8)]
    ious[4][0] = 0.3
    recipe: dict[str, Any] = {"metadata_files": format == "webdataset"}
    recipe |= {} if val_fraction is None else {"val_fraction": val_fraction}
    url = write(str(tmp_path / "out"), masks, ious, format=format, recipe=recipe)
    found = found_in(url)
    assert numbers(found) == {0: 4, 1: 7, 2: 0}
    assert [pairs.class_id for pairs in found.classes] == [2, 1, 0], "the least mean comes first"
    means = {pairs.class_id: pairs.certainty for pairs in found.classes}
    assert means == pytest.approx({0: (7 * 0.9 + 0.3) / 8, 1: 0.765, 2: 0.535})
    assert [pairs.num for pairs in found.classes] == [8, 8, 8]
    assert found.by_class and found.num_pairs == 8


def test_a_speck_is_counted_and_never_shown(tmp_path: Path) -> None:
    few = FEWEST_PIXELS - 1
    masks = [mask_of({1: few, 2: few}), mask_of({1: few + 1}), mask_of({1: 200})]
    ious = [{1: 0.0, 2: 0.0}, {1: 0.4}, {1: 0.7}]
    found = found_in(write(str(tmp_path / "out"), masks, ious))
    assert numbers(found)[1] == 1 and 2 not in numbers(found)
    by_id = {pairs.class_id: pairs for pairs in found.classes}
    assert by_id[1].num == 3 and by_id[1].certainty == pytest.approx(1.1 / 3)
    assert by_id[2].num == 1 and not by_id[2].least
    assert 3 not in by_id, "a class that does not occur is not told"


def test_of_pairs_that_are_equally_uncertain_the_one_that_shows_most_is_taken(
    tmp_path: Path,
) -> None:
    masks = [mask_of({1: num}) for num in (20, 60, 90, 40)]
    found = found_in(write(str(tmp_path / "out"), masks, [{1: 0.0}] * 4))
    assert numbers(found)[1] == 2


def test_without_calibration_the_most_uncertain_pairs_are_shown_each_once(tmp_path: Path) -> None:
    masks = [mask_of({1: 30, 2: 40}) for _ in range(5)]
    url = write(str(tmp_path / "out"), masks, None, uncertainties=(0.1, 0.5, 0.2, 0.4, 0.3))
    found = found_in(url)
    assert not found.by_class
    assert numbers(found) == {0: 1, 1: 3, 2: 4}
    (alone,) = {pairs.certainty for pairs in found.classes}
    assert alone == pytest.approx(-0.3)
    one = write(str(tmp_path / "one"), masks[:1], None)
    assert numbers(found_in(one)) == {0: 0, 1: 0, 2: 0}, "one pair is better than none"


def test_of_many_classes_the_least_certain_ones_are_shown(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(200)]
    masks = [mask_of(dict.fromkeys(range(1 + 12 * i, 13 + 12 * i), 20)) for i in range(16)]
    ious = [{c: c / 200 for c in range(1, 200)} for _ in masks]
    found = found_in(write(str(tmp_path / "out"), masks, ious, names))
    shown = numbers(found)
    assert list(shown) == list(range(1, MAX_SHOWN + 1))
    assert len(found.classes) == 1 + 12 * 16


def test_of_a_larger_dataset_shards_are_read_that_lie_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = [mask_of({1: 30}) for _ in range(15)]
    url = write(str(tmp_path / "out"), masks, [{1: 0.9 - i / 100} for i in range(15)])
    monkeypatch.setattr(module, "MAX_PAIRS", 6)
    found = found_in(url)
    assert (found.num_pairs, found.num_shards) == (6, 2)
    assert numbers(found)[1] == 11, "the last of shard 3, where 1 and 3 are read"


def test_a_damaged_shard_is_named_with_its_remedy(tmp_path: Path) -> None:
    url = write(str(tmp_path / "out"), [mask_of({1: 30})] * 4, [{1: 0.5}] * 4)
    manifest = read_manifest(url)
    shard = tmp_path / "out" / manifest.receipts[1].path
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"{shard.name}: .*factory verify --level decode"):
        worst_pairs(url, manifest)
