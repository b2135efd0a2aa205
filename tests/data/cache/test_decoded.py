"""Claims about factory.data.cache: images decoded once a machine, mapped by all its processes."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from factory import storage
from factory.config import DataConfig, parse_config
from factory.data import loading
from factory.data.cache.decoded import DECODING_VERSION, cached_images, check_images, find
from factory.data.kinds.folder import FolderSource
from factory.data.kinds.toy import ToySource
from factory.data.loading import read_images
from factory.data.toy import drawing
from factory.errors import UserError
from tests.folders import contents
from tests.stumbling import stumble

TOY = ToySource(num=70, seed=4)
OF_TOY = 70 * 16 * 16 * 3


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    return DataConfig(image_size=16, cache_dir=str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path: Path) -> FolderSource:
    """A folder of 150 images of several sizes and modes."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(150):
        shape = (20 + i % 7, 18 + i % 5, 3)[: 2 if i % 3 == 0 else 3]
        image = random.integers(0, 256, shape, np.uint8)
        Image.fromarray(image).save(folder / ("below" if i % 2 else ".") / f"{i:03d}.png")
    return FolderSource(url=str(folder))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is decoded or drawn from now on."""
    seen: list[Any] = []
    read, draw = loading.read_square, drawing.draw
    monkeypatch.setattr(loading, "read_square", lambda *a: (seen.append(a[0]), read(*a))[1])
    monkeypatch.setattr(drawing, "draw", lambda *a: (seen.append(a[1]), draw(*a))[1])
    return seen


def entries(data: DataConfig) -> list[str]:
    """All that lies in the cache but the lock."""
    return sorted({name.partition("/")[0] for name in contents(Path(data.cache_dir))} - {"lock"})


def refusal(work: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(UserError) as told:
        work(*arguments)
    return str(told.value)


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


def test_drawings_are_drawn_once(data, decoded) -> None:
    first = cached_images(data, TOY)
    np.testing.assert_array_equal(first.images, drawing.draw_many(4, 70, 16)[0])
    decoded.clear()
    assert cached_images(data, TOY).digest == first.digest
    assert decoded == []


def test_what_is_mapped_is_read_only_and_no_copy(data) -> None:
    images = cached_images(data, TOY).images
    assert not images.flags.writeable and not images.flags.owndata
    base = images.base
    while isinstance(base, np.ndarray):
        base = base.base
    assert type(base).__name__ == "mmap"


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
        image.save(tmp_path / f"{name}.png", **extra)
    source = FolderSource(url=str(tmp_path))
    digest = cached_images(
        DataConfig(image_size=16, cache_dir=str(tmp_path / "cache")), source
    ).digest
    assert (DECODING_VERSION, digest[:16]) == (1, "3ca4caae2c0266fe")


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


@pytest.mark.slow
def test_two_processes_at_once_decode_once(data) -> None:
    code = (
        "import sys; from factory.config import DataConfig;"
        "from factory.data.cache.decoded import cached_images;"
        "from factory.data.kinds.toy import ToySource;"
        "from factory.progress import print_lines; print_lines();"
        f"found = cached_images(DataConfig(image_size=16, cache_dir={data.cache_dir!r}),"
        "ToySource(num=400)); print(found.digest)"
    )
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("decoding 400 images" in out for out in told) == 1
    assert len({out.splitlines()[-1] for out in told}) == 1


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_that_stops_the_next_one(data, monkeypatch) -> None:
    child = os.fork()
    if child == 0:
        draw = drawing.draw

        def die(seed: int, i: int, size: int) -> Any:
            if i == 30:
                os.kill(os.getpid(), signal.SIGKILL)
            return draw(seed, i, size)

        monkeypatch.setattr(drawing, "draw", die)
        cached_images(data, TOY)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert entries(data) == ["making"]
    found = cached_images(data, TOY)
    np.testing.assert_array_equal(found.images, drawing.draw_many(4, 70, 16)[0])
    assert entries(data) == [found.key]


@pytest.mark.slow
def test_an_entry_that_somebody_cut_is_made_anew(data) -> None:
    found = cached_images(data, TOY)
    file = Path(data.cache_dir) / found.key / "images.npy"
    for content in (file.read_bytes()[:-1], b"", b"no numpy file"):
        file.write_bytes(content)
        assert cached_images(data, TOY).digest == found.digest
    np.testing.assert_array_equal(cached_images(data, TOY).images, drawing.draw_many(4, 70, 16)[0])


@pytest.mark.slow
def test_the_entry_used_longest_ago_makes_room_but_none_that_is_in_use(data) -> None:
    small = data.model_copy(update={"cache_gib": 2.5 * OF_TOY / 2**30})
    one, two, three, four = (ToySource(num=70, seed=seed) for seed in range(4))
    keys = [cached_images(small, source).key for source in (one, two)]
    cached_images(small, one)  # used again: now the second is the oldest
    third = cached_images(small, three).key
    assert entries(data) == sorted([keys[0], third])
    held = cached_images(small, one)
    fourth = cached_images(small, four)
    assert entries(data) == sorted([held.key, fourth.key])
    told = refusal(cached_images, small, two)
    assert "data.cache_gib: " in told and "in use by other commands" in told
    del held
    assert cached_images(small, two).key == keys[1]
    assert entries(data) == sorted([keys[1], fourth.key])


def test_more_than_the_cache_may_hold_is_refused_before_anything_is_decoded(
    data, photos, decoded
) -> None:
    small = data.model_copy(update={"cache_gib": 1e-6})
    for work in (check_images, cached_images):
        told = refusal(work, small, photos)
        assert told.startswith("data.cache_gib: the decoded images take 0.00 GiB")
        assert "lower data.image_size or data.unlabelled.num" in told
    assert decoded == [] and not entries(data)


def test_a_disk_that_is_too_small_is_refused_before_anything_is_decoded(
    data, photos, decoded, monkeypatch
) -> None:
    cached_images(data, TOY)
    usage = shutil.disk_usage(data.cache_dir)
    full = usage._replace(free=150 * 16 * 16 * 3 - OF_TOY - 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    decoded.clear()
    before = contents(Path(data.cache_dir))
    for work in (check_images, cached_images):
        told = refusal(work, data, photos)
        assert told.startswith("data.cache_dir: the decoded images take") and "larger disk" in told
    assert decoded == [] and contents(Path(data.cache_dir)) == before
    # What is not in use makes room on the disk, too.
    full = usage._replace(free=150 * 16 * 16 * 3 - OF_TOY + 1000)
    assert [cached_images(data, photos).key] == entries(data)


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_meanwhile_is_told_and_leaves_nothing(
    data, monkeypatch, call, number
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, full)
    told = refusal(cached_images, data, TOY)
    assert told.startswith(f"data.cache_dir: {data.cache_dir}: cannot be used")
    assert os.strerror(number) in told
    assert entries(data) == []


def test_a_file_system_that_reserves_no_room_is_used_all_the_same(data, monkeypatch) -> None:
    def unable(*arguments: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unable)
    assert len(cached_images(data, TOY).images) == 70


def test_an_image_of_a_store_that_stumbles_is_asked_for_again(data, photos, monkeypatch) -> None:
    error = OSError(errno.EIO, "503 Slow Down")
    stumbles = stumble(monkeypatch, 1, error, at=lambda url: url.endswith("042.png"))
    assert len(cached_images(data, photos).images) == 150
    assert stumbles.failed.total() == 1


def test_without_a_home_folder_the_key_that_names_another_one_is_told(monkeypatch) -> None:
    def nowhere(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nowhere)
    assert refusal(cached_images, DataConfig(image_size=16), TOY).startswith("data.cache_dir: ")


@pytest.mark.parametrize("work", [check_images, cached_images])
def test_a_folder_that_cannot_be_written_is_named_with_its_key(tmp_path, work) -> None:
    (tmp_path / "file").write_text("")
    data = DataConfig(image_size=16, cache_dir=str(tmp_path / "file" / "cache"))
    told = refusal(work, data, TOY)
    assert told.startswith("data.cache_dir: ") and str(tmp_path / "file") in told


@pytest.mark.parametrize("work", [check_images, cached_images])
def test_every_image_that_cannot_be_used_is_named_and_nothing_is_kept(data, photos, work) -> None:
    for name in ("007.png", "100.png"):
        next(Path(photos.url).rglob(name)).write_bytes(b"no image")
    told = refusal(work, data, photos).splitlines()
    assert len(told) == 2 and "007.png: " in told[0] + told[1] and "100.png: " in told[0] + told[1]
    assert entries(data) == []


def test_checking_keeps_nothing_and_tells_what_it_will_take(data, photos, decoded, capsys) -> None:
    large = data.model_copy(update={"image_size": 128})
    tracemalloc.start()
    pixels = check_images(large, photos)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(decoded) == 150
    assert peak < 150 * 128 * 128 * 3 / 4
    assert not Path(data.cache_dir).exists()
    told = capsys.readouterr().out
    assert "data | 150 images of 128x128 pixels (0.01 GiB) will be decoded into" in told
    assert cached_images(large, photos).summary == pixels
    decoded.clear()
    assert check_images(large, photos) == pixels
    assert decoded == [] and "are decoded in" in capsys.readouterr().out


def test_others_cannot_read_what_was_decoded(data) -> None:
    before = os.umask(0)
    try:
        cached_images(data, TOY)
    finally:
        os.umask(before)
    assert Path(data.cache_dir).stat().st_mode & 0o777 == 0o700


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
    listed, list_files = [], storage.list_files
    (Path(photos.url) / "more.tif").write_bytes(b"")
    monkeypatch.setattr(
        storage,
        "list_files",
        lambda url, *a, **k: (listed.append(url), list_files(url, *a, **k))[1],
    )
    cached_images(data, photos)
    assert listed == [photos.url] and "1 .tif are not read" in capsys.readouterr().out
    check_images(data, photos)
    assert listed == 2 * [photos.url]
