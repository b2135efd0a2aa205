"""Claims about tar shards: a tar is the factory's own to the last header, or it is refused."""

import dataclasses
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.errors import DamagedShard
from factory.shards import webdataset
from factory.shards.plan import Plan
from factory.shards.schema import Sample, encode_sample

BLOCK = 512
SIZE = slice(124, 136)
CHECKSUM = slice(148, 156)


def decode(data: bytes) -> list[Sample]:
    return [row.decoded() for row in webdataset.rows(data)]


@pytest.fixture
def good(make_plan: Callable[..., Plan], make_sample: Callable[[int], Sample]) -> bytes:
    """A shard of two samples."""
    return make_plan(format="webdataset").encode([make_sample(0), make_sample(1)])


def end_of(data: bytes) -> int:
    """Where the members of a shard end."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        last = tar.getmembers()[-1]
    return last.offset_data + -(-last.size // BLOCK) * BLOCK


def member(name: str, data: bytes = b"x", **fields: object) -> bytes:
    """A member as Python writes it, with the owner that the factory's have."""
    info = tarfile.TarInfo(name)
    info.uname = info.gname = "factory"
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    # Types but the regular one have no content.
    content = data if info.isreg() else b""
    info.size = len(content)
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % BLOCK)


def altered(header: bytes, part: slice, value: bytes) -> bytes:
    """A member's bytes with another field, and the checksum that fits."""
    block = bytearray(header[:BLOCK])
    block[part] = value
    block[CHECKSUM] = b" " * 8
    block[CHECKSUM] = b"%06o\0 " % sum(block)
    return bytes(block) + header[BLOCK:]


PLAIN = member("000000002.image.png")
HOSTILE = {
    "a symbolic link": member("000000002.image.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": member("000000002.image.png", type=tarfile.LNKTYPE, linkname="000000000.json"),
    "a character device": member("000000002.image.png", type=tarfile.CHRTYPE, devmajor=1),
    "a block device": member("000000002.image.png", type=tarfile.BLKTYPE),
    "a pipe": member("000000002.image.png", type=tarfile.FIFOTYPE),
    "a folder": member("000000002", type=tarfile.DIRTYPE),
    "a sparse file": member("000000002.image.png", type=tarfile.GNUTYPE_SPARSE),
    "a program": member("000000002.image.png", mode=0o755),
    "a program of root's": member("000000002.image.png", mode=0o4755),
    "an owner": member("000000002.image.png", uid=1000),
    "a name in another header": member("a" * 200),
    "a name that is no ASCII": member("ä.image.png"),
    "attributes": member("000000002.image.png", pax_headers={"comment": "x"}),
    "a way out": member("../../x"),
    "an absolute name": member("/etc/passwd"),
    "a pickle": member("000000002.pyd"),
    "a checkpoint": member("000000002.pth"),
    "a member too few": PLAIN,
    "two pictures": PLAIN + PLAIN,
    "a dot in the key": member("run.1/000.a.image.png"),
    "a size in base 256": altered(PLAIN, SIZE, b"\x80" + bytes(10) + b"\x01"),
    "a negative size": altered(PLAIN, SIZE, b"\xff" * 12),
    "a size that is none": altered(PLAIN, SIZE, b"12345678901x"),
    "a size with a sign": altered(PLAIN, SIZE, b"-0000000001\0"),
    "a size of 8 GiB": altered(PLAIN, SIZE, b"77777777777\0"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_tar_with_what_is_not_ours_is_refused_wherever_it_stands(
    name: str, good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    end = end_of(good)
    for data in (HOSTILE[name] + good, good[:end] + HOSTILE[name] + good[end:]):
        with pytest.raises(DamagedShard):
            decode(data)
    assert not list(tmp_path.iterdir())


def test_only_what_is_told_is_hostile_in_them(good: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(good)) as tar:
        contents = {info.name: tar.extractfile(info) for info in tar}
    again = b"".join(member(name, file.read()) for name, file in contents.items() if file)
    assert again == good[: end_of(good)] and len(contents) == 6


def test_what_stands_behind_the_end_is_refused(good: bytes) -> None:
    assert len(decode(good)) == 2
    for behind in (b"x", PLAIN, good):
        with pytest.raises(DamagedShard):
            decode(good + behind)


def test_a_picture_that_would_fill_the_memory_is_refused(
    make_plan: Callable[..., Plan], make_sample: Callable[[int], Sample]
) -> None:
    encoded = encode_sample(make_sample(0), len(make_plan().class_names))
    # Height and width of the header say 2^31 - 1 pixels each.
    picture = encoded.image_png
    bomb = picture[:16] + b"\x7f\xff\xff\xff" * 2 + picture[24:]
    data = webdataset.encode(
        [dataclasses.replace(encoded, image_png=bomb)], make_plan().classes, {}
    )
    with pytest.raises(DamagedShard):
        decode(data)


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
@pytest.mark.parametrize("key", ["../../x", "/etc/passwd", "a/b", "a.b", "", "a\nb", "ä", "C:x"])
def test_a_key_that_is_no_plain_name_is_refused(
    key: str,
    format: str,
    make_plan: Callable[..., Plan],
    make_sample: Callable[[int], Sample],
) -> None:
    plan = make_plan(format=format)
    data = plan.encode([dataclasses.replace(make_sample(0), key=key)])
    with pytest.raises(DamagedShard):
        list(plan.iterate(data))
