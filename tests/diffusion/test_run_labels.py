"""Claims about the steps of a run that are compared by labels, and the best one that is kept."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from factory import faults
from factory.classes import Classes
from factory.config import Config, parse_config
from factory.data.loading import Labelled
from factory.diffusion import run_labels
from factory.diffusion.checkpoints import load_model
from factory.diffusion.run_labels import LabelProbe, check_places, comes_to_a_probe, read_probed
from factory.diffusion.run_models import Best, best_url, read_best, write_model
from factory.diffusion.train_state import TrainState, new_state
from factory.errors import UserError
from factory.labeling import probing
from factory.labeling.linear_probe import Counts
from tests.folders import contents

CPU = torch.device("cpu")


class Killed(BaseException):
    """Ends what is written where it stands, as a signal would."""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    unet = {"block_out_channels": [8, 16], "attention_levels": [], "norm_num_groups": 4}
    train = {"url": str(tmp_path / "run"), "unet": unet, "num_steps": 9, "probe_steps": 3}
    return parse_config(
        {
            "data": {
                "image_size": 16,
                "unlabelled": {"kind": "toy", "num": 4},
                "labelled": {"kind": "toy", "num": 6},
            },
            "train": train,
            "probe": {"pixels_per_image": 32},
        }
    )


@pytest.fixture
def labelled(config: Config) -> Labelled:
    found = read_probed(config)
    assert found is not None
    return found


def at_step(config: Config, step: int) -> TrainState:
    """The state of a run whose weights depend on the step."""
    state = new_state(config, CPU)
    state.step = step
    with torch.no_grad():
        next(state.ema.parameters()).view(-1)[0] = step
    return state


def kept_step(config: Config) -> float:
    """The step whose weights are kept as the best."""
    return float(next(load_model(best_url(config)).unet.parameters()).view(-1)[0])


def counts(*hits: int) -> Counts:
    """Images of one class, so many of whose 100 pixels are found, the others being nothing."""
    truth = np.tile([100.0, 0.0], (len(hits), 1))
    found = np.array([[float(num), 0.0] for num in hits])
    return Counts(found, truth, found)


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives the counts of the measures that follow, in their order."""

    def give(*several: Counts) -> None:
        left = iter(several)
        monkeypatch.setattr(run_labels, "present_counts", lambda *arguments: next(left))

    return give


def test_a_step_is_measured_as_factory_probe_measures_it(config, labelled, told) -> None:
    state = at_step(config, 3)
    LabelProbe(config, labelled, None).measure(state)
    (entry,) = state.history
    found = probing.probe(load_model(best_url(config)), labelled, config).present
    assert entry == {"step": 3, "labels_mean_iou": pytest.approx(found.mean_iou, abs=1e-3)}
    assert told[0] == (
        "train | step 3 | labels: a linear probe of 6 labelled images comes to "
        f"{entry['labels_mean_iou']:.3f} mean IoU (the best so far)"
    )
    assert read_best(config) == Best(
        3, entry["labels_mean_iou"], LabelProbe(config, labelled, None)._id
    )
    assert state.ema.training, "it learns on"


def test_the_best_step_stays_until_a_better_one_comes(config, labelled, scores, told) -> None:
    scores(counts(50), counts(40), counts(50), counts(60))
    probe = LabelProbe(config, labelled, None)
    for step, kept in ((3, 3), (6, 3), (9, 3), (12, 12)):
        probe.measure(at_step(config, step))
        assert kept_step(config) == kept
    endings = [line.rpartition("(")[2] for line in told]
    earlier = "best so far 0.500 at step 3)"
    assert endings == ["the best so far)", earlier, earlier, "the best so far)"]


def test_a_run_that_goes_on_knows_its_best_step(config, labelled, scores, told) -> None:
    scores(counts(50), counts(40), counts(60))
    LabelProbe(config, labelled, None).measure(at_step(config, 3))
    probe = LabelProbe(config, labelled, read_best(config))
    probe.measure(at_step(config, 6))
    assert kept_step(config) == 3 and told[-1].endswith("(best so far 0.500 at step 3)")
    probe.measure(at_step(config, 9))
    assert kept_step(config) == 9


