"""Claims about datasets whose pairs are chosen among more that are drawn."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory.calibration import Calibration
from factory.cli import main
from factory.config import Config, dump_config
from factory.data.toy import drawing
from factory.diffusion.checkpoints import load_model
from factory.errors import GenerationFailed, UserError
from factory.generation.command import generate
from factory.generation.recipe import load_models, make_plan
from factory.generation.repair import repair
from factory.labeling.heads import load_head, save_head, with_calibration
from factory.likeness.training_images import write_training_images
from factory.report import write_report
from factory.shards.quotas import quotas_of
from factory.shards.reading import read_manifest
from factory.shards.schema import Sample
from factory.shards.verification import verify
from tests import tiny
from tests.folders import contents
from tests.generation.test_labelling import samples_of
from tests.ray_processes import POOL_ACTOR

CALIBRATION = Calibration(intercept=0.9, slope=-2, error=0.1, wrong_above=None, num_images=20)
MakeConfig = Callable[..., Config]
NUM = 12


@pytest.fixture
def config(tiny_config: MakeConfig, tmp_path: Path) -> Callable[..., Config]:
    """A config of a DDPM that keeps how its training images look, and of a calibrated ensemble;
    arguments are the dataset's folder and keys of generate."""
    models = tiny.save_models(tmp_path)
    head, _ = load_head(models["ensemble_url"], load_model(models["ddpm_url"]).model_hash)
    models["ensemble_url"] = str(tmp_path / "calibrated")
    save_head(with_calibration(head, CALIBRATION), models["ensemble_url"])
    images = [drawing.draw(5, index, 16)[0] for index in range(30)]
    write_training_images(models["ddpm_url"], images, len(images))

    def make(folder: str = "dataset", **keys: Any) -> Config:
        settings = {"num": NUM, "samples_per_shard": 4, "workers": "here", **keys}
        return tiny_config(models=models, generate={**settings, "url": str(tmp_path / folder)})

    return make


@pytest.fixture
def everything(config) -> list[Sample]:
    """The pairs of the dataset from which nothing is left out."""
    made = config("everything")
    generate(made)
    return samples_of(made.generate.url)


@pytest.fixture
def rules(everything: list[Sample]) -> dict[str, Any]:
    """Keys of generate by which some of these pairs are chosen, and some of others."""
    distances = sorted(each.nearest_training_distance or 0 for each in everything)
    ious = sorted(each.expected_iou or 0 for each in everything)
    return {
        "min_training_distance": (distances[2] + distances[3]) / 2,
        "select": {
            "min_expected_iou": (ious[3] + ious[4]) / 2,
            "keep": 0.6,
            "at_least": {rare_class(everything): 5},
        },
    }


def rare_class(samples: list[Sample]) -> str:
    """A class that some of the samples show, and not all."""
    names = tiny_names()
    shown = {name: sum(i in each.labels for each in samples) for i, name in enumerate(names)}
    return min((num, name) for name, num in shown.items() if num)[1]


def tiny_names() -> tuple[str, ...]:
    from factory.data.toy.faces import CLASSES

    return CLASSES


def data(config: Config) -> dict[str, bytes]:
    """The shards."""
    return contents(Path(config.generate.url) / "data")


def drawn_of(config: Config) -> list[Any]:
    return [receipt.drawn for receipt in read_manifest(config.generate.url).receipts]


@pytest.mark.slow
def test_pairs_are_what_the_rules_say_and_receipts_tell_the_rest(config, rules) -> None:
    made = config(**rules)
    generate(made)
    select, samples = rules["select"], samples_of(made.generate.url)
    assert len(samples) == NUM
    for sample in samples:
        assert (sample.nearest_training_distance or 0) >= rules["min_training_distance"]
        assert (sample.expected_iou or 0) >= select["min_expected_iou"] - 1e-6
    ((name, num),) = select["at_least"].items()
    assert sum(tiny_names().index(name) in sample.labels for sample in samples) >= num
    told = drawn_of(made)
    assert all(each.drawn >= 7 for each in told)  # of 4 pairs of 0.6 of what is drawn
    for each in told:
        left = each.not_finite + each.near_copies + each.uncertain + each.not_chosen
        assert each.drawn == 4 + left
    assert sum(each.near_copies for each in told) > 0 and sum(each.uncertain for each in told) > 0
    assert verify(made.generate.url, "decode").findings == []
    page = Path(write_report(made.generate.url)).read_text()
    assert "Drawn and left out" in page
    assert "drawn and left out" in (Path(made.generate.url) / "README.md").read_text()


