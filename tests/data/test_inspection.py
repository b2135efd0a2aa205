"""Claims about factory.data.inspection: what is said of a source, and what must not overlap."""

import importlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image, ImageCms

from factory.classes import Classes
from factory.config import load_config
from factory.data import inspection, passes
from factory.data.kinds.folder import FolderSource
from factory.data.kinds.pairs import PairsSource
from factory.data.kinds.toy import ToySource
from factory.data.loading import Labelled
from factory.errors import UserError
from factory.images import UInt8
from factory.png import encode_png
from tests.sources import ROOT

CLASSES = Classes.named(["background", "thing", "rare"])


def flat(value: int, height: int = 8, width: int = 8) -> UInt8:
    return np.full((height, width, 3), value, np.uint8)


def striped(value: int) -> UInt8:
    """An image that is not blank, another one for each value."""
    image = flat(value)
    image[::2] += 100
    return image


def labelled(*values: int) -> Labelled:
    """Striped images of these values, the left half class 1."""
    masks = np.zeros((len(values), 8, 8), np.uint8)
    masks[:, :, :4] = 1
    names = tuple(f"{value}.png" for value in values)
    return Labelled(np.stack([striped(value) for value in values]), masks, names, CLASSES)


@pytest.fixture
def source(tmp_path: Path) -> PairsSource:
    """Two pairs, one of them oblong; a quarter of the first is ignored."""
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    (tmp_path / "classes.json").write_text('["background", "thing", "rare"]')
    (tmp_path / "images/a.png").write_bytes(encode_png(flat(1)))
    (tmp_path / "images/b.png").write_bytes(encode_png(flat(2, 8, 12)[..., 0]))
    mask = np.zeros((8, 8), np.uint8)
    mask[:, :4] = 1
    mask[:, 6:] = 255
    (tmp_path / "masks/a.png").write_bytes(encode_png(mask))
    (tmp_path / "masks/b.png").write_bytes(encode_png(np.zeros((8, 12), np.uint8)))
    return PairsSource(url=str(tmp_path), classes_url=str(tmp_path / "classes.json"))


def test_a_source_is_counted_as_it_is_stored(source: PairsSource) -> None:
    found = inspection.inspect(source, 8, labelled=True)
    assert found.num_images == 2 and not found.problems
    assert found.sizes == {(8, 8): 1, (12, 8): 1}
    assert found.modes == {"RGB": 1, "L": 1} and found.formats == {"PNG": 2}


def test_lists_that_a_source_reads_are_not_told_as_left_aside(source: PairsSource) -> None:
    lists = Path(source.url) / "lists.json"
    lists.write_text('{"train": ["a.png"]}')
    assert inspection.inspect(source, 8, labelled=True).unread == "1 .json"
    listed = source.model_copy(update={"names_url": str(lists), "names_key": "train"})
    assert inspection.inspect(listed, 8, labelled=True).unread == ""


def test_class_shares_leave_out_ignored_pixels(source: PairsSource) -> None:
    found = inspection.inspect(source, 8, labelled=True)
    assert found.image_counts == {"background": 2, "thing": 1, "rare": 0}
    assert found.pixel_shares["thing"] == pytest.approx(32 / (64 + 48))
    assert sum(found.pixel_shares.values()) == pytest.approx(1)


def test_what_is_odd_is_noted(source: PairsSource) -> None:
    notes = " ".join(inspection.inspect(source, 16, labelled=True).notes)
    for part in ("class rare never occurs", "1 image of mode L", "2 images smaller than 16",
                 "1 oblong image", "12.50% of the pixels are ignored"):  # fmt: skip
        assert part in notes
    assert "thing" not in notes and "same pixels" not in notes


