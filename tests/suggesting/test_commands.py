"""Claims about `factory suggest` and `factory adopt`: from a config to packages, and back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from factory.config import Config, load_config
from factory.data.loading import read_labelled
from factory.errors import Problems, UserError
from factory.labeling.heads import load_head
from factory.png import encode_png
from factory.suggesting import adopting, command
from factory.suggesting.corrected import read_corrected
from factory.suggesting.folder import read_suggestions
from tests.suggesting.tools import cvat_layers, label_studio_layers, submitted

FIT = {"num_members": 2, "hidden": [8, 4], "num_steps": 3, "pixels_per_step": 64}
Make = Callable[..., Config]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Images that are not square, of which the network sees the middle."""
    folder, random = tmp_path / "photographs", np.random.default_rng(0)
    (folder / "more").mkdir(parents=True)
    for i, name in enumerate(["a.png", "more/a.png", "b.png", "c.png", "d.png"]):
        pixels = random.integers(0, 255, (20, 24 + i, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture
def labelled(tmp_path: Path, photographs: Path) -> dict[str, object]:
    """Labelled images, of which the first is d.png of the photographs."""
    from factory.data.toy.faces import CLASSES

    folder, random = tmp_path / "labelled", np.random.default_rng(1)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    pictures = [np.asarray(Image.open(photographs / "d.png"))]
    pictures += [random.integers(0, 255, (16, 16, 3), np.uint8) for _ in range(2)]
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"images/{i}.png")
        mask = random.integers(0, len(CLASSES), pixels.shape[:2], np.uint8)
        (folder / f"masks/{i}.png").write_bytes(encode_png(mask))
    (folder / "classes.json").write_text(json.dumps(CLASSES))
    return {"kind": "pairs", "url": str(folder), "classes_url": str(folder / "classes.json")}


@pytest.fixture
def make(tiny_config: Make, photographs: Path, labelled: dict[str, object], tmp_path: Path) -> Make:
    def config(
        test: object = None, masks: str | None = None, out: str = "adopted", **settings: object
    ) -> Config:
        return tiny_config(
            data={
                "image_size": 16,
                "unlabelled": {"kind": "folder", "url": str(photographs)},
                "labelled": labelled,
                "test": test,
            },
            fit=FIT,
            suggest={"url": str(tmp_path / "suggested"), "num": 3, **settings},
            adopt={"url": str(tmp_path / out), "masks": masks, "num_folds": 2},
        )

    return config


@pytest.fixture
def suggested(make: Make, tmp_path: Path) -> Path:
    """A folder of suggestions."""
    command.suggest(make())
    return tmp_path / "suggested"


def pixels_of(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file))


def test_suggestions_are_the_images_themselves_with_masks_that_both_tools_show(
    suggested: Path, photographs: Path, make: Make, tmp_path: Path
) -> None:
    found = read_suggestions(str(suggested))
    assert len(found.suggestions) == 3 and found.num_candidates == 4, "d.png is labelled already"
    names = [each.name for each in found.suggestions]
    assert "d.png" not in names
    shown = cvat_layers((suggested / "cvat/annotations.zip").read_bytes())
    tasks = (suggested / "label_studio/tasks.json").read_bytes()
    interface = (suggested / "label_studio/interface.xml").read_bytes()
    painted = label_studio_layers(tasks, interface)
    labels = [each["name"] for each in json.loads((suggested / "cvat/labels.json").read_text())]
    for each in found.suggestions:
        image, mask = pixels_of(suggested / each.image), pixels_of(suggested / each.mask)
        assert np.array_equal(image, pixels_of(photographs / each.name))
        assert mask.shape == image.shape[:2] and (mask[:, 0] == 255).all(), "the middle is seen"
        for layers in (shown[Path(each.image).name], painted[Path(each.image).name]):
            read = np.zeros_like(mask)
            for label, pixels in layers:
                read[pixels] = 255 if label == "ignored" else labels.index(label)
            assert np.array_equal(read, mask)
    assert (suggested / "sheet.png").is_file()
    command.suggest(make(url=str(tmp_path / "again")))
    files = [file.relative_to(suggested) for file in suggested.rglob("*.*") if file.is_file()]
    again = tmp_path / "again"
    assert all((again / file).read_bytes() == (suggested / file).read_bytes() for file in files)


