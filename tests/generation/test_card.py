"""Claims about the card of a dataset that was generated."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.cli import main
from factory.config import Config, parse_config
from factory.generation import command
from factory.generation.recipe import load_models, make_plan
from factory.shards.reading import read_manifest


@pytest.mark.slow
def test_the_command_of_the_card_makes_the_same_pairs_again(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"workers": "here", "num": 5, "batch_size": 3, "precision": "bf16"}
    config = tiny_config(generate=keys)
    made = command.generate(config)
    card = Path(config.generate.url, "README.md").read_text()
    (line,) = re.findall(r"^factory generate .*$", card, re.M)
    monkeypatch.chdir(config.generate.url)
    again = str(tmp_path / "again")
    assert main(shlex.split(line.replace("ANOTHER_FOLDER", again))[1:]) == 0
    assert read_manifest(again).root == made.root


def test_the_name_of_the_masks_column_is_part_of_a_plan_only_where_it_is_another(
    tiny_config: Callable[..., Config],
) -> None:
    models = load_models(tiny_config())
    usual = make_plan(tiny_config(generate={"mask_column": "mask"}), models)
    assert usual == make_plan(tiny_config(), models) and "mask_column" not in usual.recipe
    other = make_plan(tiny_config(generate={"mask_column": "label"}), models)
    assert other.recipe == {**usual.recipe, "mask_column": "label"}
    assert [column.name for column in other.columns][1:3] == ["image", "label"]


@pytest.mark.parametrize(
    ("unlabelled", "ddpm_url", "told"),
    [
        ({"kind": "toy", "num": 9}, "toy", "a DDPM of drawn faces,"),
        ({"kind": "folder", "url": "/my/photos"}, "/run/model", "a DDPM of photos,"),
        ({"kind": "folder", "url": "/my/photos"}, "toy", "the DDPM toy,"),
        ({"kind": "folder", "url": "/my/photos"}, "/another/one", "the DDPM one,"),
        (None, "/run/model", "the DDPM model,"),
    ],
)
def test_a_card_says_what_a_ddpm_learned_from_only_where_its_own_training_is_told(
    tiny_config: Callable[..., Config], unlabelled: object, ddpm_url: str, told: str
) -> None:
    plan = make_plan(tiny_config(), load_models(tiny_config()))
    config = parse_config(
        {
            "data": {"unlabelled": unlabelled, "image_size": 16},
            "train": {"url": "/run"},
            "models": {"ddpm_url": ddpm_url},
        }
    )
    assert f"sampled from {told}" in command._description(config, plan)
