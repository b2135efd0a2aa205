"""Shards that are torn, altered or hostile, as a reader may get them from anywhere.

Both formats are looked at by `measure`, as a run does before it publishes a shard, and as
`factory verify --level decode` does. Nothing of a tar is ever extracted.
"""

import gzip
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from factory.errors import DamagedShard
from factory.shards.measuring import measure
from factory.shards.plan import Plan
from factory.shards.schema import Sample, sample_key
from tests.bad_inputs.cases import END, encoded, header, ids, noise, png

Change = Callable[[bytes], bytes]
BLOCK = 512
Format = Literal["parquet", "webdataset"]
FORMATS: tuple[Format, ...] = ("webdataset", "parquet")


def plan_of(form: Format) -> Plan:
    return Plan(
        num=2,
        samples_per_shard=2,
        format=form,
        class_names=("background", "thing"),
        palette=((0, 0, 0), (255, 0, 0)),
        recipe={"seed": 0},
    )


def sample(index: int, **changes: Any) -> Sample:
    made = Sample(sample_key(index), noise(seed=index), ids(), index, 0.5, "abc")
    return replace(made, **changes)


GOOD = {form: plan_of(form).encode([sample(0), sample(1)]) for form in FORMATS}
TAR = GOOD["webdataset"]


def refused(form: Format, data: bytes, words: str, folder: Path) -> None:
    plan = plan_of(form)
    with pytest.raises(DamagedShard) as refusal:
        measure(plan, plan.shards()[0], {plan.shards()[0].path: data})
    message = str(refusal.value)
    assert words in message and len(message) < 500 and "\n" not in message, message
    assert not list(folder.iterdir())


def members() -> list[int]:
    """Where the headers of the good tar begin."""
    with tarfile.open(fileobj=io.BytesIO(TAR)) as file:
        return [member.offset for member in file]


def checked(data: bytes) -> bytes:
    """With the checksums of its first six headers right."""
    content = bytearray(data)
    for at in members():
        block = content[at : at + BLOCK]
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        content[at : at + BLOCK] = block
    return bytes(content)


def field(at: int, value: bytes, member: int = 0) -> Change:
    """Another value in a member's header."""

    def change(data: bytes) -> bytes:
        start = members()[member] + at
        return checked(data[:start] + value + data[start + len(value) :])

    return change


def renamed(new: bytes, old: bytes = b"000000000") -> Change:
    assert len(new) == len(old)
    return lambda data: checked(data.replace(old, new))


def text(new: bytes, old: bytes) -> Change:
    """Another text of the same length in the first JSON."""
    assert len(new) == len(old)
    return lambda data: data.replace(old, new, 1)


def repacked(*names: str, content: bytes = b"x", **options: Any) -> Change:
    """A tar of Python's own, of any members."""

    def change(_: bytes) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as file:
            for name in names:
                member = tarfile.TarInfo(name)
                for key, value in options.items():
                    setattr(member, key, value)
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))
        return buffer.getvalue()

    return change


def without(*indices: int) -> Change:
    """Without some of its six members."""

    def change(data: bytes) -> bytes:
        starts = [*members(), len(data) - 2 * BLOCK]
        parts = [data[a:b] for a, b in pairwise(starts)]
        return b"".join(part for i, part in enumerate(parts) if i not in indices) + bytes(2 * BLOCK)

    return change


def order(*indices: int) -> Change:
    def change(data: bytes) -> bytes:
        starts = [*members(), len(data)]
        parts = [data[a:b] for a, b in pairwise(starts)]
        parts[5] = parts[5].rstrip(b"\0") + bytes(-len(parts[5].rstrip(b"\0")) % BLOCK)
        return b"".join(parts[i] for i in indices) + bytes(2 * BLOCK)

    return change


