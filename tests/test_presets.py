"""Claims about factory.config.presets and factory.config.recipes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from factory.config import load_config, parse_config
from factory.config.presets import PRESETS, preset_table
from factory.config.recipes import recipe_file
from factory.diffusion.families.unet2d import UNet
from factory.errors import UserError

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_the_parameters_that_its_table_says(name: str) -> None:
    with torch.device("meta"):
        unet = UNet(parse_config({"preset": name}).train.unet)
    assert sum(each.numel() for each in unet.parameters()) == PRESETS[name].num_parameters


def test_times_are_told_in_the_largest_unit_that_is_of_use() -> None:
    row = replace(PRESETS["64px"], core_seconds=60.0)
    told = {1: "1 minute", 179: "179 minutes", 180: "3 hours", 5999: "100 hours", 6000: "4 days"}
    assert {num_steps: row.core_time(num_steps) for num_steps in told} == told
    assert PRESETS["toy"].core_time(3000) in preset_table()[1]


def test_the_page_on_how_long_has_the_same_times() -> None:
    page = (ROOT / "docs" / "how-to" / "first-config.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    times = {row[0].strip("`"): row for row in rows if row[0].strip("`") in PRESETS}
    assert list(times) == list(PRESETS)
    for name, preset in PRESETS.items():
        _, _, step, rate, steps, whole = times[name]
        assert step == f"{preset.core_seconds:g} s"
        assert float(rate) == pytest.approx(preset.batch_size / preset.core_seconds, rel=0.05)
        assert steps == f"{preset.num_steps:,}"
        assert whole == preset.core_time(preset.num_steps)


def test_the_table_has_a_line_for_every_preset() -> None:
    heading, *lines = preset_table()
    assert [line.split()[0] for line in lines] == list(PRESETS)
    assert "parameters" in heading and max(map(len, lines)) <= 120


def test_the_recipes_that_ship_are_the_configs_of_the_repository() -> None:
    files = sorted((ROOT / "configs").glob("*.yaml"))
    assert len(files) >= 4
    for file in files:
        assert Path(recipe_file(file.stem)).samefile(file)


def test_a_recipe_is_read_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(recipe_file("demo"))
    assert config.train.initial_model_url == "toy"
    assert config.train.url == str(tmp_path / "out/demo/ddpm")


@pytest.mark.parametrize("name", ["", "faces63", "../demo", "demo.yaml"])
def test_a_recipe_that_there_is_not_is_refused_with_all_that_there_are(name: str) -> None:
    with pytest.raises(UserError) as refused:
        recipe_file(name)
    recipes = ["demo", "faces64", "faces64-gpu", "toy32", "toy64"]
    first, *lines = str(refused.value).splitlines()
    assert first.startswith("--recipe: ") and name in first
    assert [line.split()[0] for line in lines] == recipes
    assert all(line.rstrip().endswith((".", "`.")) for line in lines), "each says what it is for"


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda f: f.name)
def test_a_recipe_says_what_it_is_for_costs_and_reaches(file: Path) -> None:
    header = [line for line in file.read_text().splitlines() if line.startswith("# ")]
    for word in ("For:", "Costs:", "Reaches:"):
        assert any(line.startswith(f"# {word}") for line in header), word
