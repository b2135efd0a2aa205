"""Claims about factory.classes."""

from itertools import pairwise

import pytest

from factory.classes import Classes, distinct_colors, parse_classes
from factory.errors import UserError


def test_an_object_and_a_list_name_the_same_classes() -> None:
    by_id = parse_classes('{"1": "nucleus", "0": "background"}', "classes.json")
    assert by_id == parse_classes('["background", "nucleus"]', "classes.json")
    assert by_id.id2label == {"0": "background", "1": "nucleus"}
    assert len(by_id) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"0": "a", "2": "b"}', "without gaps"),
        ('{"1": "a", "2": "b"}', "without gaps"),
        ('{"0": "a", "1": "b", "1": "c"}', "twice"),
        ('["a", "a"]', "the name of several"),
        ('["only one"]', "2 to 255"),
        ("[]", "2 to 255"),
        ("{}", "2 to 255"),
        ('["a", 1]', "list of names"),
        ('"a"', "list of names"),
        ("null", "list of names"),
        ("names: yes", "not JSON"),
        (str([f"c{i}" for i in range(256)]).replace("'", '"'), "2 to 255"),
    ],
)
def test_bad_class_files_are_refused_with_their_place(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as refusal:
        parse_classes(text, "s3://bucket/classes.json")
    assert "s3://bucket/classes.json" in str(refusal.value)


def test_a_byte_order_mark_is_no_part_of_the_names() -> None:
    assert parse_classes('\ufeff["a", "b"]', "classes.json").names == ("a", "b")


def test_255_classes_are_the_most() -> None:
    names = [f"c{i}" for i in range(255)]
    assert len(parse_classes(str(names).replace("'", '"'), "classes.json")) == 255


def test_neighbouring_classes_look_different() -> None:
    colors = distinct_colors(20)
    assert len(set(colors)) == 20
    for one, other in pairwise(colors):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 60


def test_a_given_palette_is_kept() -> None:
    palette = ((1, 2, 3), (4, 5, 6))
    assert Classes.named(["a", "b"], palette).palette == palette