@pytest.mark.slow
def test_near_copies_alone_are_replaced_and_all_other_pairs_stay(config, everything, rules) -> None:
    least = rules["min_training_distance"]
    made = config(min_training_distance=least)
    generate(made)
    near = {each.key for each in everything if (each.nearest_training_distance or 0) < least}
    assert len(near) == 3
    for before, after in zip(everything, samples_of(made.generate.url), strict=True):
        assert before.key == after.key
        assert (before.seed == after.seed) == (before.key not in near)
        assert (before.image == after.image).all() == (before.key not in near)
    assert sum(each.near_copies for each in drawn_of(made)) >= 3


@pytest.mark.slow
def test_without_rules_nothing_is_what_it_was_not(config) -> None:
    plain = make_plan(config(), load_models(config()))
    same = make_plan(config(select={}, max_draws=3), load_models(config()))
    assert plain == same and "choice" not in plain.recipe


@pytest.mark.slow
def test_the_bounds_of_a_plan_are_part_of_it_and_the_number_of_draws_is_not(config) -> None:
    models = load_models(config())
    plans = [
        make_plan(config(**keys), models)
        for keys in (
            {},
            {"select": {"keep": 0.5}},
            {"select": {"keep": 0.4}},
            {"min_training_distance": "unusual"},
            {"select": {"at_least": {"skin": 3}}},
        )
    ]
    assert len({plan.run_id for plan in plans}) == len(plans)
    training = models.training_images
    assert training is not None and plans[3].choice is not None
    assert 0.5 < (plans[3].choice.min_distance or 0) < 1
    more = make_plan(config(select={"keep": 0.5}, max_draws=20), models)
    assert more == plans[1]


