"""Claims about factory.data.cache.decoded: the images of a source, decoded once a machine."""

import errno
import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from factory import storage
from factory.config import DataConfig, parse_config
from factory.data.cache.decoded import DECODING_VERSION, cached_images, check_images, find
from factory.data.kinds.folder import FolderSource
from factory.data.loading import read_images
from factory.errors import UserError
from tests.data.cache.sources import TOY, entries, refusal
from tests.drawings import draw_many
from tests.failing_storage import fail_calls


def test_images_are_those_that_the_source_has_and_are_decoded_once(data, photos, decoded) -> None:
    first = cached_images(data, photos)
    np.testing.assert_array_equal(first.images, read_images(photos, 16))
    assert len(decoded) == 150
    decoded.clear()
    again = cached_images(data, photos)
    by_key = cached_images(data, photos, first.key)
    assert decoded == []
    for cached in (again, by_key):
        assert (cached.digest, cached.key) == (first.digest, first.key)
        np.testing.assert_array_equal(cached.images, first.images)


@pytest.mark.slow
def test_drawings_are_drawn_once(data, decoded) -> None:
    first = cached_images(data, TOY)
    np.testing.assert_array_equal(first.images, draw_many(4, 70, 16)[0])
    decoded.clear()
    assert cached_images(data, TOY).digest == first.digest
    assert decoded == []


def test_an_image_changed_in_place_is_noticed_even_with_its_old_time_and_size(
    data, photos, decoded
) -> None:
    before = cached_images(data, photos)
    file = Path(photos.url) / "000.png"
    found = file.stat()
    image = Image.open(file)
    Image.fromarray(255 - np.asarray(image)).save(file, compress_level=0)
    Image.fromarray(np.asarray(image)).save(file.with_suffix(".old"), "PNG", compress_level=0)
    assert file.stat().st_size == file.with_suffix(".old").stat().st_size
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    decoded.clear()
    after = cached_images(data, photos)
    assert len(decoded) == 150
    assert after.key != before.key and after.digest != before.digest
    np.testing.assert_array_equal(after.images, read_images(photos, 16))
    # Who has it open still has what it opened.
    assert not np.array_equal(after.images[0], before.images[0])


@pytest.mark.parametrize("change", ["added", "removed", "renamed"])
def test_other_files_are_other_images(data, photos, change) -> None:
    key, file = find(photos, 16).key, Path(photos.url) / "000.png"
    if change == "added":
        shutil.copy(file, file.with_name("new.png"))
    elif change == "removed":
        file.unlink()
    else:
        file.rename(file.with_name("new.png"))
    assert find(photos, 16).key != key


def test_the_key_is_of_size_source_and_way_of_decoding(monkeypatch) -> None:
    keys = {find(TOY, 16).key, find(TOY, 32).key, find(TOY.model_copy(update={"seed": 5}), 16).key}
    monkeypatch.setattr(f"{find.__module__}.DECODING_VERSION", DECODING_VERSION + 1)
    assert len({*keys, find(TOY, 16).key}) == 4


@pytest.mark.parametrize(
    "setting", [{"intensity": [0, 99]}, {"exif": "ignore"}, {"fit": "pad"}, {"fit": "tile"}]
)
def test_another_way_of_reading_the_same_files_is_another_entry(data, photos, setting) -> None:
    before = cached_images(data, photos)
    other = FolderSource(url=photos.url, **setting)
    after = cached_images(data, other)
    assert after.key != before.key
    np.testing.assert_array_equal(after.images, read_images(other, 16))


def test_other_pixels_of_the_same_file_need_another_number_of_the_way_of_decoding(
    tmp_path,
) -> None:
    """If this fails, raise DECODING_VERSION and write the new digest: old entries are not used."""
    ramp = np.arange(40 * 30, dtype=np.uint16).reshape(30, 40)
    grey = Image.fromarray((ramp % 256).astype(np.uint8))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    for name, image, extra in (
        ("grey", grey, {}),
        ("16-bit", Image.fromarray(ramp * 50), {}),
        ("palette", grey.convert("RGB").quantize(7), {}),
        ("clear", Image.merge("RGBA", [grey] * 4), {}),
        ("turned", grey.convert("RGB"), {"exif": turned}),
    ):
        image.save(tmp_path / f"{name}.png", "PNG", **extra)
    source = FolderSource(url=str(tmp_path))
    digest = cached_images(
        DataConfig(image_size=16, cache_dir=str(tmp_path / "cache")), source
    ).digest
    assert (DECODING_VERSION, digest[:16]) == (2, "3ca4caae2c0266fe")


