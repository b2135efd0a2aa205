import io
import json
import tarfile

import pytest

from factory.errors import DamagedShard
from factory.shards.schema import Sample
from factory.shards.webdataset import encode, rows


def decode(data: bytes) -> list[Sample]:
    return [row.decoded() for row in rows(data)]


@pytest.fixture
def classes(make_plan):
    return make_plan().classes


def repack(data: bytes, change) -> bytes:
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as old,
        tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as new,
    ):
        for member in old:
            file = old.extractfile(member)
            content = change(member, file.read())
            if content is not None:
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_what_goes_in_comes_out(make_samples, make_encoded, classes):
    data = encode(make_encoded(5), classes, {})
    for put, got in zip(make_samples(5), decode(data), strict=True):
        assert got.image.tobytes() == put.image.tobytes()
        assert got.mask.tobytes() == put.mask.tobytes()
        for name in ("key", "seed", "uncertainty", "model_id"):
            assert getattr(got, name) == getattr(put, name)


def test_same_samples_same_bytes(make_encoded, classes):
    assert encode(make_encoded(5), classes, {}) == encode(make_encoded(5), classes, {})
    assert encode(make_encoded(5), classes, {}) != encode(make_encoded(5, 1), classes, {})


def test_members_are_plain_and_in_order(make_encoded, classes):
    with tarfile.open(fileobj=io.BytesIO(encode(make_encoded(2), classes, {}))) as tar:
        members = tar.getmembers()
        texts = [tar.extractfile(m).read() for m in members if m.name.endswith(".json")]
    assert [m.name for m in members[:3]] == [
        "000000000.image.png",
        "000000000.mask.png",
        "000000000.json",
    ]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {
        (0, 0, 0, "factory", "factory", 0o644)
    }
    keys = [list(json.loads(text)) for text in texts]
    assert keys[0] == keys[1] == sorted(keys[0])


@pytest.mark.parametrize("num", [1, 9, 10])
def test_the_bytes_are_those_that_tarfile_writes(make_encoded, classes, num):
    data = encode(make_encoded(num), classes, {})
    assert repack(data, lambda member, content: content) == data


def test_a_cut_at_any_block_is_noticed(make_encoded, classes):
    data = encode(make_encoded(2), classes, {})
    length = len(data.rstrip(b"\0"))
    for end in range(0, length, 512):
        with pytest.raises(DamagedShard):
            decode(data[:end])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["000000000.image.png", "000000001.json"])
def test_a_flipped_bit_in_a_header_is_noticed(make_encoded, classes, name):
    data = encode(make_encoded(2), classes, {})
    start = data.index(name.encode())
    for bit in range(8 * 512):
        flipped = bytearray(data)
        flipped[start + bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedShard):
            decode(bytes(flipped))


def test_a_header_of_another_owner_is_refused(make_encoded, classes):
    def owned(member, content):
        member.uname = "root"
        return content

    with pytest.raises(DamagedShard, match="not ours"):
        decode(repack(encode(make_encoded(1), classes, {}), owned))


def links(member, content):
    if member.name.endswith("0.mask.png"):
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return content


def renamed(member, content):
    member.name = member.name.replace("000000001.json", "000000002.json")
    return content


def lacks_mask(member, content):
    return None if member.name.endswith("1.mask.png") else content


def lacks_last(member, content):
    return None if member.name == "000000001.json" else content


def other_key(member, content):
    return content.replace(b"000000001", b"000000002")


def no_seed(member, content):
    return content.replace(b'"seed"', b'"sead"')


def a_list(member, content):
    return b"[]" if member.name.endswith(".json") else content


def no_json(member, content):
    return b"\xff" if member.name.endswith(".json") else content


def no_picture(member, content):
    return b"GIF89a" if member.name.endswith("1.image.png") else content


@pytest.mark.parametrize(
    "change",
    [
        links,
        renamed,
        lacks_mask,
        lacks_last,
        other_key,
        no_seed,
        a_list,
        no_json,
        no_picture,
    ],
)
def test_what_is_no_shard_is_refused(make_encoded, classes, change):
    data = encode(make_encoded(2), classes, {})
    assert len(decode(repack(data, lambda member, content: content))) == 2
    with pytest.raises(DamagedShard):
        decode(repack(data, change))
