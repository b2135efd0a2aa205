"""Claims about factory.labeling.calibrating."""

import json
from pathlib import Path

import numpy as np
import pytest

from factory.calibration import Calibration, ClassLines
from factory.classes import IGNORE_ID, Classes
from factory.data.loading import Labelled
from factory.data.toy import faces
from factory.diffusion.checkpoints import load_model
from factory.errors import UserError
from factory.labeling import calibrating, commands
from factory.labeling.calibrating import calibrate, check_calibration
from factory.labeling.fitting import fit_head
from factory.labeling.folds import part_of
from factory.labeling.heads import head_hash, load_head, save_head, with_calibration
from factory.labeling.overlaps import PARTS
from tests.drawings import draw_many

QUICK = {"num_members": 2, "hidden": [8, 4], "num_steps": 3, "pixels_per_step": 64}
OLD = Calibration(intercept=0.9, slope=-0.5, error=0.1, wrong_above=0.4, num_images=10)
"""As an older version learned it, over the uncertainty."""
LINES = ClassLines(slope=0.5, intercepts=(0.1,) * 11, error=0.1)
CALIBRATION = OLD.model_copy(update={"slope": 0.5, "classes": LINES})


@pytest.fixture
def model(tiny_models):
    return load_model(tiny_models["ddpm_url"])


@pytest.fixture
def config(tiny_config, tiny_models):
    return tiny_config(models=tiny_models, fit={**QUICK, "calibration_folds": 2})


@pytest.fixture(scope="module")
def labelled() -> Labelled:
    images, masks = draw_many(3, 12, 16)
    masks[5] = IGNORE_ID
    masks[:, :2] = IGNORE_ID
    names = tuple(f"{i:02}" for i in range(12))
    return Labelled(images, masks, names, Classes.named(faces.CLASSES, faces.PALETTE))


def test_no_image_is_labelled_by_a_head_that_has_seen_it(
    model, config, labelled, monkeypatch
) -> None:
    fitted = []

    def noted(model, part, config):
        fitted.append(set(part.names))
        return fit_head(model, part, config)

    compared = calibrating._compared

    def checked(model, head, held_out):
        assert not fitted[-1] & set(held_out.names)
        assert fitted[-1] | set(held_out.names) == set(labelled.names)
        return compared(model, head, held_out)

    monkeypatch.setattr(calibrating, "fit_head", noted)
    monkeypatch.setattr(calibrating, "_compared", checked)
    found = calibrate(model, labelled, config)
    assert len(fitted) == 2
    assert found.num_images == 11, "one image is all ignored"
    assert found.classes is not None and len(found.classes.intercepts) == 11


def test_calibrated_weights_are_those_of_the_same_fit_without(model, config, labelled) -> None:
    plain = config.model_copy(
        update={"fit": config.fit.model_copy(update={"calibration_folds": 0})}
    )
    heads = [commands.fitted(model, labelled, each) for each in (config, plain)]
    calibrated, uncalibrated = (head.stored_tensors() for head in heads)
    assert all(bool((calibrated[name] == uncalibrated[name]).all()) for name in uncalibrated)
    assert heads[0].config.calibration is not None
    assert heads[1].config.calibration is None


@pytest.mark.parametrize("calibration", [CALIBRATION, OLD], ids=["votes", "uncertainty"])
def test_a_calibration_survives_its_folder_and_changes_the_hash(
    tiny_models, model, tmp_path, calibration: Calibration
) -> None:
    head, plain_hash = load_head(tiny_models["ensemble_url"], model.model_hash)
    save_head(with_calibration(head, calibration), str(tmp_path))
    loaded, loaded_hash = load_head(str(tmp_path), model.model_hash)
    assert loaded.config.calibration == calibration
    assert loaded_hash == head_hash(with_calibration(head, calibration)) != plain_hash
    assert list(json.loads((tmp_path / "config.json").read_bytes()))[-1] == "calibration"


def test_lines_of_other_classes_than_the_heads_are_refused(tiny_models, model, tmp_path) -> None:
    head, _ = load_head(tiny_models["ensemble_url"], model.model_hash)
    few = LINES.model_copy(update={"intercepts": (0.1,) * 3})
    save_head(
        with_calibration(head, CALIBRATION.model_copy(update={"classes": few})), str(tmp_path)
    )
    with pytest.raises(UserError, match="11 names, 3 lines of classes"):
        load_head(str(tmp_path), model.model_hash)


def test_ignored_pixels_count_neither_for_what_is_expected_nor_for_what_is_right(
    model, config, labelled
) -> None:
    part = part_of(labelled, np.arange(12) < 5)
    head = fit_head(model, part, config)
    for found, mask in zip(calibrating._compared(model, head, part), part.masks, strict=True):
        num = int((mask != IGNORE_ID).sum())
        assert len(found.pixels_are_right) == num == found.overlap[2].sum() // PARTS
        assert ((found.overlap[2] > 0) <= ~np.isnan(found.ious)).all()


def test_a_folder_without_calibration_does_not_tell_it(tiny_models) -> None:
    told = json.loads(Path(tiny_models["ensemble_url"], "config.json").read_bytes())
    assert list(told)[-1] == "ddpm_hash"


def test_too_few_images_and_a_single_fold_are_refused_by_the_key(labelled) -> None:
    few = part_of(labelled, np.arange(12) < 10)
    for part, folds in ((few, 3), (labelled, 1)):
        with pytest.raises(UserError, match=r"fit\.calibration_folds: .* to 0 for no calibration"):
            check_calibration(part, folds)
    check_calibration(few, 0)


def test_more_folds_than_labelled_images_are_refused_by_the_key(labelled) -> None:
    with pytest.raises(UserError, match=r"fit\.calibration_folds: 100 is more than the 11 images"):
        check_calibration(labelled, 100)
    check_calibration(labelled, 11)


def test_a_fit_tells_that_votes_say_nothing_of_the_iou_and_what_would_help(
    model, config, labelled, monkeypatch, told
) -> None:
    flat = CALIBRATION.model_copy(update={"slope": 0.0})
    monkeypatch.setattr(commands, "calibrate", lambda *arguments: flat)
    commands.fitted(model, labelled, config)
    (warning,) = [line for line in told if "warning: votes" in line]
    assert "say nothing of the IoU of a mask on these images" in warning
    assert "Label more images" in warning
    assert CALIBRATION.shortcomings() == []
    classes = LINES.model_copy(update={"slope": 0.0})
    (of_classes,) = CALIBRATION.model_copy(update={"classes": classes}).shortcomings()
    assert "of a class" in of_classes
