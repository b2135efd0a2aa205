"""Claims about factory.classes."""

from itertools import pairwise

from factory.classes import Classes, distinct_colors


def test_neighbouring_classes_look_different() -> None:
    colors = distinct_colors(20)
    assert len(set(colors)) == 20
    for one, other in pairwise(colors):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 60


def test_a_given_palette_is_kept() -> None:
    palette = ((1, 2, 3), (4, 5, 6))
    assert Classes.named(["a", "b"], palette).palette == palette
