"""Claims about factory.data.pixels.intensity: what becomes black and white, and what is lost."""

import re

import numpy as np
import pytest

from factory.data.pixels.intensity import MIN_LEVELS, to_8_bit
from factory.data.pixels.reading import Intensity, Reading, check_intensity
from factory.errors import UnreadableImage

TWELVE_BITS = np.linspace(0, 4095, 6000).astype(np.uint16).reshape(60, 100)


def levels(values: np.ndarray, intensity: Intensity | None) -> int:
    return len(np.unique(to_8_bit(values, intensity).pixels))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_a_window_is_mapped_in_proportion_and_the_rest_is_clipped(kind: type) -> None:
    values: np.ndarray = np.array([[0, 10, 20, 30, 60, 110, 120]]).astype(kind)
    mapped = to_8_bit(values, (10.0, 110.0))
    assert mapped.pixels.tolist() == [[0, 0, 26, 51, 128, 255, 255]]
    assert (mapped.stored, mapped.window) == ((0, 120), (10, 110))


def test_a_window_reads_all_levels_that_8_bits_have() -> None:
    assert levels(TWELVE_BITS, (0.0, 4095.0)) == 256
    assert levels(TWELVE_BITS.astype(np.float32), (0.0, 4095.0)) == 256


def test_percentiles_are_those_of_numpy_in_each_image() -> None:
    values = np.random.default_rng(0).normal(1000, 50, (64, 64)).astype(np.float32)
    mapped = to_8_bit(values, "percentiles")
    np.testing.assert_allclose(mapped.window, np.percentile(values, [0.5, 99.5]))
    assert (mapped.pixels == 0).mean() == pytest.approx(0.005, abs=0.002)
    assert to_8_bit(values * 9, "percentiles").window[1] == pytest.approx(mapped.window[1] * 9)


def test_an_image_that_is_nearly_all_one_value_keeps_the_others_with_percentiles() -> None:
    values = np.zeros((64, 64), np.uint16)
    values[0, :3] = 10, 20, 40
    assert to_8_bit(values, "percentiles").pixels[0, :4].tolist() == [64, 128, 255, 0]
    assert levels(np.full((4, 4), 7, np.uint16), "percentiles") == 1


REFUSED: dict[str, np.ndarray] = {
    "12 bits in 16": TWELVE_BITS,
    "bright, but few of 65536": np.arange(3000, 4000, dtype=np.uint16).reshape(10, 100),
    "a narrow range of 16 bits": np.arange(40000, 41000, dtype=np.uint16).reshape(10, 100),
    "below 0": np.linspace(-1000, 3000, 500).astype(np.int16).reshape(5, 100),
    "beyond 16 bits": np.linspace(0, 100_000, 500).astype(np.int32).reshape(5, 100),
    "floats of 0..255": np.linspace(0, 255, 500).reshape(5, 100),
    "floats that are all small": np.linspace(0, 0.01, 500).astype(np.float32).reshape(5, 100),
    "Hounsfield units": np.linspace(-1024, 3071, 500).astype(np.float32).reshape(5, 100),
    "not a number here and there": np.where(np.eye(64) > 0, np.nan, np.linspace(0, 1, 64)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_values_that_need_a_window_are_refused_and_the_one_that_is_named_reads_them(
    kind: str,
) -> None:
    values: np.ndarray = REFUSED[kind]
    with pytest.raises(UnreadableImage, match=r"Set intensity: .*, or intensity: perc") as refusal:
        to_8_bit(values, None)
    found = re.search(r"intensity: \[([^,]+), ([^]]+)\]", str(refusal.value))
    assert found is not None
    settings: list[Intensity] = [(float(found[1]), float(found[2])), "percentiles"]
    for intensity in settings:
        pixels = to_8_bit(values, intensity).pixels
        assert len(np.unique(pixels)) >= min(len(np.unique(values)), 60)


def test_a_window_that_leaves_hardly_any_levels_is_refused_with_a_better_one() -> None:
    with pytest.raises(UnreadableImage, match=r"1000 levels 5 would.*Set intensity: \[0, 1023\]"):
        to_8_bit(np.arange(1000, dtype=np.uint16)[None], (0.0, 65535.0))


def test_a_window_that_all_values_lie_outside_of_is_refused_with_theirs() -> None:
    values = np.arange(30_000, 30_500, dtype=np.uint16).reshape(20, 25)
    message = r"30000\.\.30499, all lie outside of 0\.\.4095: .* Set intensity: \[30000, 30499\]"
    with pytest.raises(UnreadableImage, match=message):
        to_8_bit(values, (0.0, 4095.0))
    assert levels(values, (30_000.0, 30_499.0)) > 200, "as the message advises"
    assert levels(np.full((4, 4), 9, np.uint16), (100.0, 200.0)) == 1, "a blank image is one"


def test_a_window_as_wide_as_a_few_far_values_make_it_is_refused_with_another_way() -> None:
    values = np.arange(1000, dtype=np.uint16).reshape(20, 50)
    values[0, 0] = 65535
    with pytest.raises(UnreadableImage, match=r"the range that most of its values are in"):
        to_8_bit(values, (1.0, 65535.0))
    assert levels(values, "percentiles") > 200, "as the message advises"


def test_few_levels_that_all_stay_are_no_loss() -> None:
    assert levels(np.array([[0, 60000], [30000, 0]], np.uint16), None) == 3 < MIN_LEVELS


def test_what_is_no_number_is_black_and_what_is_endless_is_clipped() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 5.0]])
    assert to_8_bit(values, (0.0, 10.0)).pixels.tolist() == [[0, 255, 0, 128]]
    with pytest.raises(UnreadableImage, match="no number that is finite"):
        to_8_bit(np.full((2, 2), np.nan), (0.0, 1.0))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_least_of_all_floats_is_a_value_like_others(kind: type) -> None:
    values: np.ndarray = np.linspace(0, 1, 400, dtype=kind).reshape(20, 20)
    values[:5] = np.finfo(kind).min
    with pytest.raises(UnreadableImage, match="levels 2 would be left"):
        to_8_bit(values, "percentiles")
    assert to_8_bit(values, (0.0, 1.0)).pixels[5:].max() == 255


@pytest.mark.parametrize("window", [(1.0, 1.0), (2.0, 1.0), (0.0, float("inf"))])
def test_a_window_without_width_is_no_setting(window: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must be less than"):
        check_intensity(window)
    assert Reading().intensity is None
