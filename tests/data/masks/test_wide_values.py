"""Claims about factory.data.masks.wide_values: fractions, negative ids and what is no number."""

import numpy as np
import pytest

from factory.data.classes.class_forms import parse_rules
from factory.data.masks.mask_decoding import MaskFacts, decode_mask
from factory.data.masks.wide_values import class_ids
from factory.data.surveying.mask_checks import check_masks
from factory.errors import Problems, UnreadableImage
from tests.data.masks.test_mask_values import encoded_by_tifffile, saved

HALF = parse_rules(["ground", {"name": "cell", "above": 0.5}], "classes")
NAMED = parse_rules(["ground", "cell"], "classes")
NAN = float("nan")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_fractions_are_of_the_class_whose_threshold_they_exceed(dtype: type[np.generic]) -> None:
    values = np.array([[0, 0.25, 0.5, 0.75, 1]], dtype)
    for data in (saved(values), encoded_by_tifffile(values.astype(np.float32))):
        assert np.asarray(decode_mask(data, HALF).ids).tolist() == [[0, 0, 0, 1, 1]]
    three = parse_rules(["a", {"name": "b", "above": 0.2}, {"name": "c", "above": 0.7}], "classes")
    assert class_ids(values, three).ids.tolist() == [[0, 1, 1, 2, 2]]


def test_a_value_that_a_rule_names_goes_before_thresholds_among_fractions() -> None:
    form = {"classes": ["a", {"name": "b", "above": 0.5}], "ignore": {"ids": [-1]}}
    found = class_ids(np.array([[-1, 0.25, 0.75]]), parse_rules(form, "classes"))
    assert found.ids.tolist() == [[255, 0, 1]] and found.has_fractions


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.0, 0.25, 1], r"0\.\.1, with fractions.*`classes: \[\{name: ground\}, .*above: 0.5"),
        ([-1.0, 0.25, 1], r"of no class are -1\. .*ignore: \{ids: \[-1\]\}"),
        ([-0.25, 0.5, 1], r"of no class are -0\.25\. If they stand for not labelled, write one"),
    ],
)
def test_fractions_without_a_rule_are_refused_with_what_would_read_them(
    values: list[float], said: str
) -> None:
    with pytest.raises(UnreadableImage, match=said):
        class_ids(np.array([values]), NAMED)


def test_what_is_no_number_is_ignored_and_told() -> None:
    for rules in (NAMED, HALF):
        mask = decode_mask(saved(np.array([[0, NAN, 1], [NAN, NAN, 1]], np.float32)), rules)
        assert np.asarray(mask.ids).tolist() == [[0, 255, 1], [255, 255, 1]]
        assert mask.num_missing == 3
    assert (class_ids(np.array([[NAN, NAN]]), NAMED).ids == 255).all()
    facts = MaskFacts("m/0.npy", "F", mask.values, {}, {}, num_missing=3)
    (note,) = check_masks([facts], NAMED, Problems())
    assert note.startswith("1 mask has pixels that are no numbers (NaN; 3 pixels, such as in 0.n")


def test_negative_values_are_counted_by_their_sign() -> None:
    rules = parse_rules({"classes": ["a", "b"], "ignore": {"ids": [-1, -32768]}}, "classes")
    found = class_ids(np.array([[-1, 0, 1, -32768, 255, -1]], np.int32), rules)
    assert found.values == {-1: 2, 0: 1, 1: 1, -32768: 1, 255: 1}
    assert found.ids.tolist() == [[255, 0, 1, 255, 255, 255]]
