"""Claims about datasets whose samples tell how near they are to an image that the DDPM learned
from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from factory.config import Config, load_config
from factory.data.toy import drawing
from factory.errors import DamagedShard, UserError
from factory.generation.command import generate
from factory.generation.recipe import load_models, make_plan
from factory.generation.repair import repair
from factory.images import to_signed
from factory.likeness.training_images import (
    FILE,
    TrainingImages,
    read_training_images,
    write_training_images,
)
from factory.report import write_report
from factory.shards.choice import Choice
from factory.shards.columns import NEAREST_COLUMNS
from factory.shards.reading import read_manifest
from factory.shards.receipts import closest_of
from factory.shards.schema import Sample, check_choice
from factory.shards.verification import verify
from tests import tiny
from tests.folders import contents
from tests.generation.test_labelling import samples_of

MakeConfig = Callable[..., Config]
NUM_TRAINING = 30


@pytest.fixture
def ddpm_url(tmp_path: Path) -> str:
    """The folder of a tiny DDPM that keeps how 30 images look."""
    return tiny.save_models(tmp_path)["ddpm_url"]


@pytest.fixture
def config(tiny_config: MakeConfig, tmp_path: Path, ddpm_url: str) -> Callable[..., Config]:
    images = [drawing.draw(5, index, 16)[0] for index in range(NUM_TRAINING)]
    write_training_images(ddpm_url, images, NUM_TRAINING)
    models = {"ddpm_url": ddpm_url, "ensemble_url": str(tmp_path / "ensemble")}

    def make(**keys: Any) -> Config:
        settings = {"num": 10, "samples_per_shard": 4, "workers": "here", **keys}
        return tiny_config(models=models, generate=settings)

    return make


def training(config: Config) -> TrainingImages:
    found = read_training_images(str(config.models.ddpm_url))
    assert found is not None
    return found


def distances(config: Config) -> list[float]:
    return [float(each.nearest_training_distance or 0) for each in samples_of(config.generate.url)]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_each_pair_tells_how_near_it_is_to_which_training_image(config, format: str) -> None:
    made = config(format=format)
    generate(made)
    samples = samples_of(made.generate.url)
    pixels = torch.from_numpy(np.stack([sample.image for sample in samples]))
    found = training(made).nearest(to_signed(pixels).permute(0, 3, 1, 2))
    assert [s.nearest_training_image for s in samples] == found.indices.tolist()
    told = torch.tensor([s.nearest_training_distance for s in samples])
    assert torch.allclose(told, found.distances, rtol=1e-4)
    tables = Path(made.generate.url) / ("data" if format == "parquet" else "metadata")
    names = pq.read_table(tables).column_names
    assert [name for name in names if name in NEAREST_COLUMNS] == [*NEAREST_COLUMNS]
    assert verify(made.generate.url, "decode").findings == []


@pytest.mark.slow
def test_receipts_and_the_card_tell_the_closest(config) -> None:
    made = config()
    generate(made)
    manifest = read_manifest(made.generate.url)
    by_distance = sorted(
        (s.nearest_training_distance, s.key) for s in samples_of(made.generate.url)
    )
    assert [(each.distance, each.key) for each in closest_of(manifest.receipts)] == by_distance[:8]
    card = (Path(made.generate.url) / "README.md").read_text()
    assert "| `nearest_training_distance` | distance of the image" in card
    closest = f"{by_distance[0][0]:.2f} of what is usual between two of these"
    assert closest in card and by_distance[0][1] in card


@pytest.mark.slow
def test_the_report_shows_the_closest_beside_the_training_images_if_it_has_them(config) -> None:
    source = {"kind": "toy", "num": NUM_TRAINING, "seed": 5}
    made = config()
    generate(made)
    closest = closest_of(read_manifest(made.generate.url).receipts)
    page = Path(write_report(made.generate.url)).read_text()
    assert "Closest to a training image" in page and "With --config FILE" in page
    assert f"training image {closest[0].training_image}" in page
    toy = load_config(None, [("data.unlabelled", source), ("data.labelled", None)])
    beside = Path(write_report(made.generate.url, config=toy)).read_text()
    assert "right the training image that is nearest" in beside
    at = [beside.index(f"<code>{each.key}<br>") for each in closest]
    assert at == sorted(at)


@pytest.mark.slow
def test_a_ddpm_that_keeps_nothing_gives_no_columns_and_says_so_once(
    config, ddpm_url: str, capsys
) -> None:
    made = config()
    (Path(ddpm_url) / FILE).unlink()
    generate(made)
    assert capsys.readouterr().out.count("pairs will not tell how near they are") == 1
    assert all(s.nearest_training_distance is None for s in samples_of(made.generate.url))
    assert "training_images_sha256" not in read_manifest(made.generate.url).plan.recipe
    assert "nearest" not in (Path(made.generate.url) / "README.md").read_text()


@pytest.mark.slow
def test_a_dataset_that_was_begun_before_goes_on_without_the_columns(config, ddpm_url: str) -> None:
    made = config()
    kept = Path(ddpm_url) / FILE
    content = kept.read_bytes()
    kept.unlink()
    generate(made)
    url = Path(made.generate.url)
    before = contents(url)
    kept.write_bytes(content)
    shard = next((url / "data").iterdir())
    shard.write_bytes(shard.read_bytes()[:-50])
    repair(str(url), "decode")
    assert contents(url) == before


def test_another_file_than_the_dataset_was_begun_with_is_refused(config, ddpm_url: str) -> None:
    from factory.generation.synthesizer import Synthesizer

    made = config()
    plan = make_plan(made, load_models(made))
    write_training_images(ddpm_url, [drawing.draw(6, i, 16)[0] for i in range(12)], 12)
    with pytest.raises(UserError, match=f"{FILE} is not the one that the dataset was begun with"):
        Synthesizer(load_models(made), plan)


def test_a_sample_must_tell_its_distance_where_its_dataset_does() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    sample = Sample("a", pixels, pixels[..., 0], 0, 0.1, "abc")
    near = Sample(
        "a",
        pixels,
        pixels[..., 0],
        0,
        0.1,
        "abc",
        nearest_training_distance=0.5,
        nearest_training_image=3,
    )
    half, more = Choice(min_distance=0.5), Choice(min_distance=0.6)
    for right in ((sample, False, None), (near, True, None), (near, True, half)):
        check_choice(*right)
    for wrong in ((sample, True, None), (near, False, None), (near, True, more)):
        with pytest.raises(DamagedShard, match="nearest training image"):
            check_choice(*wrong)