def test_repeated_and_missing_images_are_noted(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(encode_png(striped(1)))
    notes = inspection.inspect(FolderSource(url=str(tmp_path), num=5), 8, False).notes
    assert notes == (
        "3 images, fewer than num: 5.",
        "2 images with the same pixels as another one.",
    )


def test_blank_images_are_told_as_such_and_not_as_repeated_ones(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(encode_png(flat(250)))
    found = inspection.inspect(FolderSource(url=str(tmp_path)), 8, False)
    told = "3 images are of one colour, and not compared with others (a.png, b.png, c.png)."
    assert found.notes == (told,)
    assert inspection.between({"labelled": found, "test": found}) == ([], [])


def test_colour_conversions_are_noted(tmp_path: Path) -> None:
    for mode in ("CMYK", "RGBA"):
        buffer = io.BytesIO()
        Image.new(mode, (8, 8)).save(buffer, "JPEG" if mode == "CMYK" else "PNG")
        (tmp_path / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}").write_bytes(buffer.getvalue())
    notes = inspection.inspect(FolderSource(url=str(tmp_path)), 8, False).notes
    assert any("CMYK" in note for note in notes)
    assert any("RGBA: transparent" in note for note in notes)


@pytest.mark.parametrize("num", [2, 4])
def test_bands_that_are_not_read_are_noted(tmp_path: Path, num: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, num), np.uint8)
    more = {"photometric": "rgb" if num == 4 else "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "0.tif", pixels, extrasamples=["unspecified"], **more)
    Image.new("RGBA", (8, 8)).save(tmp_path / "1.tif")
    notes = inspection.inspect(FolderSource(url=str(tmp_path)), 8, False).notes
    assert any(note.startswith("1 image with further bands") for note in notes)


def test_colour_profiles_that_are_not_applied_are_noted(tmp_path: Path) -> None:
    profiles = {name: ImageCms.createProfile(name) for name in ("sRGB", "LAB")}
    for name, profile in profiles.items():
        data = ImageCms.ImageCmsProfile(profile).tobytes()
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png", icc_profile=data)
    Image.new("RGB", (8, 8)).save(tmp_path / "none.png")
    notes = inspection.inspect(FolderSource(url=str(tmp_path)), 8, False).notes
    assert any("1 image with a colour profile other than sRGB" in note for note in notes)


def test_16_bits_that_are_not_used_to_the_full_are_told_as_dark(tmp_path: Path) -> None:
    for name, top in (("a", 2**14 - 1), ("b", 2**16 - 1)):
        levels = np.linspace(0, top, 64).astype(np.uint16).reshape(8, 8)
        Image.fromarray(levels).save(tmp_path / f"{name}.png")
    notes = inspection.inspect(FolderSource(url=str(tmp_path)), 8, False).notes
    assert any("1 dark image of more than 8 bits" in n and "64 of 255" in n for n in notes)


def test_bad_files_are_reported_and_the_good_ones_still_counted(source: PairsSource) -> None:
    Path(f"{source.url}/images/b.png").write_bytes(b"<html>")
    found = inspection.inspect(source, 8, labelled=True)
    assert found.num_images == 1 and found.sizes == {(8, 8): 1}
    (problem,) = found.problems
    assert problem.startswith(f"{source.url}/images/b.png: not a PNG")
    assert f"problem: {problem}" in inspection.lines(found)


def test_a_source_that_is_not_there_is_reported_not_raised(tmp_path: Path) -> None:
    found = inspection.inspect(FolderSource(url=str(tmp_path / "nope")), 8, False)
    assert found.num_images == 0 and len(found.problems) == 1
    assert inspection.lines(found)[0] == "images   0"


def test_masks_of_a_source_without_readable_classes_are_still_checked(source: PairsSource) -> None:
    assert source.classes_url is not None
    Path(source.classes_url).unlink()
    Path(f"{source.url}/masks/b.png").write_bytes(b"")
    found = inspection.inspect(source, 8, labelled=True)
    assert [problem.split(": ")[0] for problem in found.problems] == [
        source.classes_url, f"{source.url}/masks/b.png"
    ]  # fmt: skip
    assert found.pixel_shares == {}


def test_lines_tell_counts_classes_and_notes(source: PairsSource) -> None:
    text = "\n".join(inspection.lines(inspection.inspect(source, 8, labelled=True)))
    assert "sizes    8x8: 1, 12x8: 1" in text
    assert "28.57% of pixels, in 1 image" in text
    assert "note: class rare never occurs." in text


def test_drawings_need_no_files() -> None:
    found = inspection.inspect(ToySource(num=3), 16, labelled=True)
    assert found.sizes == {(16, 16): 3} and not found.problems
    assert found.image_counts["background"] == 3


def test_sets_without_a_common_image_are_disjoint() -> None:
    inspection.check_disjoint(labelled(1, 2), labelled(3))


def test_a_test_image_among_the_training_images_is_named() -> None:
    train, test = labelled(1, 2), labelled(3, 2)
    renamed = Labelled(test.images, test.masks, ("x.png", "y.png"), CLASSES)
    with pytest.raises(
        UserError,
        match=r"data.test: 1 of its 2 images are images of data.labelled, too \(y.png as 2.png\)",
    ) as refusal:
        inspection.check_disjoint(train, renamed)
    assert len(refusal.value.problems) == 1


def test_a_blank_tile_may_be_in_both_sets() -> None:
    both = labelled(1)
    blank = Labelled(np.full_like(both.images, 255), both.masks, both.names, CLASSES)
    inspection.check_disjoint(blank, blank)


def test_what_sections_share_is_told_by_name(tmp_path: Path) -> None:
    def inspected(name: str, *values: int) -> inspection.Inspection:
        (tmp_path / name).mkdir()
        for value in values:
            (tmp_path / name / f"{name}{value}.png").write_bytes(encode_png(striped(value)))
        return inspection.inspect(FolderSource(url=str(tmp_path / name)), 8, False)

    found = {"unlabelled": inspected("u", 3, 4), "labelled": inspected("l", 1, 2)}
    assert inspection.between(found) == ([], [])
    found["test"] = inspected("t", 2, 3, 5)
    notes, problems = inspection.between(found)
    assert not problems
    assert [note.split(",")[0] for note in notes] == [
        "1 of the 3 images of data.test are also in data.unlabelled",
        "1 of the 3 images of data.test are also in data.labelled",
    ]
    assert "(t3.png)" in notes[0] and "(t2.png)" in notes[1]


def test_the_range_of_deep_values_is_told_and_what_became_of_it(tmp_path: Path) -> None:
    for i, top in enumerate((3000, 4000)):
        values = np.linspace(5 * i, top, 64).astype(np.uint16).reshape(8, 8)
        Image.fromarray(values).save(tmp_path / f"{i}.png")
    Image.fromarray(np.linspace(0, 0.9, 64).astype(np.float32).reshape(8, 8)).save(
        tmp_path / "f.tif"
    )

    def told(**keys: object) -> str:
        source = FolderSource(url=str(tmp_path), **keys)  # type: ignore[arg-type]
        return "\n".join(inspection.lines(inspection.inspect(source, 8, labelled=False)))

    assert "problem" in told()
    report = told(intensity=[0, 4095])
    assert "2 images of mode I;16 hold values of 0..4000: 0..4095 are mapped to 0..255" in report
    report = told(intensity="percentiles")
    assert "2 images of mode I;16 hold values of 0..4000: each from a black of" in report
    for i in range(2):
        (tmp_path / f"{i}.png").unlink()
    assert "1 image of mode F holds values of 0..0.9: multiplied by 255" in told()


KINDS = ["folder", "pairs", "zip", "parquet", "webdataset", "coco", "yolo", "labelme"]


@pytest.fixture(scope="module")
def in_all_forms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A hundred images in each form, one of those that are files damaged."""
    folder = tmp_path_factory.mktemp("forms")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        annotated_images = importlib.import_module("annotated_images")
        assert annotated_images.KINDS == KINDS
        annotated_images.make(folder, 100, 1)
        damaged = sorted((folder / "pairs/images").iterdir())[70]
        damaged.write_bytes(damaged.read_bytes()[:1000])
        (folder / "sections.json").write_text(
            json.dumps({kind: annotated_images.source(folder, kind) for kind in KINDS})
        )
    yield folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_processes_find_in_a_source_what_threads_find(
    kind: str, in_all_forms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = json.loads((in_all_forms / "sections.json").read_text())[kind]
    name = "unlabelled" if kind == "folder" else "labelled"
    source = getattr(load_config(None, [(f"data.{name}", yaml.safe_load(section))]).data, name)
    by_number = {}
    for num in (0, 2):
        monkeypatch.setattr(passes, "num_processes", lambda num_items, num=num: num)
        by_number[num] = inspection.inspect(source, 16, labelled=name == "labelled")
    of_threads, of_processes = (by_number[num] for num in (0, 2))
    assert inspection.lines(of_threads) == inspection.lines(of_processes)
    for one, other in zip(of_threads.prints, of_processes.prints, strict=True):
        assert one.name == other.name and one.pixels == other.pixels
    for shown, again in zip(of_threads.samples, of_processes.samples, strict=True):
        assert np.array_equal(shown.image, again.image)
    assert bool(of_threads.problems) == (kind not in ("zip", "parquet", "webdataset"))