NOT_OURS = "is damaged or not ours"
TARS: dict[str, tuple[Change, str]] = {
    "nothing": (lambda data: b"", "without its end"),
    "a web page": (lambda data: b"<html>404</html>" * 64, "damaged"),
    "compressed": (gzip.compress, "damaged"),
    "Parquet": (lambda data: GOOD["parquet"], "damaged"),
    "zeros": (lambda data: bytes(10240), "0 samples"),
    "cut in a header": (lambda data: data[:100], "damaged"),
    "cut in a picture": (lambda data: data[:700], "is cut off"),
    "cut between samples": (lambda data: data[: members()[3]], "without its end"),
    "cut in the end mark": (lambda data: data[: -len(data) % 512 - 9800], ""),
    "a flipped bit in a header": (lambda data: data[:5] + b"\xff" + data[6:], "damaged"),
    "a flipped bit in a picture": (
        lambda data: data[:600] + bytes([data[600] ^ 1]) + data[601:],
        "000000000",
    ),
    "a name that climbs": (renamed(b"../../../"), "../../../"),
    "an absolute name": (renamed(b"/etc/pass"), "/etc/pass"),
    "a name with a dot": (renamed(b"00000.000"), "00000.000"),
    "a name with a line end": (renamed(b"0000\n0000"), "0000"),
    "a name that is no text": (renamed(b"\xff\xfe0000000"), "damaged header"),
    "a key twice": (lambda data: checked(data.replace(b"000000001", b"000000000")), "000000000"),
    "a hard link": (field(156, b"1"), NOT_OURS),
    "a symbolic link": (field(156, b"2"), NOT_OURS),
    "a character device": (field(156, b"3"), NOT_OURS),
    "a block device": (field(156, b"4"), NOT_OURS),
    "a folder": (field(156, b"5"), NOT_OURS),
    "a pipe": (field(156, b"6"), NOT_OURS),
    "a long name of GNU's": (field(156, b"L"), NOT_OURS),
    "a sparse file of GNU's": (field(156, b"S"), NOT_OURS),
    "an extended header": (field(156, b"x"), NOT_OURS),
    "a link with a target": (field(157, b"/etc/passwd"), NOT_OURS),
    "a setuid program": (field(100, b"0004755\0"), NOT_OURS),
    "another owner": (field(265, b"root\0\0\0"), NOT_OURS),
    "a giant size": (field(124, b"77777777777\0"), "is cut off"),
    "a giant size in binary": (field(124, b"\x80" + bytes(3) + b"\x7f" * 8), "damaged header"),
    "a negative size": (field(124, b"-0000000001\0"), NOT_OURS),
    "a size that is no number": (field(124, b"abc\0"), "damaged"),
    "a checksum that is wrong": (lambda data: data[:148] + b"000000\0 " + data[156:], NOT_OURS),
    "members of Python's": (repacked("000000000.image.png"), NOT_OURS),
    "a member that climbs, of Python's": (repacked("../../x.image.png"), NOT_OURS),
    "no mask": (without(1), "are no sample"),
    "no JSON": (without(5), "lacks members"),
    "unequal sets of members": (without(4), "lacks members"),
    "a sample too few": (without(3, 4, 5), "1 sample "),
    "a member twice": (order(0, 0, 1, 2, 3, 4, 5), "are no sample"),
    "samples in another order": (order(3, 4, 5, 0, 1, 2), "expected 2 from 000000000"),
    "the JSON of another sample": (
        text(b'"key": "000000001"', b'"key": "000000000"'),
        "does not hold the fields",
    ),
    "JSON that is none": (text(b'"key"= "000000000"', b'"key": "000000000"'), "not a whole tar"),
    "JSON that is a list": (text(b"[]", b'{"'), "not a whole tar"),
    "a seed that is none": (text(b'"seed":[]', b'"seed": 0'), "fields that are no sample's"),
    "a missing field": (text(b'"sead": 0', b'"seed": 0'), "fields that are no sample's"),
    "an uncertainty that is no number": (
        text(b'"uncertainty": NaN', b'"uncertainty": 0.5'),
        "uncertainty is nan",
    ),
}


@pytest.mark.parametrize("name", TARS)
def test_bad_tars_are_refused_and_nothing_is_extracted(name: str, folder: Path) -> None:
    change, words = TARS[name]
    data = change(TAR)
    assert data != TAR
    refused("webdataset", data, words, folder)


def table(**columns: Any) -> Change:
    """The rows with other columns; `None` stands for none."""

    def change(data: bytes) -> bytes:
        found = pq.read_table(pa.BufferReader(data))
        for name, values in columns.items():
            at = found.schema.get_field_index(name)
            found = found.drop([name]) if at >= 0 else found
            if values is not None:
                found = found.add_column(max(at, 0), name, values)
        sink = pa.BufferOutputStream()
        pq.write_table(found, sink)
        return sink.getvalue().to_pybytes()

    return change


PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def pictures(*data: bytes | None) -> pa.Array:
    return pa.array([{"bytes": each, "path": "x.png"} for each in data], PICTURE)


