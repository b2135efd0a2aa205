import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.shards.parquet import decode, encode
from factory.shards.schema import DamagedShard

RUN = {"run_id": "r"}


@pytest.fixture
def classes(make_plan):
    return make_plan().classes


def test_what_goes_in_comes_out(make_samples, classes):
    samples = make_samples(5)
    for put, got in zip(samples, decode(encode(samples, classes, RUN)), strict=True):
        assert got.image.tobytes() == put.image.tobytes()
        assert got.mask.tobytes() == put.mask.tobytes()
        for name in ("key", "seed", "uncertainty", "model_id"):
            assert getattr(got, name) == getattr(put, name)


def test_same_samples_same_bytes(make_samples, classes):
    assert encode(make_samples(5), classes, RUN) == encode(make_samples(5), classes, RUN)
    assert encode(make_samples(5), classes, RUN) != encode(make_samples(5, 1), classes, RUN)


def test_pictures_are_stored_as_they_are_and_the_rest_is_compressed(make_samples, classes):
    file = pq.ParquetFile(pa.BufferReader(encode(make_samples(201), classes, RUN)))
    metadata = file.metadata
    assert [metadata.row_group(i).num_rows for i in range(3)] == [100, 100, 1]
    group = metadata.row_group(0)
    columns = {c.path_in_schema: c for c in map(group.column, range(group.num_columns))}
    pictures = [columns.pop("image.bytes"), columns.pop("mask.bytes")]
    assert {c.compression for c in pictures} == {"UNCOMPRESSED"}
    assert not any(c.has_dictionary_page for c in pictures)
    assert len(columns) == 10 and {c.compression for c in columns.values()} == {"ZSTD"}
    assert all(c.has_offset_index for c in [*pictures, *columns.values()])


def test_a_flipped_bit_in_a_page_is_noticed(make_samples, classes):
    data = encode(make_samples(20), classes, RUN)
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
def test_a_torn_file_is_noticed(make_samples, classes, part):
    data = encode(make_samples(3), classes, RUN)
    with pytest.raises(DamagedShard):
        decode(data[: int(len(data) * part)])


def test_a_foreign_file_is_noticed():
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1]}), sink)
    with pytest.raises(DamagedShard):
        decode(sink.getvalue().to_pybytes())


def test_unknown_ids_are_never_written(make_samples, make_plan):
    two = make_plan(class_names=("a", "b"), palette=((0, 0, 0), (1, 1, 1))).classes
    with pytest.raises(DamagedShard, match="000000000"):
        encode(make_samples(1), two, RUN)