def test_scores_of_other_images_or_settings_are_not_compared(
    config, labelled, scores, told
) -> None:
    scores(counts(50), counts(40), counts(30))
    LabelProbe(config, labelled, None).measure(at_step(config, 3))
    source = config.data.labelled.model_copy(update={"num": 5})
    data = config.data.model_copy(update={"labelled": source})
    fewer = read_probed(config.model_copy(update={"data": data}))
    assert fewer is not None
    LabelProbe(config, fewer, read_best(config)).measure(at_step(config, 6))
    assert kept_step(config) == 6
    assert told[-1].endswith(
        "(the best so far: other images or settings measured the steps before)"
    )
    other = config.model_copy(update={"fit": config.fit.model_copy(update={"timesteps": (7,)})})
    LabelProbe(other, fewer, read_best(config)).measure(at_step(config, 9))
    assert kept_step(config) == 9


def test_wherever_it_is_killed_a_whole_model_is_kept_and_the_same_step_comes_to_the_same(
    config, labelled, scores, monkeypatch
) -> None:
    def measured(step: int, score: int, point: int) -> bool:
        """False if it was killed, at so many points before or after a write."""
        seen = 0

        def hit(name: str) -> None:
            nonlocal seen
            seen += 1
            if seen == point:
                raise Killed

        scores(counts(score))
        monkeypatch.setattr(faults, "hit", hit)
        try:
            LabelProbe(config, labelled, read_best(config)).measure(at_step(config, step))
        except Killed:
            return False
        return True

    assert measured(6, 60, 0)
    wanted, num = contents(Path(best_url(config))), 0
    while not measured(6, 60, num := num + 1):
        # It is the older one, or the new one; and goes on from a checkpoint before.
        assert kept_step(config) in (3, 6)
        measured(6, 60, 0)
        assert contents(Path(best_url(config))) == wanted
        assert measured(3, 70, 0) and kept_step(config) == 3
        scores(counts(50))
        LabelProbe(config, labelled, None).measure(at_step(config, 3))
    assert num > 14, "seven files, each with a point before and after"


def test_a_first_model_that_was_not_finished_is_none(config, labelled, scores, monkeypatch) -> None:
    def hit(name: str) -> None:
        raise Killed

    scores(counts(50), counts(40))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(faults, "hit", hit)
        LabelProbe(config, labelled, None).measure(at_step(config, 3))
    assert read_best(config) is None
    LabelProbe(config, labelled, read_best(config)).measure(at_step(config, 6))
    assert kept_step(config) == 6


def test_a_best_step_that_cannot_be_written_is_told_and_the_training_goes_on(
    config, labelled, scores, told
) -> None:
    scores(counts(50), counts(40))
    Path(config.train.url).mkdir()
    Path(best_url(config)).write_text("a file where the folder should be")
    probe = LabelProbe(config, labelled, None)
    probe.measure(at_step(config, 3))
    assert f"{best_url(config)}: not written (" in told[-1]
    Path(best_url(config)).unlink()
    probe.measure(at_step(config, 6))
    assert kept_step(config) == 6, "a later one is the best that there is"


def test_a_network_that_has_diverged_is_not_measured(config, labelled, told) -> None:
    state = at_step(config, 3)
    with torch.no_grad():
        next(state.ema.parameters()).view(-1)[0] = float("nan")
    LabelProbe(config, labelled, None).measure(state)
    assert told[-1].endswith("has no features that are finite numbers") and not state.history
    assert read_best(config) is None and state.ema.training


def test_a_run_that_comes_to_no_measure_needs_no_labelled_images(config) -> None:
    assert comes_to_a_probe(config)
    shorter, unlabelled = config.model_copy(deep=True), config.model_copy(deep=True)
    object.__setattr__(shorter.train, "num_steps", 2)
    object.__setattr__(unlabelled.data, "labelled", None)
    assert not comes_to_a_probe(shorter) and not comes_to_a_probe(unlabelled)


