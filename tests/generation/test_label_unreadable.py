"""Claims about images that cannot be read: known before anything starts, refused or left out."""

import errno
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from factory.cli import main
from factory.config import dump_config
from factory.data.files.trees import FolderTree
from factory.data.pixels import intact
from factory.errors import GenerationFailed, UserError
from factory.generation import label_listing, planning
from factory.generation.command import check, label
from factory.generation.repair import repair
from factory.shards.source_listing import read_listing
from factory.shards.verification import verify
from tests.folders import contents
from tests.generation.conftest import LabelConfig, put_images
from tests.generation.test_label_scores import put_masks, score_of, source_of
from tests.generation.test_labelling import NAMES, samples_of

BAD = {"p1.png", "p4.png", "sub/a.png"}

pytestmark = pytest.mark.slow


@pytest.fixture
def damaged(photos: Path) -> Path:
    """The folder of the photos, three of which are damaged."""
    whole = (photos / "p1.png").read_bytes()
    (photos / "p1.png").write_bytes(whole[: len(whole) // 2])
    (photos / "p4.png").write_bytes(b"no image at all")
    (photos / "sub" / "a.png").write_bytes(b"")
    return photos


def test_all_files_that_are_no_image_are_named_at_once_before_anything_starts(
    label_config: LabelConfig, damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(dump_config(label_config()))
    assert main(["label", "--config", str(tmp_path / "config.yaml")]) == 2
    error = capsys.readouterr().err
    assert all(f"{damaged}/{name}: " in error for name in BAD)
    assert "set label.unreadable: skip" in error
    assert not Path(label_config().label.url).exists()


def test_names_that_are_no_utf_8_are_told_before_anything_starts(
    label_config: LabelConfig, photos: Path
) -> None:
    (photos / "p1.png").rename(photos / os.fsdecode(b"caf\xe9.png"))
    with pytest.raises(UserError, match=r"caf\\udce9.png: its name is no UTF-8"):
        check(label_config(), "label")
    assert not Path(label_config().label.url).exists()


def test_skip_labels_all_others_and_tells_what_it_left_out(
    label_config: LabelConfig, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = label_config(unreadable="skip")
    assert label(config).rows == 4
    out = capsys.readouterr().out
    assert all(f"label | left out: {damaged}/{name}: " in out for name in BAD)
    # Whoever runs the command again reads of them, too.
    label(config)
    again = capsys.readouterr().out
    assert [line for line in again.splitlines() if "left out" in line] == [
        line for line in out.splitlines() if "left out" in line
    ]
    url = config.label.url
    assert [sample.source for sample in samples_of(url)] == [n for n in NAMES if n not in BAD]
    plan = verify(url, "decode").plan
    assert plan is not None and plan.recipe["left_out"] == 3
    listing = read_listing(url, plan.recipe["source_sha256"])
    assert listing.left_out == BAD
    assert r"left\_out" in (Path(url) / "README.md").read_text()


def test_nothing_is_left_out_where_all_can_be_read(label_config: LabelConfig) -> None:
    label(label_config(unreadable="skip"))
    run = json.loads((Path(label_config().label.url) / "_factory" / "run.json").read_text())
    assert "left_out" not in run["recipe"]


def test_where_none_can_be_read_skip_is_refused(label_config: LabelConfig, photos: Path) -> None:
    for name in NAMES:
        (photos / name).write_bytes(b"no image")
    with pytest.raises(UserError) as refused:
        label(label_config(unreadable="skip"))
    (line,) = refused.value.problems
    assert all(name in line for name in NAMES)


def test_a_dataset_goes_on_without_what_was_left_out_even_if_that_is_gone(
    label_config: LabelConfig, damaged: Path, shards_made: list[list[int]]
) -> None:
    config = label_config(unreadable="skip")
    label(config)
    folder = Path(config.label.url)
    before = contents(folder)
    for name in ("data/train-00001.parquet", "_factory/source.parquet"):
        (folder / name).unlink()
    assert repair(str(folder)).findings == []
    (damaged / "p1.png").unlink()
    (folder / "data" / "train-00001.parquet").unlink()
    label(config)
    assert shards_made == [[0, 1], [1], [1]]
    assert {k: v for k, v in contents(folder).items() if k.startswith("data")} == {
        k: v for k, v in before.items() if k.startswith("data")
    }


def test_an_image_that_was_left_out_and_is_mended_needs_another_place(
    label_config: LabelConfig, damaged: Path
) -> None:
    config = label_config(unreadable="skip")
    label(config)
    put_images(damaged, "p1.png")
    with pytest.raises(UserError, match=r"p1\.png: has changed since .* another --out"):
        label(config)


def test_a_store_that_fails_leaves_nothing_out(
    label_config: LabelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = FolderTree.read

    def fail(tree: FolderTree, name: str) -> bytes:
        if name == "p1.png":
            raise OSError(errno.EIO, "Input/output error")
        return read(tree, name)

    monkeypatch.setattr(FolderTree, "read", fail)
    with pytest.raises(UserError, match=r"p1\.png: cannot be read .*Restore or remove it"):
        label(label_config(unreadable="skip"))


def test_links_to_nothing_are_refused_or_skipped_as_other_files_that_are_no_image(
    label_config: LabelConfig, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "p1.png").unlink()
    (photos / "p1.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(UserError, match=r"p1\.png: cannot be read \(a link to no file"):
        label(label_config())
    for _ in range(2):
        assert label(label_config(unreadable="skip")).rows == len(NAMES) - 1
        assert (
            f"left out: {photos}/p1.png: cannot be read (a link to no file"
            in capsys.readouterr().out
        )


def test_masks_that_cannot_be_read_are_left_out_with_their_images(
    label_config: LabelConfig, tmp_path: Path
) -> None:
    names = [f"p{i}.png" for i in range(4)]
    put_images(tmp_path / "pairs" / "images", *names)
    put_masks(tmp_path / "pairs" / "masks", *names)
    (tmp_path / "pairs" / "masks" / "p2.png").write_bytes(b"torn")
    config = label_config(source=source_of(tmp_path / "pairs"), unreadable="skip")
    assert label(config).rows == 3
    assert verify(config.label.url, "decode").findings == []
    assert score_of(config.label.url).num_pixels > 0


def put_jpeg(path: Path, damaged: bool) -> None:
    """Writes a JPEG of random pixels, with a marker among them that stops decoding if damaged."""
    pixels = np.random.default_rng(len(str(path))).integers(0, 256, (24, 24, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG")
    data = bytearray(sink.getvalue())
    if damaged:
        data[-200:-198] = b"\xff\xc4"
    path.write_bytes(data)


def test_jpegs_whose_pixels_are_damaged_are_known_before_anything_starts(
    label_config: LabelConfig, photos: Path, tmp_path: Path
) -> None:
    bad = {f"j{i}.jpg" for i in (1, 4)}
    for i in range(6):
        put_jpeg(photos / f"j{i}.jpg", damaged=f"j{i}.jpg" in bad)
    with pytest.raises(UserError, match=r"label\.unreadable: skip") as refused:
        label(label_config())
    (line,) = refused.value.problems[:-1]
    assert line.startswith(f"{photos}/j1.jpg: ") and "The same is true of 1 other: j4.jpg." in line
    assert not Path(label_config().label.url).exists()
    config = label_config(unreadable="skip")
    assert label(config).rows == 11
    found = [sample.source for sample in samples_of(config.label.url)]
    assert found == sorted({*NAMES, *(f"j{i}.jpg" for i in range(6))} - bad)


def test_a_dataset_that_was_begun_with_a_damaged_jpeg_says_how_to_do_without(
    label_config: LabelConfig, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_jpeg(photos / "p2.jpg", damaged=True)
    with monkeypatch.context() as patch:
        # As an older version began it.
        patch.setattr(label_listing, "intact", SimpleNamespace(check_image=lambda *_: None))
        words = r"shard 0: .*p2\.jpg: .* Label into another --out: .*label\.unreadable: skip"
        with pytest.raises(GenerationFailed, match=words):
            label(label_config())
    assert label(label_config(unreadable="skip", url=f"{photos}-2")).rows == 7


def test_damage_that_only_decoding_shows_fails_the_shard_and_says_what_to_do(
    label_config: LabelConfig, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = label_listing.list_source

    def damaging(*arguments: object) -> object:
        (photos / "p0.png").write_bytes(b"no image")
        return listing(*arguments)  # type: ignore[arg-type]

    # As of a PNG that was written with checksums of its damage.
    monkeypatch.setattr(intact, "check_image", lambda *_: None)
    monkeypatch.setattr(planning, "list_source", damaging)
    with pytest.raises(GenerationFailed, match=r"shard 0: .*p0\.png: .*Replace it, and label into"):
        label(label_config())
