import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.errors import DamagedShard
from factory.png import encode_png
from factory.shards import parquet
from factory.shards.columns import COLUMNS, arrow_schema
from factory.shards.parquet import encode, rows
from factory.shards.schema import Sample, encode_sample, to_fields

RUN = {"run_id": "r"}


def decode(data: bytes) -> list[Sample]:
    return [row.decoded() for row in rows(data)]


@pytest.fixture
def classes(make_plan):
    return make_plan().classes


def test_what_goes_in_comes_out(make_samples, make_encoded, classes):
    data = encode(make_encoded(5), classes, RUN)
    for put, got in zip(make_samples(5), decode(data), strict=True):
        assert got.image.tobytes() == put.image.tobytes()
        assert got.mask.tobytes() == put.mask.tobytes()
        for name in ("key", "seed", "uncertainty", "model_id"):
            assert getattr(got, name) == getattr(put, name)


def test_each_row_holds_the_fields_and_pictures_of_its_sample(make_samples, classes):
    samples = make_samples(5)
    encoded = [encode_sample(sample, len(classes)) for sample in samples]
    table = pq.read_table(pa.BufferReader(encode(encoded, classes, RUN)))
    schema = arrow_schema(classes, RUN)
    assert table.schema.equals(schema) and table.schema.metadata == schema.metadata
    assert table.to_pylist() == [
        {
            **to_fields(sample, len(classes)),
            "image": {"bytes": encode_png(sample.image), "path": f"{sample.key}.png"},
            "mask": {"bytes": encode_png(sample.mask), "path": f"{sample.key}_mask.png"},
        }
        for sample in samples
    ]


def test_same_samples_same_bytes(make_encoded, classes):
    assert encode(make_encoded(5), classes, RUN) == encode(make_encoded(5), classes, RUN)
    assert encode(make_encoded(5), classes, RUN) != encode(make_encoded(5, 1), classes, RUN)


def test_pictures_are_stored_as_they_are_and_the_rest_is_compressed(make_encoded, classes):
    file = pq.ParquetFile(pa.BufferReader(encode(make_encoded(201), classes, RUN)))
    metadata = file.metadata
    assert [metadata.row_group(i).num_rows for i in range(3)] == [100, 100, 1]
    group = metadata.row_group(0)
    columns = {c.path_in_schema: c for c in map(group.column, range(group.num_columns))}
    pictures = [columns.pop("image.bytes"), columns.pop("mask.bytes")]
    assert {c.compression for c in pictures} == {"UNCOMPRESSED"}
    assert not any(c.has_dictionary_page for c in pictures)
    assert len(columns) == len(COLUMNS) and {c.compression for c in columns.values()} == {"ZSTD"}
    assert all(c.has_offset_index for c in [*pictures, *columns.values()])


def test_large_pictures_are_fewer_in_a_row_group_and_none_is_lost(
    make_samples, make_encoded, classes, monkeypatch
):
    encoded = make_encoded(8)
    sizes = [len(each.image_png) + len(each.mask_png) for each in encoded]
    monkeypatch.setattr(parquet, "_GROUP_BYTES", sum(sizes[:3]))
    data = encode(encoded, classes, RUN)
    metadata = pq.ParquetFile(pa.BufferReader(data)).metadata
    nums = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert nums[0] == 3 and sum(nums) == 8
    starts = [sum(nums[:i]) for i in range(len(nums))]
    for start, num in zip(starts, nums, strict=True):
        assert sum(sizes[start : start + num]) <= sum(sizes[:3])
    assert [each.key for each in decode(data)] == [each.key for each in make_samples(8)]
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 1)
    assert pq.ParquetFile(pa.BufferReader(encode(encoded, classes, RUN))).num_row_groups == 8


def test_a_flipped_bit_in_a_page_is_noticed(make_encoded, classes):
    data = encode(make_encoded(20), classes, RUN)
    group = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0)
    columns = {c.path_in_schema: c for c in map(group.column, range(group.num_columns))}
    # Seeds have no checksum of their own, as a PNG has; nothing but the page's would tell.
    seeds = columns["seed"]
    end = seeds.data_page_offset + seeds.total_compressed_size
    for position in range(end - 24, end):
        flipped = bytearray(data)
        flipped[position] ^= 1
        with pytest.raises(DamagedShard):
            decode(bytes(flipped))


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_torn_file_is_noticed(make_encoded, classes, part):
    data = encode(make_encoded(3), classes, RUN)
    with pytest.raises(DamagedShard):
        decode(data[: int(len(data) * part)])


def written(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda table: pa.table({"x": [1]}),
        lambda table: table.drop_columns("labels"),
        lambda table: table.append_column("x", table["seed"]),
        lambda table: table.set_column(1, "image", table["key"]),
    ],
    ids=["foreign", "a column less", "a column more", "a column of another type"],
)
def test_a_file_with_other_columns_is_refused(make_encoded, classes, change):
    table = pq.read_table(pa.BufferReader(encode(make_encoded(2), classes, RUN)))
    assert len(decode(written(table))) == 2
    with pytest.raises(DamagedShard, match="columns"):
        decode(written(change(table)))


@pytest.mark.parametrize("lost", [None, {"bytes": None, "path": "x.png"}])
def test_a_row_without_its_picture_is_refused(make_encoded, classes, lost):
    table = pq.read_table(pa.BufferReader(encode(make_encoded(1), classes, RUN)))
    empty = table.set_column(2, "mask", pa.array([lost], table.schema.field("mask").type))
    with pytest.raises(DamagedShard, match="000000000"):
        decode(written(empty))