HERE = """
import sys
from factory.config import load_config
from factory.generation.command import generate
generate(load_config(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(config, rules, tmp_path: Path) -> None:
    whole = config("whole", **rules)
    generate(whole)
    made = config(**rules)
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(made))
    run = subprocess.Popen([sys.executable, "-c", HERE, str(file)], stdout=subprocess.DEVNULL)
    receipts = Path(made.generate.url) / "_factory" / "shards"
    while run.poll() is None and not (receipts.is_dir() and any(receipts.iterdir())):
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    generate(made)
    assert data(made) == data(whole)
    assert drawn_of(made) == drawn_of(whole)


@pytest.mark.ray
def test_actors_make_the_same_bytes_whatever_their_number_and_if_one_is_killed(
    ray_session, config, rules, ray_processes
) -> None:
    whole = config("whole", **rules)
    generate(whole)
    for num, kills in ((1, False), (2, True)):
        actors = {"workers": "ray", "min_actors": num, "max_actors": num}
        made = config(f"of-{num}", **rules, **actors)
        receipts = Path(made.generate.url) / "_factory" / "shards"

        def kill_one(receipts: Path = receipts) -> None:
            while not (receipts.is_dir() and any(receipts.iterdir())):
                time.sleep(0.01)
            for worker in ray_processes(POOL_ACTOR)[:1]:
                worker.send_signal(signal.SIGKILL)

        killer = threading.Thread(target=kill_one if kills else lambda: None)
        killer.start()
        generate(made)
        killer.join()
        assert data(made) == data(whole)
        assert drawn_of(made) == drawn_of(whole)


@pytest.mark.slow
def test_a_damaged_shard_is_chosen_again_and_an_extension_keeps_its_shards(config, rules) -> None:
    made = config(**rules)
    generate(made)
    url = Path(made.generate.url)
    before = contents(url)
    shard = next((url / "data").iterdir())
    shard.write_bytes(shard.read_bytes()[:-50])
    repair(str(url), "decode")
    assert contents(url) == before
    larger = config(**{**rules, "num": NUM + 6}, extend=True)
    generate(larger)
    assert {name: data(larger)[name] for name in data(made)} == data(made)
    plan = read_manifest(str(url)).plan
    assert sum(sum(quotas_of(plan, spec).values()) for spec in plan.shards()) == 7  # 5 of 12 rows
    assert verify(str(url), "decode").findings == []


@pytest.mark.slow
def test_a_quota_that_cannot_be_met_says_so_and_more_draws_go_on(
    config, everything, capsys: pytest.CaptureFixture[str]
) -> None:
    name = rare_class(everything)
    made = config(select={"at_least": {name: NUM}}, max_draws=1, max_failed_shards=0)
    with pytest.raises(GenerationFailed, match=rf"show {name}, of .*Raise generate\.max_draws"):
        generate(made)
    for command in ("status", "verify"):
        assert main([command, made.generate.url]) == 3
        assert "too few draws were fit with a larger generate.max_draws" in capsys.readouterr().out
    generate(config(select={"at_least": {name: NUM}}, max_draws=1000))
    samples = samples_of(made.generate.url)
    assert all(tiny_names().index(name) in sample.labels for sample in samples)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"select": {"at_least": {"hatt": 2}}}, "select.at_least: 'hatt' is no class"),
        ({"select": {"at_least": {"skin": 9, "hair": 4}}}, "asks for 13 pairs together"),
        ({"select": {"keep": 0.05}}, "select.keep: 0.05 needs more than generate.max_draws = 10"),
        ({"select": {"min_expected_iou": 0.95}}, "0.95 is more than the 0.9 that is expected"),
    ],
)
def test_what_can_never_be_met_is_refused_before_anything_starts(config, keys, told: str) -> None:
    made = config(**keys)
    with pytest.raises(UserError) as refused:
        generate(made)
    assert told in str(refused.value)
    assert not Path(made.generate.url).exists()


def test_what_the_models_do_not_know_is_refused(tiny_config: MakeConfig) -> None:
    made = tiny_config(
        generate={"min_training_distance": "unusual", "select": {"min_expected_iou": 0.5}}
    )
    with pytest.raises(UserError) as refused:
        make_plan(made, load_models(made))
    first, second = refused.value.problems
    assert "min_training_distance: nothing is known of the images" in first
    assert "factory fingerprint" in first
    assert "select.min_expected_iou: the ensemble does not know" in second


@pytest.mark.parametrize(
    "setting",
    ["select.keep=1", "select.min_expected_iou=80", "select.at_least={hat: 0}", "max_draws=0"],
)
def test_settings_out_of_range_end_with_code_2(setting: str, capsys) -> None:
    assert main(["generate", "--dry-run", "--set", f"generate.{setting}"]) == 2
    assert f"generate.{setting.partition('=')[0]}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_repair_draws_as_many_as_were_needed_whatever_bound_the_dataset_was_begun_with(
    config, everything
) -> None:
    select = {"at_least": {rare_class(everything): NUM}}
    made = config(select=select, max_draws=1, max_failed_shards=0)
    with pytest.raises(GenerationFailed):
        generate(made)
    generate(config(select=select, max_draws=1000))
    url = Path(made.generate.url)
    before = contents(url)
    shard = next((url / "data").iterdir())
    shard.write_bytes(shard.read_bytes()[:-50])
    assert repair(str(url)).findings == []
    assert contents(url) == before


def test_the_embedded_ddpm_is_to_be_copied_before_its_images_are_looked_at(
    tiny_config: MakeConfig,
) -> None:
    toy = {"ddpm_url": "toy", "ensemble_url": "toy"}
    made = tiny_config(models=toy, generate={"min_training_distance": "unusual"})
    with pytest.raises(UserError, match=r"copy .*toy.*run `factory fingerprint` with the copy"):
        make_plan(made, load_models(made))
