import pytest

from factory.page_parts import percentages


@pytest.mark.parametrize("counts", [[1, 1, 1], [0, 7], [1] * 7, [10**15, 1, 2]])
def testpercentages_sum_to_100(counts: list[int]) -> None:
    assert sum(percentages(counts)) == pytest.approx(100, abs=1e-9)


def test_pixels_without_any_class_give_no_shares() -> None:
    assert percentages([0, 0]) == [0, 0]