@pytest.mark.slow
def test_a_changed_object_of_a_bucket_is_noticed(s3_bucket) -> None:
    url, one, other = f"{s3_bucket}/photos", b"one", b"two"
    for name in ("a.png", "b.png"):
        storage.write(f"{url}/{name}", one)
    source = FolderSource(url=url)
    before = find(source, 16)
    assert find(source, 16).key == before.key
    storage.write(f"{url}/b.png", other)
    assert find(source, 16).key != before.key and len(before.items) == 2


def test_an_image_of_a_store_that_fails_once_is_asked_for_again(data, photos, monkeypatch) -> None:
    error = OSError(errno.EIO, "503 Slow Down")
    failures = fail_calls(monkeypatch, 1, error, at=lambda url: url.endswith("042.png"))
    assert len(cached_images(data, photos).images) == 150
    assert failures.num_by_url.total() == 1


def test_without_a_home_folder_the_key_that_names_another_one_is_told(monkeypatch) -> None:
    def nowhere(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nowhere)
    assert refusal(cached_images, DataConfig(image_size=16), TOY).startswith("data.cache_dir: ")


@pytest.mark.parametrize("work", [check_images, cached_images])
def test_a_folder_that_cannot_be_written_is_named_with_its_key(tmp_path, work) -> None:
    (tmp_path / "file").write_text("")
    data = DataConfig(image_size=16, cache_dir=str(tmp_path / "file" / "cache"))
    message = refusal(work, data, TOY)
    assert message.startswith("data.cache_dir: ") and str(tmp_path / "file") in message


@pytest.mark.parametrize("work", [check_images, cached_images])
def test_every_image_that_cannot_be_used_is_named_and_nothing_is_kept(data, photos, work) -> None:
    for name in ("007.png", "100.png"):
        next(Path(photos.url).rglob(name)).write_bytes(b"no image")
    (line,) = refusal(work, data, photos).splitlines()
    assert "007.png" in line and "100.png" in line
    assert entries(data) == []


@pytest.mark.slow
def test_checking_keeps_nothing_and_tells_what_it_will_take(data, photos, decoded, capsys) -> None:
    large = data.model_copy(update={"image_size": 128})
    tracemalloc.start()
    pixels = check_images(large, photos)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(decoded) == 150
    assert peak < 150 * 128 * 128 * 3 / 4
    assert not Path(data.cache_dir).exists()
    message = capsys.readouterr().out
    assert "data | 150 images of 128x128 pixels (0.01 GiB) will be decoded into" in message
    assert cached_images(large, photos).summary == pixels
    decoded.clear()
    assert check_images(large, photos) == pixels
    assert decoded == [] and "are decoded in" in capsys.readouterr().out


@pytest.mark.slow
def test_the_cache_is_a_folder_of_each_machine(monkeypatch, tmp_path) -> None:
    with pytest.raises(UserError, match=r"data\.cache_dir: must be a folder of each machine"):
        parse_config({"data": {"cache_dir": "s3://bucket/cache"}})
    assert parse_config({"data": {"cache_dir": "~/images"}}).data.cache_dir == "~/images"
    monkeypatch.chdir(tmp_path)
    assert parse_config({"data": {"cache_dir": "here"}}).data.cache_dir == str(tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    cached_images(DataConfig(image_size=8), TOY)
    assert (tmp_path / "xdg" / "factory" / "images" / "lock").exists()


def test_each_folder_is_listed_once(data, photos, monkeypatch, capsys) -> None:
    listed, list_names = [], storage.list_names
    (Path(photos.url) / "more.dcm").write_bytes(b"")
    monkeypatch.setattr(
        storage,
        "list_names",
        lambda url, *a, **k: (listed.append(url), list_names(url, *a, **k))[1],
    )
    cached_images(data, photos)
    assert listed == [photos.url] and "1 .dcm are not read" in capsys.readouterr().out
    check_images(data, photos)
    assert listed == 2 * [photos.url]