def footer(data: bytes) -> bytes:
    """Metadata of four gigabytes are announced."""
    return data[:-8] + struct.pack("<I", 2**32 - 1) + b"PAR1"


def flipped(data: bytes) -> bytes:
    at = data.index(b"IDAT") + 40
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


KEYS = pa.array(["000000000", "000000001"])
COLUMNS = "its columns are"
PARQUETS: dict[str, tuple[Change, str]] = {
    "nothing": (lambda data: b"", "not a whole Parquet shard"),
    "a web page": (lambda data: b"<html>404</html>", "not a whole Parquet shard"),
    "null bytes": (lambda data: bytes(len(data)), "not a whole Parquet shard"),
    "a tar": (lambda data: TAR, "not a whole Parquet shard"),
    "cut in half": (lambda data: data[: len(data) // 2], "not a whole Parquet shard"),
    "all but its last byte": (lambda data: data[:-1], "not a whole Parquet shard"),
    "only its marks": (lambda data: b"PAR1PAR1", "not a whole Parquet shard"),
    "a giant footer": (footer, "not a whole Parquet shard"),
    "a flipped bit in a picture": (flipped, ""),
    "no masks": (table(mask=None), COLUMNS),
    "no seeds": (table(seed=None), COLUMNS),
    "a column too many": (table(extra=pa.array([1, 2])), COLUMNS),
    "keys that are numbers": (table(key=pa.array([0, 1])), COLUMNS),
    "pictures without their struct": (table(image=pa.array([b"", b""])), COLUMNS),
    "short seeds": (table(seed=pa.array([0, 1], pa.int32())), COLUMNS),
    "no picture": (table(image=pictures(None, None)), "empty file"),
    "null pictures": (table(image=pa.array([None, None], PICTURE)), "empty file"),
    "null keys": (table(key=pa.array([None, None], pa.string())), "expected 2 from"),
    "null seeds": (table(seed=pa.array([None, 1], pa.int64())), "fields that are no sample's"),
    "keys of others": (table(key=pa.array(["a", "b"])), "expected 2 from 000000000"),
    "a key that climbs": (table(key=pa.array(["../../x", "b"])), "not made of letters"),
    "a key twice": (table(key=pa.array(["000000000"] * 2)), "expected 2 from 000000000"),
    "no number": (table(uncertainty=pa.array([float("nan"), 0.5], pa.float32())), "is nan"),
    "a picture that is none": (table(image=pictures(b"<html>", b"<html>")), "not a PNG"),
    "a moving picture": (
        table(
            image=pictures(
                *[
                    encoded(
                        Image.new("RGB", (8, 8)),
                        save_all=True,
                        append_images=[Image.new("RGB", (8, 8), "red")],
                    )
                ]
                * 2
            )
        ),
        "animation",
    ),
    "a bomb": (table(image=pictures(*[png(header(60_000, 60_000), END)] * 2)), "pixels"),
    "a lying size": (
        table(
            image=pictures(*[png(header(9, 9, color=2), (b"IDAT", zlib.compress(b"0")), END)] * 2)
        ),
        "damaged",
    ),
    "a grey image": (table(image=pictures(*[encoded(ids())] * 2)), "images have 3 channels"),
    "a mask in colours": (table(mask=pictures(*[encoded(noise())] * 2)), "mask is RGB, not L"),
    "a mask of another size": (table(mask=pictures(*[encoded(ids(8, 8))] * 2)), "mask (8, 8)"),
    "an unknown class": (table(mask=pictures(*[encoded(ids(value=7))] * 2)), "of 2 classes"),
}


@pytest.mark.parametrize("name", PARQUETS)
def test_bad_parquet_is_refused(name: str, folder: Path) -> None:
    change, words = PARQUETS[name]
    refused("parquet", change(GOOD["parquet"]), words, folder)


def test_the_good_shards_that_the_bad_ones_are_made_of_are_good() -> None:
    for form, data in GOOD.items():
        plan = plan_of(form)
        assert measure(plan, plan.shards()[0], {plan.shards()[0].path: data})["rows"] == 2
    assert json.loads(TAR[members()[2] + BLOCK :].partition(b"\0")[0])["key"] == "000000000"
    assert np.array_equal(pq.read_table(pa.BufferReader(GOOD["parquet"]))["key"], KEYS)
