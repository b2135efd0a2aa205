"""Claims about factory.data.cache.entries: a folder that processes share, and its bounds."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory.data.cache.decoded import cached_images, check_images
from factory.data.kinds.toy import ToySource
from factory.data.toy import drawing
from tests.data.cache.sources import OF_TOY, TOY, entries, refusal
from tests.drawings import draw_many
from tests.folders import contents


@pytest.mark.slow
def test_what_is_mapped_is_read_only_and_no_copy(data) -> None:
    images = cached_images(data, TOY).images
    assert not images.flags.writeable and not images.flags.owndata
    base = images.base
    while isinstance(base, np.ndarray):
        base = base.base
    assert type(base).__name__ == "mmap"


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
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("decoding 400 images" in out for out in outputs) == 1
    assert len({out.splitlines()[-1] for out in outputs}) == 1


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
    np.testing.assert_array_equal(found.images, draw_many(4, 70, 16)[0])
    assert entries(data) == [found.key]


@pytest.mark.slow
def test_an_entry_that_somebody_cut_is_made_anew(data) -> None:
    found = cached_images(data, TOY)
    file = Path(data.cache_dir) / found.key / "images.npy"
    for content in (file.read_bytes()[:-1], b"", b"no numpy file"):
        file.write_bytes(content)
        assert cached_images(data, TOY).digest == found.digest
    np.testing.assert_array_equal(cached_images(data, TOY).images, draw_many(4, 70, 16)[0])


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
    message = refusal(cached_images, small, two)
    assert "data.cache_gib: " in message and "in use by other commands" in message
    del held
    assert cached_images(small, two).key == keys[1]
    assert entries(data) == sorted([keys[1], fourth.key])


def test_more_than_the_cache_may_hold_is_refused_before_anything_is_decoded(
    data, photos, decoded
) -> None:
    small = data.model_copy(update={"cache_gib": 1e-6})
    for work in (check_images, cached_images):
        message = refusal(work, small, photos)
        assert message.startswith("data.cache_gib: the decoded images take 0.00 GiB")
        assert "lower data.image_size or data.unlabelled.num" in message
    assert decoded == [] and not entries(data)


@pytest.mark.slow
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
        message = refusal(work, data, photos)
        assert (
            message.startswith("data.cache_dir: the decoded images take")
            and "larger disk" in message
        )
    assert decoded == [] and contents(Path(data.cache_dir)) == before
    # What is not in use makes room on the disk, too.
    full = usage._replace(free=150 * 16 * 16 * 3 - OF_TOY + 1000)
    assert [cached_images(data, photos).key] == entries(data)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_meanwhile_is_told_and_leaves_nothing(
    data, monkeypatch, call, number
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, full)
    message = refusal(cached_images, data, TOY)
    assert message.startswith(f"data.cache_dir: {data.cache_dir}: cannot be used")
    assert os.strerror(number) in message
    assert entries(data) == []


@pytest.mark.slow
def test_a_file_system_that_reserves_no_room_is_used_all_the_same(data, monkeypatch) -> None:
    def unable(*arguments: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unable)
    assert len(cached_images(data, TOY).images) == 70


def test_others_cannot_read_what_was_decoded(data) -> None:
    before = os.umask(0)
    try:
        cached_images(data, TOY)
    finally:
        os.umask(before)
    assert Path(data.cache_dir).stat().st_mode & 0o777 == 0o700
