import pickle
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from factory import storage
from factory.errors import UserError
from factory.shards.ledger import Ledger
from factory.shards.reader import ShardDataset, read_dataset
from factory.shards.receipts import Circumstances
from factory.shards.schema import sample_key

NUM, PER_SHARD = 20, 3
KEYS = [sample_key(i) for i in range(NUM)]
FEW_SHARDS = pytest.mark.filterwarnings("ignore:.*shards are read several times")


@pytest.fixture(params=["parquet", "webdataset"])
def url(request, tmp_path, make_plan, write_dataset) -> str:
    dataset = str(tmp_path / "out")
    write_dataset(dataset, make_plan(num=NUM, samples_per_shard=PER_SHARD, format=request.param))
    return dataset


def keys(samples) -> list[str]:
    return [sample["key"] for sample in samples]


def ranks(url, world_size, **options) -> list[ShardDataset]:
    return [
        ShardDataset(url, rank=rank, world_size=world_size, **options) for rank in range(world_size)
    ]


def test_samples_come_as_tensors_in_order(url, make_samples):
    read = list(ShardDataset(url))
    for got, put in zip(read, make_samples(NUM), strict=True):
        assert got["key"] == put.key and got["uncertainty"] == put.uncertainty
        assert got["image"].dtype == got["mask"].dtype == torch.uint8
        assert np.array_equal(got["image"].permute(1, 2, 0).numpy(), put.image)
        assert np.array_equal(got["mask"].numpy(), put.mask)


def test_samples_read_from_a_url_alike(make_plan, write_dataset):
    write_dataset("memory://reader/out", make_plan())
    assert keys(ShardDataset("memory://reader/out")) == KEYS[:7]


def test_the_uncertain_are_left_out(url, make_samples):
    kept = [sample.key for sample in make_samples(NUM) if sample.uncertainty <= 0.5]
    assert 0 < len(kept) < NUM
    assert keys(ShardDataset(url, max_uncertainty=0.5)) == kept


def test_a_share_keeps_that_many_of_the_most_certain(url, make_samples):
    certain = sorted(make_samples(NUM), key=lambda sample: sample.uncertainty)
    for keep in (0.05, 0.5, 0.8, 1):
        kept = keys(ShardDataset(url, keep=keep))
        assert kept == sorted(sample.key for sample in certain[: round(keep * NUM)])


@pytest.mark.parametrize("read", [ShardDataset, read_dataset])
def test_a_filter_that_keeps_nothing_tells_the_range(url, make_samples, read):
    least = min(sample.uncertainty for sample in make_samples(NUM))
    largest = max(sample.uncertainty for sample in make_samples(NUM))
    message = rf"keeps none of 20 pairs: they have {least:.4g} to {largest:.4g} nats.*keep=0\.8"
    with pytest.raises(UserError, match=message):
        read(url, max_uncertainty=least * 0.999)


@FEW_SHARDS
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("world_size", [1, 2, 3, 9])
def test_unequal_ranks_share_the_samples_without_overlap_or_loss(url, world_size, shuffle):
    parts = ranks(url, world_size, shuffle=shuffle, shuffle_buffer=4, equal_ranks=False)
    assert Counter(key for part in parts for key in keys(part)) == Counter(KEYS)