def with_masks(masks: np.ndarray) -> Labelled:
    num = len(masks)
    images = np.zeros((num, 2, 2, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(num)
    classes = Classes.named(["a", "b"])
    return Labelled(images, masks, tuple(f"{i}" for i in range(num)), classes, ("a note",))


def test_of_many_images_some_are_taken_evenly_and_those_without_labels_never(
    config, monkeypatch, told
) -> None:
    masks = np.zeros((250, 2, 2), np.uint8)
    masks[::5] = 255
    monkeypatch.setattr(run_labels, "read_labelled", lambda *arguments: with_masks(masks))
    found = read_probed(config)
    assert found is not None and len(found) == run_labels.MOST_IMAGES
    numbers = np.array([int(name) for name in found.names])
    assert numbers[0] == 1 and numbers[-1] == 249 and set(np.diff(numbers)) <= {2, 3, 4}
    assert (numbers % 5).all() and (found.images[:, 0, 0, 0] == numbers).all()
    assert told == ["train | data.labelled: a note"]


def test_labels_of_one_image_are_told_to_be_too_few(config, monkeypatch, told) -> None:
    masks = np.full((3, 2, 2), 255, np.uint8)
    masks[1, 0, 0] = 0
    monkeypatch.setattr(run_labels, "read_labelled", lambda *arguments: with_masks(masks))
    assert read_probed(config) is None
    assert told[-1].startswith("train | data.labelled: 1 image of 3 with pixels that are not ign")


def test_features_that_the_network_lacks_are_refused(config) -> None:
    check_places(config)
    fit = config.fit.model_copy(update={"blocks": (9,), "timesteps": (5000,)})
    with pytest.raises(UserError) as refused:
        check_places(config.model_copy(update={"fit": fit}))
    assert len(refused.value.problems) == 2 and "fit.blocks: 9" in str(refused.value)


@pytest.mark.parametrize(
    ("best", "last", "words"),
    [
        (
            (60, 62),
            (40, 41),
            "step 3 tells labels better than the last, 9: mean IoU 0.610 to 0.405",
        ),
        ((60, 20), (40, 41), "the last step, 9, tells labels as well as step 3: mean IoU 0.405"),
    ],
)
def test_the_end_tells_whether_the_best_step_is_better_than_the_last_by_more_than_chance(
    config, labelled, scores, told, best, last, words
) -> None:
    scores(counts(50), counts(*last), counts(*best))
    LabelProbe(config, labelled, None).measure(at_step(config, 3))
    state = at_step(config, 9)
    write_model(config, state)
    run_labels.tell_better(config, labelled, 9, CPU)
    assert told[-1].startswith(f"train | {words}")
    assert "where chance makes differences of 0." in told[-1] and best_url(config) in told[-1]
    taken = f"To take it, set models.ddpm_url: {best_url(config)}"
    assert told[-1].endswith(taken) == words.startswith("step 3 tells labels better")


def test_the_end_tells_of_a_last_step_that_is_the_best(config, labelled, scores, told) -> None:
    run_labels.tell_better(config, labelled, 9, CPU)
    assert not told, "nothing was kept"
    scores(counts(50))
    LabelProbe(config, labelled, None).measure(at_step(config, 9))
    run_labels.tell_better(config, labelled, 9, CPU)
    assert told[-1] == "train | no step tells labels better than the last, 9"


def test_a_best_step_that_was_damaged_is_told_and_stops_nothing(
    config, labelled, scores, told
) -> None:
    scores(counts(50))
    LabelProbe(config, labelled, None).measure(at_step(config, 3))
    write_model(config, at_step(config, 9))
    (Path(best_url(config)) / "unet" / "config.json").unlink()
    scores(counts(40))
    run_labels.tell_better(config, labelled, 9, CPU)
    assert f"{best_url(config)}: not compared with the last step (" in told[-1]
