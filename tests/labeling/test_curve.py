"""Claims about `factory curve`: what more labelled images are worth."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory.config import Config
from factory.data.loading import Labelled
from factory.errors import UserError
from factory.labeling import curve_outcome
from factory.labeling.commands import fitted
from factory.labeling.curve import Fit, _Fitter, drawn_numbers, material_of
from factory.labeling.curve_command import check_curve, curve
from factory.labeling.curve_gain import Gain, gain_of
from factory.labeling.curve_outcome import FITS, PICTURE, read_curve
from factory.labeling.curve_picture import picture
from factory.labeling.evaluation import evaluate
from factory.labeling.linear_probe import Floats

QUICK = {"num_members": 2, "hidden": [8, 4], "num_steps": 3, "pixels_per_step": 64}
NUMS = [5, 10, 20, 40]
Make = Callable[..., Config]


@pytest.fixture
def make(tiny_config: Make, tmp_path: Path) -> Make:
    """A config that fits on 2, 4 and 6 images, twice each."""

    def config(test: Any = "toy", **curve: Any) -> Config:
        data = {"image_size": 16, "labelled": {"kind": "toy", "num": 6, "seed": 2}}
        if test is not None:
            data["test"] = {"kind": "toy", "num": 4, "seed": 3} if test == "toy" else test
        section = {"url": str(tmp_path / "curve"), "nums": [2, 4], "num_seeds": 2, **curve}
        return tiny_config(data=data, fit=QUICK, curve=section)

    return config


def problems(config: Config) -> str:
    with pytest.raises(UserError) as refused:
        check_curve(config)
    return "\n".join(refused.value.problems)


def test_the_images_of_a_smaller_number_are_among_those_of_a_larger_one() -> None:
    drawn = [set(drawn_numbers(50, num, 0, 1).tolist()) for num in (5, 20, 50)]
    assert drawn[0] < drawn[1] < drawn[2] == set(range(50))
    others = [drawn_numbers(50, 5, *seeds).tolist() for seeds in ((0, 2), (1, 1))]
    assert len({*map(tuple, others), tuple(sorted(drawn[0]))}) == 3


def test_all_images_come_last_and_score_as_fit_and_evaluate_have_it(make: Make) -> None:
    config = make(features_gib=1e-9)
    material = check_curve(config)
    assert material.nums == (2, 4, 6) and material.test_key == "data.test"
    found = _Fitter(material, config).fit(6, 0)
    kept = _Fitter(material, make()).fit(6, 0)
    head = fitted(material.model, material.labelled, config)
    score = evaluate(material.model, head, material.test, config).soft
    for iou in (found.iou, kept.iou):
        np.testing.assert_allclose(iou, score.iou, atol=2e-3)
    assert found.drawn.shape == (50, len(material.test.classes))


def test_a_command_that_was_killed_goes_on_to_the_same_curve(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    whole = make(url=str(tmp_path / "whole"))
    lines = curve(whole)
    fits: list[tuple[int, int]] = []
    fit = _Fitter.fit

    def kept_until_killed(self: _Fitter, num: int, seed: int) -> Fit:
        if len(fits) == 2:
            raise KeyboardInterrupt
        fits.append((num, seed))
        return fit(self, num, seed)

    monkeypatch.setattr(_Fitter, "fit", kept_until_killed)
    with pytest.raises(KeyboardInterrupt):
        curve(make())
    assert fits == [(2, 0), (4, 0)] and read_curve(make().curve.url) is None
    fits[:] = [(0, 0)] * 3
    assert curve(make())[:-1] == lines[:-1] and len(fits) == 3 + 4
    for name in (curve_outcome.FOUND, PICTURE):
        both = [Path(each.curve.url, name).read_bytes() for each in (whole, make())]
        assert both[0] == both[1]
    assert read_curve(make().curve.url) == read_curve(whole.curve.url)

    told.clear()
    curve(make(seed=1))
    assert any("of other images, of another DDPM or other settings" in line for line in told)
    assert len(fits) == 7 + 6
    content = json.loads(Path(make().curve.url, FITS).read_text())
    assert len(content["fits"]) == 6


def test_without_test_images_it_is_measured_on_labelled_ones_that_no_fit_learns_from(
    make: Make, toy_labelled: Labelled
) -> None:
    config = make(test=None, nums=[2, 4, 15, 19])
    material = material_of(check_curve(make()).model, toy_labelled, None, config)
    assert material.nums == (2, 4, 15) and material.test_key == "data.labelled"
    names = {*material.labelled.names}, {*material.test.names}
    assert len(names[0]) == 15 and len(names[1]) == 5 and not names[0] & names[1]


@pytest.fixture
def toy_labelled(make: Make) -> Labelled:
    """Twenty images, some of them twice."""
    labelled = check_curve(make()).labelled
    names = tuple(f"{i:02d}" for i in range(20))
    rows = np.arange(20) % len(labelled)
    return Labelled(labelled.images[rows], labelled.masks[rows], names, labelled.classes)


def test_numbers_that_allow_no_curve_are_refused_with_those_that_do(
    make: Make, tmp_path: Path
) -> None:
    assert (
        "has too few numbers that allow a curve, which needs two: data.labelled has 6 images"
        in (told := problems(make(test=None)))
    )
    assert "of which 5 are left to measure on, as data.test is not set. Label more, or set" in told
    assert "Set curve.nums=[3, 6]." in problems(make(nums=[9]))
    assert not Path(make().curve.url).exists()


def test_all_problems_are_told_at_once(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = problems(
        make(test={"kind": "folder", "url": str(tmp_path / "none")}, url=str(tmp_path / "file"))
    )
    assert "none" in told and "file" in told


def line(slope: float, noise: float, seed: int = 0) -> tuple[Floats, Floats]:
    """IoUs of three draws along a line over the logarithm of `NUMS`, and of draws of the test
    images, which change nothing."""
    noise_of_all = np.random.default_rng(seed).standard_normal((len(NUMS), 3))
    ious = 0.3 + slope * np.log(np.array(NUMS))[:, None] + noise * noise_of_all
    return ious, np.repeat(ious[:, :, None], 50, axis=2)


def test_ten_more_are_worth_what_a_line_over_the_logarithm_says() -> None:
    exact = gain_of(NUMS, *line(0.1, 0.0))
    assert exact.gain == pytest.approx(0.1 * np.log(50 / 40)) and exact.noise < 1e-9
    gains = [gain_of(NUMS, *line(0.1, 0.02, seed)) for seed in range(300)]
    hits = sum(abs(each.gain - exact.gain) <= each.noise for each in gains)
    assert 0.85 < hits / len(gains) < 0.97, "twice the standard error of three draws each"
    nothing = [gain_of(NUMS, *line(0.0, 0.02, seed)).is_told for seed in range(300)]
    assert sum(nothing) / len(nothing) < 0.15


def test_what_chance_may_have_made_is_not_told_as_a_gain(make: Make) -> None:
    curve(make())
    found = read_curve(make().curve.url)
    assert found is not None and found.ten_more is None, "six images tell nothing of ten more"
    assert "not told: that is more than twice as many" in found.sentences()[0]
    larger: dict[str, Any] = {
        "nums": (5, 10, 20),
        "ten_more": Gain(0.02, 0.01),
        "last_two": Gain(0.005, 0.004),
    }
    gains = {"eye": Gain(0.05, 0.02), "hair": Gain(0.01, 0.02)}
    told = replace(found, **larger, classes_ten_more=gains)
    first, second, third = told.sentences()
    assert first.startswith("Ten more than 20 labelled images are worth about +2.0 ± 1.0 points")
    assert "through 5, 10, 20." in first
    assert "rises more slowly: the last two numbers alone give +0.5 ± 0.4 points" in second
    assert third == "Most gain eye +5.0 ± 2.0 points of IoU."
    noise = replace(told, ten_more=Gain(0.005, 0.01))
    assert "is within what chance makes of it. More seeds (curve.num_seeds)" in noise.sentences()[0]


def test_the_picture_has_a_line_for_each_class_and_one_for_the_mean(make: Make) -> None:
    curve(make())
    found = read_curve(make().curve.url)
    assert found is not None
    svg = Path(make().curve.url, PICTURE).read_text()
    there = [values for values in found.iou.values() if None not in values]
    assert svg.count("<title>") == len(there) + 3 and svg.count("<circle") == 3
    classes = check_curve(make()).labelled.classes
    assert "xmlns" not in picture(found, classes, in_page=True)