@FEW_SHARDS
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("world_size", [2, 3, 9])
def test_ranks_get_equally_many_samples_and_none_twice(url, world_size, shuffle):
    parts = [keys(part) for part in ranks(url, world_size, shuffle=shuffle, shuffle_buffer=4)]
    assert {len(part) for part in parts} == {NUM // world_size}
    assert max(Counter(key for part in parts for key in part).values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("filter", [{"keep": 0.6}, {"max_uncertainty": 0.3}])
@pytest.mark.parametrize(("world_size", "num_workers"), [(2, 0), (3, 2)])
def test_ranks_get_equally_many_batches_of_what_a_filter_keeps(
    url, make_samples, filter, world_size, num_workers
):
    counts = set()
    for part in ranks(url, world_size, **filter):
        batches = list(DataLoader(part, batch_size=2, num_workers=num_workers))
        counts.add((len(batches), sum(len(batch["key"]) for batch in batches)))
        assert all(batch["uncertainty"].max() <= part.bound.value for batch in batches)
    assert len(counts) == 1
    kept = sum(sample.uncertainty <= part.bound.value for sample in make_samples(NUM))
    assert abs(counts.pop()[1] - kept / world_size) <= 1.5


@FEW_SHARDS
def test_more_ranks_than_samples_are_refused(url):
    assert keys(ShardDataset(url, rank=3, world_size=20)) == [KEYS[3]]
    with pytest.raises(UserError, match=r"20 samples are fewer than 21 ranks"):
        ShardDataset(url, rank=0, world_size=21)


@FEW_SHARDS
def test_more_workers_than_shards_all_have_work(tmp_path, make_plan, write_dataset):
    dataset = str(tmp_path / "one")
    write_dataset(dataset, make_plan(num=6, samples_per_shard=6))
    read = keys(DataLoader(ShardDataset(dataset), batch_size=None, num_workers=2))
    # The loader takes from its workers in turn.
    assert read == [KEYS[i] for i in (0, 3, 1, 4, 2, 5)]


def test_ranks_are_those_of_torch_distributed_where_it_is_initialised(url, monkeypatch):
    assert keys(ShardDataset(url)) == KEYS
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    assert keys(ShardDataset(url)) == KEYS[5:10]
    assert keys(ShardDataset(url, rank=0, world_size=1)) == KEYS


@pytest.mark.parametrize(
    "options",
    [
        *({"rank": 1}, {"world_size": 2}, {"rank": 2, "world_size": 2}),
        # As the environment has them.
        *({"rank": "0", "world_size": "2"}, {"rank": 0.0, "world_size": 2.0}),
    ],
)
def test_half_of_a_rank_or_one_beyond_is_refused(url, options):
    with pytest.raises(UserError, match="from 0 to world_size - 1"):
        ShardDataset(url, **options)


@pytest.mark.slow
def test_ranks_and_loader_workers_share_the_samples_and_hear_of_epochs(url):
    loaders = []
    for rank in range(2):
        data = ShardDataset(url, rank=rank, world_size=2, shuffle=True)
        loaders.append(
            (
                data,
                DataLoader(data, batch_size=None, num_workers=2, persistent_workers=True),
            )
        )
    orders = []
    for epoch in (0, 1):
        order = []
        for data, loader in loaders:
            data.set_epoch(epoch)
            order += keys(loader)
        assert Counter(order) == Counter(KEYS)
        orders.append(order)
    assert orders[0] != orders[1]


def test_the_order_is_decided_by_seed_and_epoch(url):
    def order(seed, epoch):
        data = ShardDataset(url, shuffle=True, seed=seed, shuffle_buffer=5)
        data.set_epoch(epoch)
        return tuple(keys(data))

    assert order(0, 0) == order(0, 0)
    assert len({order(0, 0), order(0, 1), order(1, 0), tuple(KEYS)}) == 4
    assert sorted(order(0, 1)) == KEYS


def test_a_buffer_as_large_as_the_data_mixes_shards(url):
    order = keys(ShardDataset(url, shuffle=True, shuffle_buffer=NUM))
    shards = [int(key) // PER_SHARD for key in order]
    changes = sum(a != b for a, b in pairwise(shards))
    assert changes > len(set(shards)) - 1


def test_batches_collate(url):
    batch = next(iter(DataLoader(ShardDataset(url), batch_size=4)))
    assert batch["image"].shape == (4, 3, 16, 16) and batch["mask"].shape == (4, 16, 16)


def test_batches_are_as_default_batching_makes_them(url, make_samples):
    named = ["key", "labels", "class_fractions", "seed", "height", "model_id"]
    data = ShardDataset(url, columns=named, mask_dtype="int64")
    batch = next(iter(DataLoader(data, batch_size=4)))
    put = make_samples(4)
    assert set(batch) == {*named, "image", "mask"}
    assert batch["mask"].dtype == torch.int64 and 255 in batch["mask"]
    assert batch["labels"].tolist() == [(s.labels + [-1] * 3)[:3] for s in put]
    assert batch["class_fractions"].dtype == torch.float32
    assert np.allclose(batch["class_fractions"], [s.class_fractions(3) for s in put])
    assert batch["seed"].tolist() == [s.seed for s in put]
    assert batch["height"].tolist() == [16] * 4 and batch["model_id"] == ["abc123"] * 4


def test_no_column_need_come_beside_image_and_mask(url):
    assert set(next(iter(ShardDataset(url, columns=[])))) == {"image", "mask"}


def test_unknown_columns_and_types_are_refused_by_name_all_at_once(url):
    with pytest.raises(UserError) as error:
        options: dict[str, Any] = {"mask_dtype": "int32", "transform": 3}
        ShardDataset(url, columns=["keys", "image", "labels"], **options)
    unknown, always, dtype, transform = error.value.problems
    assert "'keys' is no column" in unknown and "Did you mean key?" in unknown
    assert "image always comes" in always
    assert "mask_dtype = 'int32': must be 'uint8' or 'int64'" in dtype
    assert "transform: must be a function" in transform
    wrong: Any
    for wrong in (5, None, [["key"]]):
        with pytest.raises(UserError, match="columns: must be a list of names"):
            ShardDataset(url, columns=wrong)


def mean_of(row: dict[str, Any]) -> float:
    return row["image"].float().mean().item()


def test_a_transform_makes_what_comes_of_each_dict(url, make_samples):
    means: Any = list(ShardDataset(url, transform=mean_of))
    assert np.allclose(means, [sample.image.mean() for sample in make_samples(NUM)])
    keys_alone: Any = ShardDataset(url, transform=lambda row: row["key"])
    assert list(keys_alone) == KEYS


@pytest.mark.slow
def test_a_transform_reaches_workers_that_are_started_anew(url, make_samples):
    data = ShardDataset(url, transform=mean_of)
    loader = DataLoader(data, batch_size=NUM, num_workers=1, multiprocessing_context="spawn")
    (batch,) = loader
    assert np.allclose(batch, [sample.image.mean() for sample in make_samples(NUM)])


def test_a_transform_that_cannot_reach_other_processes_is_told_by_name(url):
    data = ShardDataset(url, transform=lambda row: row)
    with pytest.raises(UserError, match=r"transform: .*lambda.* cannot be sent.*top level"):
        pickle.dumps(data)


@pytest.mark.parametrize("options", [{}, {"equal_ranks": False}, {"keep": 0.6}])
@pytest.mark.parametrize("world_size", [2, 3])
def test_the_length_is_the_number_of_samples_of_a_rank(url, world_size, options):
    for part in ranks(url, world_size, shuffle=True, **options):
        assert len(part) == len(keys(part))
    assert len(ShardDataset(url)) == NUM


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_loader_tells_how_many_batches_come_and_does_not_wonder(url, num_workers):
    loader = DataLoader(ShardDataset(url), batch_size=None, num_workers=num_workers)
    assert len(loader) == len(list(loader)) == NUM
    batches = DataLoader(ShardDataset(url), batch_size=4, num_workers=num_workers)
    assert len(batches) == 5
    # Each worker ends with a batch of its own, so that there may be more, and shorter ones.
    assert sum(len(batch["key"]) for batch in batches) == NUM


def test_the_length_of_what_a_filter_keeps_is_not_known_to_one_rank(url):
    data = ShardDataset(url, max_uncertainty=0.5)
    with pytest.raises(TypeError, match=r"samples have at most 0\.5 nats is only known when"):
        len(data)
    assert len(list(DataLoader(data, batch_size=None))) == len(keys(data)) < NUM


def test_fewer_shards_than_consumers_are_told_once(url):
    first, *others = ranks(url, 8)
    with pytest.warns(
        UserWarning, match="7 shards for 8 consumers.*are read several times"
    ) as seen:
        assert sum(len(keys(part)) for part in (first, *others)) == 16
    assert len(seen) == 1
    assert sum(len(keys(part)) for part in ranks(url, 7)) == 14


def test_unfinished_data_is_read_only_when_asked_for(tmp_path, make_plan, make_samples):
    dataset, plan = str(tmp_path / "out"), make_plan()
    Ledger(dataset, plan).start("", {})
    spec, data = plan.shard(1), plan.encode(make_samples(3, 3))
    Ledger(dataset, plan).publish(spec, {spec.path: data}, Circumstances(seconds=0.0, host=""))
    for read in (ShardDataset, read_dataset):
        with pytest.raises(UserError, match="unfinished"):
            read(dataset)
    assert keys(ShardDataset(dataset, partial=True)) == KEYS[3:6]


@pytest.mark.parametrize("options", [{}, {"keep": 0.5}, {"max_uncertainty": 0.5}])
def test_a_dataset_without_a_shard_yet_is_not_read_as_an_empty_one(tmp_path, make_plan, options):
    dataset = str(tmp_path / "out")
    Ledger(dataset, make_plan()).start("", {})
    with pytest.raises(UserError, match="none of its shards is done yet"):
        ShardDataset(dataset, partial=True, **options)


def test_a_path_is_a_place_as_well_wherever_its_readers_stand(
    tmp_path, make_plan, write_dataset, monkeypatch
):
    write_dataset(str(tmp_path / "out"), make_plan())
    assert keys(ShardDataset(tmp_path / "out")) == KEYS[:7]
    monkeypatch.chdir(tmp_path)
    data = ShardDataset("out")
    monkeypatch.chdir("/")
    assert keys(data) == KEYS[:7]
    with pytest.raises(UserError, match="keep = 2"):
        read_dataset(tmp_path / "out", keep=2)
    with pytest.raises(UserError, match="an empty path"):
        read_dataset("")


@pytest.mark.parametrize(
    ("name", "values"),
    [("seed", (-1, 1.5, True, "1")), ("shuffle_buffer", (0, 2.5, "10")), ("epoch", (-1, 0.5))],
)
def test_what_is_no_whole_number_is_refused_by_name(url, name, values):
    for value in values:
        with pytest.raises(UserError, match=f"{name} = {value!r}: must be a whole number"):
            if name == "epoch":
                ShardDataset(url).set_epoch(value)
            else:
                ShardDataset(url, shuffle=True, **{name: value})
    numpys: dict[str, Any] = {"seed": np.int64(3), "shuffle_buffer": np.int32(2)}
    assert keys(ShardDataset(url, **numpys)) == KEYS


@pytest.mark.parametrize("name", ["shuffle", "equal_ranks", "partial"])
def test_a_text_is_not_taken_for_true(url, name):
    options: dict[str, Any] = {name: "False"}
    with pytest.raises(UserError, match=f"{name} = 'False': must be True or False"):
        ShardDataset(url, **options)


def test_a_dataset_that_is_being_extended_is_read_as_it_was(
    tmp_path, make_plan, make_samples, write_dataset
):
    dataset, plan = str(tmp_path / "out"), make_plan()
    write_dataset(dataset, plan)
    larger = plan.extended(10)
    Ledger(dataset, larger).start("", {})
    spec, data = larger.shard(3), larger.encode(make_samples(3, 7))
    Ledger(dataset, larger).publish(spec, {spec.path: data}, Circumstances(seconds=0, host=""))
    assert keys(ShardDataset(dataset)) == KEYS[:7]
    assert keys(ShardDataset(dataset, keep=1)) == KEYS[:7]
    assert keys(ShardDataset(dataset, partial=True)) == KEYS[:10]


def test_no_dataset_is_told_so(tmp_path):
    for read in (ShardDataset, read_dataset):
        with pytest.raises(UserError, match="holds no dataset"):
            read(str(tmp_path))


def test_a_damaged_or_lost_shard_is_never_read_as_if_whole(url):
    data = ShardDataset(url)
    shard = f"{url}/{data.receipts[1].path}"
    content = bytearray(storage.read_bytes(shard))
    content[len(content) // 2] ^= 1
    storage.write(shard, bytes(content))
    with pytest.raises(UserError, match=r"damaged.*repair"):
        list(data)
    storage.filesystem(shard)[0].rm_file(shard)
    with pytest.raises(UserError, match=r"missing.*repair"):
        list(data)