def test_the_images_of_a_finished_dataset_are_candidates(
    make: Make, tmp_path: Path, tiny_config: Make
) -> None:
    from factory.generation.command import generate

    generate(tiny_config(generate={"num": 5, "workers": "here"}))
    source = {"kind": "folder", "url": str(tmp_path / "dataset")}
    command.suggest(make(source=source, num=2, max_candidates=3))
    found = read_suggestions(str(tmp_path / "suggested"))
    assert {each.name for each in found.suggestions} < {"000000000", "000000001", "000000003"}


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_written(
    make: Make, suggested: Path, photographs: Path, tmp_path: Path
) -> None:
    before = {file: file.read_bytes() for file in suggested.rglob("*.*") if file.is_file()}
    broken = {"kind": "toy", "num": 2, "seed": 2}
    with pytest.raises(UserError) as error:
        command.suggest(make(num=9, test=broken))
    assert [line.partition(":")[0] for line in error.value.problems] == [
        "suggest.num",
        str(suggested),
    ]
    assert before == {file: file.read_bytes() for file in suggested.rglob("*.*") if file.is_file()}
    (photographs / "c.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"c\.png"):
        command.suggest(make(url=str(tmp_path / "new")))
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_corrected_masks_come_back_to_the_bit_and_tell_what_changed_and_what_they_teach(
    suggested: Path, make: Make, tmp_path: Path, tiny_models: dict[str, str]
) -> None:
    tasks = json.loads((suggested / "label_studio/tasks.json").read_bytes())
    first, skipped, changed = tasks
    skipped["annotations"] = []
    exported = json.loads(submitted(json.dumps([first, changed]).encode()))
    wanted = {name: pixels_of(suggested / "masks" / name).copy() for name in names_of(exported)}
    name = changed["data"]["name"]
    value = exported[1]["annotations"][0]["result"][0]["value"]
    moved, to = value["brushlabels"][0], "hat"
    value["brushlabels"] = [to]
    ids = {label: i for i, label in enumerate(read_suggestions(str(suggested)).class_names)}
    wanted[name][wanted[name] == {**ids, "ignored": 255}[moved]] = ids[to]
    export = tmp_path / "export.json"
    export.write_text(json.dumps([*exported, skipped]))

    lines = adopting.adopt(make(masks=str(export)))
    adopted = tmp_path / "adopted"
    for file, mask in wanted.items():
        assert np.array_equal(pixels_of(adopted / "masks" / file), mask)
        assert np.array_equal(
            pixels_of(adopted / "images" / file), pixels_of(suggested / "images" / file)
        )
    told = json.loads((adopted / "changes.json").read_text())
    num = int((wanted[name] != pixels_of(suggested / "masks" / name)).sum())
    assert [each["num_changed"] for each in told["images"]] == [0, num] and num > 0
    assert list(told["images"][1]["changes"]) == [f"{moved} -> {to}"]
    assert f"{name.removesuffix('.png')}: {num:,} of" in lines[1]
    assert "2 masks came back, 1 as it was, 1 did not" in lines[2]
    assert "on all 5 labelled images, in 2 parts" in lines[-2] and " -> " in lines[-2]
    assert told["gain"]["where"].startswith("all 5")

    config = load_config(str(adopted / "adopted.yaml"))
    assert config.data.labelled is not None and config.models.ensemble_url is not None
    again = read_labelled(config.data.labelled, 16)
    assert len(again) == 5 and again.classes.names == tuple(ids)
    load_head(config.models.ensemble_url, read_suggestions(str(suggested)).ddpm_hash)
    (tmp_path / "labelled").rename(tmp_path / "gone")
    again_suggested = command.suggest(
        config.model_copy(update={"suggest": config.suggest.model_copy(update={"num": 1})})
    )
    assert again_suggested[-1] == str(adopted / "suggestions")


def names_of(exported: list[dict[str, Any]]) -> list[str]:
    return [each["data"]["name"] for each in exported]


@pytest.mark.slow
def test_cvats_export_and_png_files_give_the_same_pairs_and_the_gain_is_that_on_the_test_images(
    suggested: Path, make: Make, tmp_path: Path
) -> None:
    test = {"kind": "toy", "num": 3, "seed": 3}
    cvat, pngs = suggested / "cvat/annotations.zip", tmp_path / "corrected"
    pngs.mkdir()
    for file in (suggested / "masks").iterdir():
        (pngs / file.name).write_bytes(file.read_bytes())
    of_cvat = adopting.adopt(make(test, str(cvat), "one"))
    of_pngs = adopting.adopt(make(test, str(pngs), "other"))
    assert of_cvat[:-1] == of_pngs[:-1] and "on 3 images of data.test" in of_cvat[-2]
    one, other = tmp_path / "one", tmp_path / "other"
    files = [file.relative_to(one) for file in one.rglob("*.png")]
    assert len(files) == 12
    assert all((one / file).read_bytes() == (other / file).read_bytes() for file in files)


def test_what_came_back_wrong_is_told_at_once_and_nothing_is_written(
    suggested: Path, make: Make, tmp_path: Path
) -> None:
    entries = read_suggestions(str(suggested)).suggestions
    stems = [each.stem for each in entries]
    region = 'z_order="0" rle="0, 1" left="0" top="0" width="1" height="1"/>'
    size = f'width="{entries[0].width}" height="20"'
    images = [
        f'<image name="{stems[0]}.png" {size}><mask label="moon" {region}</image>',
        f'<image name="{stems[0]}.png" {size}><box label="hat"/></image>',
        f'<image name="{stems[1]}.png" width="5" height="5"><mask label="hat" {region}</image>',
        f'<image name="other.png" {size}><mask label="hat" {region}</image>',
        f'<image name="{stems[0]}.png" {size}><mask label="hat" z_order="0" rle="7" left="0" '
        'top="0" width="2" height="2"/></image>',
    ]
    export = tmp_path / "export.xml"
    export.write_text(f"<annotations>{''.join(images)}</annotations>")
    (suggested / "masks" / Path(entries[2].mask).name).write_bytes(b"")
    (tmp_path / "adopted").mkdir()
    (tmp_path / "adopted/mine.txt").write_text("kept")
    with pytest.raises(UserError) as error:
        adopting.check(make(masks=str(export)))
    text = "\n".join(error.value.problems)
    for part in ("moon", "box", "5x5 pixels there", "other.png is none", "do not fill", "mine.txt"):
        assert part in text
    assert (tmp_path / "adopted/mine.txt").read_text() == "kept"
    png = suggested / "masks" / Path(entries[0].mask).name
    png.write_bytes(encode_png(np.zeros((20, entries[0].width), np.uint8)))
    with pytest.raises(UserError, match="is not as it was suggested"):
        adopting.check(make(masks=str(suggested / "cvat/annotations.zip"), out="new"))


OTHERS = [
    ("a.xml", "<a", "is no XML"),
    ("b.xml", "<a/>", "is no XML of CVAT"),
    ("c.xml", "<annotations><track/></annotations>", "has tracks"),
    ("d.json", "[", "is no JSON"),
    ("e.json", '[{"image": "a"}]', "is no list of tasks with annotations"),
    ("f.json", "[]", "holds no mask"),
    ("masks/labelmap.txt", "", "CVAT's export of coloured masks"),
]


def test_an_export_of_another_kind_is_refused_with_what_to_export(
    suggested: Path, tmp_path: Path
) -> None:
    (tmp_path / "masks").mkdir()
    found = read_suggestions(str(suggested))
    sizes = {each.stem: (each.width, each.height) for each in found.suggestions}
    for name, content, said in OTHERS:
        (tmp_path / name).write_text(content)
        url, problems = str(tmp_path / name.partition("/")[0]), Problems()
        with pytest.raises(UserError, match=said):
            read_corrected(url, sizes, found.classes, problems)
            problems.raise_if_any()
    with pytest.raises(UserError, match="is not there"):
        read_corrected(str(tmp_path / "nowhere"), sizes, found.classes, Problems())
