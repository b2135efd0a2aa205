import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from moto.backends import get_backend
from pydantic import ValidationError

from factory import storage
from factory.errors import DamagedShard, Incomplete, ShardConflict, UserError
from factory.shards.layout import HARDWARE, receipt_name, to_json
from factory.shards.ledger import Ledger
from factory.shards.manifest import known_files, root_of
from factory.shards.plan import Plan
from factory.shards.reading import read_manifest, read_plan, read_receipts
from factory.shards.receipts import Circumstances, Hardware
from factory.storage import files as storage_files
from factory.storage import listings


@pytest.fixture
def plan(make_plan) -> Plan:
    return make_plan()


@pytest.fixture
def encode(make_samples):
    def encode(plan, spec):
        return plan.encode(make_samples(spec.stop - spec.start, spec.start))

    return encode


def resolve(url, plan, extend=False):
    return Ledger.resolve(url, plan, extend).plan


def start(url, plan, config="a: 1\n"):
    Ledger.resolve(url, plan, bool(plan.extended_from)).start(config, {"python": "3"})


def put(url, plan, spec, data, replace=False, **changes):
    circumstances = Circumstances(**{"seconds": 1.0, "host": "here", **changes})
    return Ledger(url, plan).publish(spec, {spec.path: data}, circumstances, replace)


def pending(url, plan):
    return list(map(plan.shard, Ledger(url, plan).pending()))


def finish(url, plan, description="", license="mit", **more):
    return Ledger(url, plan).finish(description, license, **more)


def files(url):
    return {
        file.removeprefix(url): storage.read_bytes(file)
        for file in storage.list_files(url, recursive=True)
    }


# The plan


@pytest.mark.parametrize(
    ("num", "per_shard", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (1, 100, [1])]
)
def test_shards_cover_every_sample_once(make_plan, num, per_shard, sizes):
    plan = make_plan(num=num, samples_per_shard=per_shard)
    indices = [i for spec in plan.shards() for i in range(spec.start, spec.stop)]
    assert indices == list(range(num))
    assert [spec.stop - spec.start for spec in plan.shards()] == sizes


def test_shards_are_named_as_consumers_expect(make_plan):
    assert make_plan().shard(0).path == "data/train-00000.parquet"
    assert make_plan(format="webdataset").shard(2).path == "data/train-00002.tar"


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_names_sort_as_numbers_up_to_the_last(make_plan, format):
    for num in (100_000, 100_001, 1_000_000):
        plan = make_plan(num=num, samples_per_shard=1, format=format)
        numbers = (0, 9, 10, 99, 100, 9_999, 10_000, 99_999, 100_000, num - 1)
        paths = [plan.shard(i).path for i in numbers if i < num]
        assert paths == sorted(paths)
    with pytest.raises(ValidationError, match="makes more than 1,000,000 shards"):
        make_plan(num=1_000_001, samples_per_shard=1, format=format)


def test_an_extension_that_would_need_longer_names_is_refused_and_a_shorter_one_keeps_them(
    make_plan, url
):
    plan = make_plan(num=100_000 - 2, samples_per_shard=1)
    assert plan.extended(100_000).shard(99_999).path == "data/train-99999.parquet"
    start(url, plan)
    with pytest.raises(UserError, match=r"extended to 100,001 pairs: a dataset that began with 9"):
        resolve(url, make_plan(num=100_001, samples_per_shard=1), extend=True)
    grown = make_plan(num=100_001, samples_per_shard=1).extended(200_000)
    assert grown.shard(0).path == "data/train-000000.parquet"


def test_an_extended_plan_keeps_its_first_shards_and_its_samples(make_plan):
    plan = make_plan()
    grown = plan.extended(8).extended(13)
    assert grown.shards()[:3] == plan.shards() and grown.run_id == plan.run_id
    assert [(s.start, s.stop) for s in grown.shards()[3:]] == [(7, 8), (8, 11), (11, 13)]
    assert Plan.model_validate_json(grown.model_dump_json()) == grown
    assert make_plan(num=6).extended(12).shards() == make_plan(num=12).shards()
    for num in (7, 6):
        with pytest.raises(ValidationError, match="grows"):
            plan.extended(num)


def test_a_plan_equals_itself_after_a_trip_through_a_file(plan):
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert Plan.model_validate_json(plan.model_dump_json()).run_id == plan.run_id


def test_every_setting_changes_the_run_id_and_their_order_does_not(make_plan):
    changes: list[dict[str, object]] = [
        {},
        {"samples_per_shard": 4},
        {"format": "webdataset"},
        {"class_names": ("a", "b", "c")},
        {"palette": ((0, 0, 0), (255, 0, 0), (0, 255, 1))},
        {"recipe": {"seed": 0}},
        {"recipe": {"seed": 0.0}},
    ]
    assert len({make_plan(**change).run_id for change in changes}) == len(changes)
    assert make_plan(num=8).run_id == make_plan().run_id
    one, other = make_plan(recipe={"a": 1, "b": 2}), make_plan(recipe={"b": 2, "a": 1})
    assert one.run_id == other.run_id


@pytest.mark.parametrize(
    "change",
    [
        {"num": 0},
        {"recipe": {"x": float("nan")}},
        {"recipe": {"x": object()}},
        {"class_names": ("a",)},
        {"palette": ((0, 0, 256),) * 3},
        {"unknown": 1},
        {"recipe": {"val_fraction": 0}},
        {"recipe": {"val_fraction": 1.0}},
        {"recipe": {"val_fraction": "0.1"}},
        {"recipe": {"val_fraction": None}},
    ],
)
def test_a_plan_that_cannot_be_kept_is_refused(make_plan, change):
    with pytest.raises(ValidationError):
        make_plan(**change)


# Start


def test_a_new_place_is_claimed_and_an_equal_plan_resumes(url, plan):
    start(url, plan)
    before = files(url)
    assert set(before) == {
        "/_factory/run.json",
        "/_factory/config.yaml",
        "/_factory/env.json",
    }
    start(url, plan, "changed")
    assert files(url) == before
    assert read_plan(url) == plan


def test_another_plan_is_refused_with_the_difference(url, plan, make_plan):
    start(url, plan)
    before = files(url)
    recipe = {"seed": 1, "sampler": {"name": "ddim", "timesteps": [1]}}
    for refuse in (start, resolve):
        with pytest.raises(UserError) as caught:
            refuse(url, make_plan(num=8, recipe=recipe))
        lines = str(caught.value).splitlines()
        assert url in lines[0] and "--out" in lines[0]
        assert lines[1:] == [
            "  num: there 7, here 8",
            "  recipe.sampler.timesteps.1: there 2, here nothing",
            "  recipe.seed: there 0, here 1",
        ]
    assert files(url) == before


def test_a_setting_of_another_type_is_another_plan(url, make_plan):
    start(url, make_plan(recipe={"eta": 1}))
    with pytest.raises(UserError, match=r"recipe\.eta: there 1, here 1\.0"):
        start(url, make_plan(recipe={"eta": 1.0}))


def test_resolving_a_plan_writes_nothing(url, plan):
    assert resolve(url, plan) == plan
    assert files(url) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"num": 1}', b"[]"])
def test_a_damaged_plan_is_refused_and_kept(url, plan, content):
    storage.write(f"{url}/_factory/run.json", content)
    for refuse in (lambda: start(url, plan), lambda: read_plan(url)):
        with pytest.raises(UserError, match=r"run\.json.*damaged"):
            refuse()
    assert files(url) == {"/_factory/run.json": content}


def test_foreign_data_is_never_mixed_with_ours(url, plan):
    storage.write(f"{url}/data/train-00000-of-00001.parquet", b"precious")
    with pytest.raises(UserError, match="holds other files"):
        start(url, plan)
    assert len(files(url)) == 1


@pytest.mark.parametrize("name", ["README.md", "photo.jpg", "sub/photo.jpg"])
def test_a_dataset_is_not_begun_among_files_of_other_people(url, plan, name):
    storage.write(f"{url}/{name}", b"precious")
    with pytest.raises(UserError, match=rf"holds other files \({name}\).*Choose another --out"):
        start(url, plan)
    assert files(url) == {f"/{name}": b"precious"}


@pytest.mark.parametrize(
    ("num", "remedy"), [(6, r"holds a dataset of 7 pairs, 6 .*--num 7"), (9, r"7 .*9 .*--extend")]
)
def test_another_number_of_pairs_is_refused_with_what_to_do(url, plan, make_plan, num, remedy):
    start(url, plan)
    before = files(url)
    for refuse in (start, resolve):
        with pytest.raises(UserError, match=remedy):
            refuse(url, make_plan(num=num))
    assert files(url) == before


def test_a_dataset_grows_by_the_shards_that_are_missing(url, plan, make_plan, encode):
    start(url, plan)
    for spec in plan.shards():
        put(url, plan, spec, encode(plan, spec))
    root = finish(url, plan, "", "mit").root
    before = files(url)
    grown = resolve(url, make_plan(num=12), extend=True)
    assert files(url) == before and grown == plan.extended(12)
    start(url, grown)
    assert read_plan(url) == grown == resolve(url, make_plan(num=12))
    assert read_manifest(url).root == root  # what was whole can be read meanwhile
    missing = pending(url, grown)
    assert missing == grown.shards()[3:]
    for spec in missing:
        put(url, grown, spec, encode(grown, spec))
    manifest = finish(url, grown, "", "mit")
    assert read_manifest(url) == manifest and manifest.rows == 12
    after = files(url)
    assert {name: after[name] for name in before if "/data/" in name or "/shards/" in name} == {
        name: content for name, content in before.items() if "/data/" in name or "/shards/" in name
    }
    assert resolve(url, make_plan(num=20), extend=True).extended_from == (7, 12)


def test_a_shard_that_was_altered_in_an_unfinished_run_is_not_sealed(url, plan, encode) -> None:
    start(url, plan)
    for spec in plan.shards():
        put(url, plan, spec, encode(plan, spec))
    shard = storage.join(url, plan.shard(1).path)
    original = storage.read_bytes(shard)
    storage.write(shard, original[:-9] + b"x" + original[-8:])
    with pytest.raises(Incomplete, match=r"1 of 3 shards are missing or altered: .*train-00001"):
        finish(url, plan, "", "mit", proven=[0, 2])
    assert not storage.exists(storage.join(url, "_SUCCESS"))
    storage.write(shard, original)
    finish(url, plan, "", "mit")


def test_full_shards_extended_are_those_of_the_larger_dataset(tmp_path, make_plan, encode):
    small, large = make_plan(num=6), make_plan(num=9)
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    for url, plans in ((one, [small, large]), (other, [large])):
        for plan in plans:
            there = resolve(url, plan, extend=True)
            start(url, there)
            for spec in pending(url, there):
                put(url, there, spec, encode(there, spec))
            root = finish(url, there, "", "mit").root
    assert root == read_manifest(one).root
    assert {n: c for n, c in files(one).items() if "/data/" in n} == {
        n: c for n, c in files(other).items() if "/data/" in n
    }


def test_a_run_that_was_overtaken_by_an_extension_does_not_finish(url, plan, make_plan, encode):
    start(url, plan)
    for spec in plan.shards():
        put(url, plan, spec, encode(plan, spec))
    start(url, resolve(url, make_plan(num=12), extend=True))
    before = files(url)
    with pytest.raises(UserError, match="12 pairs, 7 are asked for"):
        finish(url, plan, "", "mit")
    assert files(url) == before


@pytest.mark.parametrize("content", [b"", b'{"num": 7}', b'{"num": 3}', b'{"number": 9}'])
def test_a_damaged_extension_is_refused_by_name(url, plan, content):
    start(url, plan)
    storage.write(f"{url}/_factory/extensions/00001.json", content)
    with pytest.raises(UserError, match=r"extensions/00001\.json.*damaged"):
        read_plan(url)


def test_a_lost_plan_of_a_finished_dataset_asks_for_a_repair(url, plan, write_anew):
    write_anew(url, plan)
    storage.remove(f"{url}/_factory/run.json")
    with pytest.raises(UserError, match="factory repair"):
        resolve(url, plan)


def test_runs_of_one_plan_may_start_at_once(url, plan):
    gate = Barrier(8)

    def begin(i):
        gate.wait()
        start(url, plan, f"a: {i}\n")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, range(8)))
    assert read_plan(url) == plan
    assert files(url)["/_factory/config.yaml"] in [f"a: {i}\n".encode() for i in range(8)]


# Shards and receipts


def test_a_receipt_tells_the_shard(url, plan, encode, make_samples):
    start(url, plan)
    spec = plan.shard(1)
    data = encode(plan, spec)
    receipt = put(url, plan, spec, data, redrawn=2)
    samples = make_samples(3, 3)
    assert storage.read_bytes(f"{url}/{spec.path}") == data
    assert receipt.sha256 == hashlib.sha256(data).hexdigest() and receipt.bytes == len(data)
    assert (receipt.rows, receipt.first_key, receipt.last_key) == (
        3,
        "000000003",
        "000000005",
    )
    assert receipt.class_pixels == [
        sum(int((s.mask == i).sum()) for s in samples) for i in range(3)
    ]
    assert receipt.uncertainty_max == max(s.uncertainty for s in samples)
    assert receipt.uncertainty_mean == pytest.approx(sum(s.uncertainty for s in samples) / 3)
    assert (receipt.redrawn, receipt.seconds, receipt.host) == (2, 1.0, "here")
    assert read_receipts(url) == {1: receipt}


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_pending_are_the_shards_without_a_receipt(url, make_plan, encode, format):
    plan = make_plan(format=format)
    start(url, plan)
    assert pending(url, plan) == plan.shards()
    put(url, plan, plan.shard(1), encode(plan, plan.shard(1)))
    assert pending(url, plan) == [plan.shard(0), plan.shard(2)]


@pytest.mark.parametrize("lost", ["data", "_factory/shards"])
@pytest.mark.parametrize("how", [storage.remove, lambda url: storage.write(url, b"")])
def test_a_lost_or_empty_shard_or_receipt_is_pending(url, plan, encode, lost, how):
    start(url, plan)
    for spec in plan.shards():
        put(url, plan, spec, encode(plan, spec))
    how(storage.list_files(f"{url}/{lost}")[1])
    assert pending(url, plan) == [plan.shard(1)]


def test_pending_costs_two_listings_and_no_reading(url, plan, encode, monkeypatch):
    start(url, plan)
    put(url, plan, plan.shard(1), encode(plan, plan.shard(1)))
    calls = []
    names = {"list_files": listings, "entries": listings, "exists": storage_files}
    for name, module in {**names, "read_bytes": storage_files}.items():
        original = getattr(module, name)
        monkeypatch.setattr(
            module,
            name,
            lambda file, *args, name=name, original=original, **kw: (
                calls.append(name),
                original(file, *args, **kw),
            )[1],
        )
    pending(url, plan)
    assert calls == ["entries", "entries"]


BAD_RECEIPTS = {
    "empty": lambda content: b"",
    "torn": lambda content: json.dumps(content).encode()[:-9],
    "binary": lambda content: b"\xff\x00",
    "other run": lambda content: json.dumps({**content, "run_id": "0" * 12}).encode(),
    "other shard": lambda content: json.dumps({**content, "shard": 0}).encode(),
    "no such shard": lambda content: json.dumps({**content, "shard": 99}).encode(),
    "other rows": lambda content: json.dumps({**content, "rows": 2}).encode(),
    "more drawn again": lambda content: to_json({**content, "redrawn": 7}),
    "other pixels": lambda content: to_json(
        {**content, "class_pixels": [9, *content["class_pixels"][1:]]}
    ),
    "other hash": lambda content: json.dumps({**content, "sha256": "0" * 64}).encode(),
}


@pytest.mark.parametrize("bad", BAD_RECEIPTS)
def test_a_bad_receipt_is_found_when_the_run_finishes_and_is_replaced(url, plan, encode, bad):
    start(url, plan)
    receipts = [put(url, plan, spec, encode(plan, spec)) for spec in plan.shards()]
    name = f"{url}/_factory/shards/00001.json"
    storage.write(name, BAD_RECEIPTS[bad](json.loads(storage.read_bytes(name))))
    if bad != "other hash":
        with pytest.raises(Incomplete) as caught:
            finish(url, plan, "", "mit")
        assert caught.value.shards == [1]
    spec = plan.shard(1)
    assert put(url, plan, spec, encode(plan, spec)) == receipts[1]
    assert finish(url, plan, "", "mit").receipts == receipts


def test_foreign_files_among_the_receipts_are_passed_over(url, plan):
    start(url, plan)
    for name in ("notes.json", "1.json", "00007.json.bak"):
        storage.write(f"{url}/_factory/shards/{name}", b"{}")
    assert pending(url, plan) == plan.shards()


def test_a_lost_receipt_readopts_the_shard_without_rewriting_it(url, plan, encode, monkeypatch):
    start(url, plan)
    spec = plan.shard(0)
    storage.write_new(f"{url}/{spec.path}", encode(plan, spec))
    written = []
    for name in ("write", "write_new"):
        original = getattr(storage_files, name)
        monkeypatch.setattr(
            storage_files,
            name,
            lambda file, data, original=original: (
                original(file, data),
                written.append(file),
            ),
        )
    put(url, plan, spec, encode(plan, spec))
    assert written == [f"{url}/_factory/shards/00000.json"]
    assert spec not in pending(url, plan)


def test_the_first_receipt_stands(url, plan, encode):
    start(url, plan)
    spec = plan.shard(0)
    first = put(url, plan, spec, encode(plan, spec), host="first", seconds=1.0)
    assert put(url, plan, spec, encode(plan, spec), host="second", seconds=2.0) == first


def test_other_bytes_at_a_shards_name_raise_and_stay(url, plan, encode):
    start(url, plan)
    spec = plan.shard(0)
    data = encode(plan, spec)
    storage.write_new(f"{url}/{spec.path}", b"other")
    with pytest.raises(ShardConflict) as caught:
        put(url, plan, spec, data)
    for content in (b"other", data):
        assert hashlib.sha256(content).hexdigest() in str(caught.value)
    assert storage.read_bytes(f"{url}/{spec.path}") == b"other"
    assert spec in pending(url, plan)


def test_a_repair_replaces_other_bytes(url, plan, encode):
    start(url, plan)
    spec = plan.shard(0)
    data = encode(plan, spec)
    storage.write_new(f"{url}/{spec.path}", b"other")
    receipt = put(url, plan, spec, data, replace=True)
    assert storage.read_bytes(f"{url}/{spec.path}") == data
    storage.write(f"{url}/{spec.path}", data[:-1])
    assert put(url, plan, spec, data, replace=True) == receipt
    assert storage.read_bytes(f"{url}/{spec.path}") == data


@pytest.mark.parametrize("there", [b"other", None])
def test_bytes_that_a_receipt_is_not_for_are_never_written(url, plan, make_samples, encode, there):
    start(url, plan)
    spec = plan.shard(0)
    put(url, plan, spec, encode(plan, spec))
    if there is None:
        storage.remove(f"{url}/{spec.path}")
    else:
        storage.write(f"{url}/{spec.path}", there)
    before = files(url)
    changed = [replace(sample, seed=sample.seed ^ 1) for sample in make_samples(3)]
    for repairs in (False, True):
        with pytest.raises(ShardConflict, match="receipt is for other bytes"):
            put(url, plan, spec, plan.encode(changed), replace=repairs)
    assert files(url) == before


OLD_GPU, NEW_GPU = {"gpu": "NVIDIA L4", "cuda": "12.6"}, {"gpu": "NVIDIA H100", "cuda": "12.6"}
BOTH_SIDES = 'gpu: there "NVIDIA L4", here "NVIDIA H100"'


def test_a_conflict_with_a_receipt_names_what_either_side_was_made_with(
    url, plan, make_samples, encode
):
    start(url, plan)
    spec = plan.shard(0)
    put(url, plan, spec, encode(plan, spec), made_with=OLD_GPU)
    changed = plan.encode([replace(sample, seed=sample.seed ^ 1) for sample in make_samples(3)])
    with pytest.raises(ShardConflict) as caught:
        put(url, plan, spec, changed, made_with=NEW_GPU)
    assert BOTH_SIDES in str(caught.value) and "cuda" not in str(caught.value)
    with pytest.raises(ShardConflict, match="of the same names as here"):
        put(url, plan, spec, changed, made_with=OLD_GPU)


def test_a_conflict_with_a_shard_without_receipt_names_what_the_dataset_was_begun_with(
    url, plan, encode
):
    start(url, plan)
    spec = plan.shard(0)
    storage.write_new(f"{url}/{spec.path}", b"other")
    with pytest.raises(ShardConflict, match="Nothing tells what hardware made it"):
        put(url, plan, spec, encode(plan, spec), made_with=NEW_GPU)
    Ledger(url, plan).claim_hardware(Hardware(probe="0", made_with=OLD_GPU, host="node"))
    with pytest.raises(ShardConflict) as caught:
        put(url, plan, spec, encode(plan, spec), made_with=NEW_GPU)
    assert BOTH_SIDES in str(caught.value)


def test_an_altered_shard_is_called_altered_whatever_made_it(url, plan, encode):
    start(url, plan)
    spec = plan.shard(0)
    put(url, plan, spec, encode(plan, spec), made_with=OLD_GPU)
    storage.write(f"{url}/{spec.path}", b"other")
    with pytest.raises(ShardConflict, match="the file was altered: `factory repair`"):
        put(url, plan, spec, encode(plan, spec), made_with=NEW_GPU)


def test_what_made_a_shard_is_in_its_receipt_but_not_in_the_root(url, plan, encode):
    start(url, plan)
    receipts = [
        put(url, plan, spec, encode(plan, spec), made_with=NEW_GPU) for spec in plan.shards()
    ]
    manifest = finish(url, plan, "", "other")
    assert all(receipt.made_with == NEW_GPU for receipt in manifest.receipts)
    without = [receipt.model_copy(update={"made_with": None}) for receipt in receipts]
    assert manifest.root == root_of(without)
    assert receipts[0].seal == without[0].seal


def test_first_hardware_is_kept_word_for_word_in_the_manifest(url, plan, encode):
    start(url, plan)
    Ledger(url, plan).claim_hardware(Hardware(probe="0", made_with=OLD_GPU, host="node"))
    for spec in plan.shards():
        put(url, plan, spec, encode(plan, spec))
    manifest = finish(url, plan, "", "other")
    assert known_files(manifest)[HARDWARE] == storage.read_bytes(f"{url}/{HARDWARE}")


def test_a_shard_cut_short_does_not_count(url, plan, encode):
    start(url, plan)
    for spec in plan.shards():
        put(url, plan, spec, encode(plan, spec))
    name = f"{url}/{plan.shard(2).path}"
    storage.write(name, storage.read_bytes(name)[:-1])
    with pytest.raises(Incomplete, match=r"1 of 3 .*train-00002"):
        finish(url, plan, "", "mit")


def test_of_concurrent_publishers_one_wins_and_none_fails(url, plan, encode):
    start(url, plan)
    spec = plan.shard(0)
    data = encode(plan, spec)
    gate = Barrier(8)

    def attempt(i):
        gate.wait()
        return put(url, plan, spec, data, host=f"host{i}")

    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(attempt, range(8)))
    assert len({receipt.host for receipt in receipts}) == 1
    assert read_receipts(url) == {0: receipts[0]}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda plan, samples: plan.encode(samples[:-1]),
        lambda plan, samples: plan.encode(samples[::-1]),
        lambda plan, samples: plan.encode([*samples[:-1], samples[0]]),
        lambda plan, samples: plan.encode(
            [replace(samples[0], uncertainty=float("inf")), *samples[1:]]
        ),
        lambda plan, samples: plan.encode([replace(samples[0], mask=samples[0].mask[:8])]),
        lambda plan, samples: plan.encode(samples)[:-1],
        lambda plan, samples: b"",
    ],
    ids=["short", "reversed", "doubled", "infinite", "misshapen", "torn", "empty"],
)
def test_bytes_that_break_the_plan_are_not_published(url, plan, make_samples, spoil):
    start(url, plan)
    before = files(url)
    with pytest.raises(DamagedShard):
        put(url, plan, plan.shard(0), spoil(plan, make_samples(3)))
    assert files(url) == before


def test_a_failure_while_encoding_leaves_nothing(url, plan, make_samples):
    start(url, plan)
    before = files(url)
    unknown = [replace(s, mask=s.mask * 0 + 77) for s in make_samples(3)]
    with pytest.raises(DamagedShard, match="77"):
        put(url, plan, plan.shard(0), plan.encode(unknown))
    assert files(url) == before


# Finish


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_a_finished_dataset_has_everything(url, make_plan, write_anew, format):
    plan = make_plan(format=format)
    write_anew(url, plan)
    written = files(url)
    assert set(written) >= {
        "/README.md",
        "/_SUCCESS",
        "/id2label.json",
        "/label2id.json",
        "/palette.json",
        "/_factory/manifest.json",
        *(f"/{spec.path}" for spec in plan.shards()),
    }
    manifest = read_manifest(url)
    summary = written["/_factory/manifest.json"]
    assert json.loads(written["/_SUCCESS"]) == {
        "run_id": plan.run_id,
        "rows": 7,
        "root": manifest.root,
        "manifest_sha256": hashlib.sha256(summary).hexdigest(),
    }
    small = {
        n[1:]: hashlib.sha256(c).hexdigest() for n, c in written.items() if n[1:] in manifest.files
    }
    assert manifest.files == small and len(small) == 7
    assert (manifest.plan, manifest.config_yaml) == (plan, "num: 7\n")
    assert [receipt.shard for receipt in manifest.receipts] == [0, 1, 2]
    assert json.loads(written["/id2label.json"]) == plan.classes.id2label
    assert json.loads(written["/label2id.json"])["nuclei ä"] == 2
    assert json.loads(written["/palette.json"])[1] == [255, 0, 0]


def test_success_comes_last(url, plan, write_anew, monkeypatch):
    written = []
    original = storage.write
    monkeypatch.setattr(
        storage_files, "write", lambda file, data: (original(file, data), written.append(file))
    )
    write_anew(url, plan)
    assert written[-1] == f"{url}/_SUCCESS" and len(written) == 6


def test_finishing_again_changes_nothing(url, plan, write_anew):
    write_anew(url, plan)
    before = files(url)
    finish(url, plan, "A test.", "cc0-1.0")
    assert files(url) == before


def test_the_root_tells_content_and_not_circumstance(tmp_path, plan, encode, make_samples):
    roots = []
    for i, shift in enumerate((0, 0, 1)):
        url = str(tmp_path / str(i))
        start(url, plan)
        for spec in reversed(plan.shards()):
            samples = make_samples(spec.stop - spec.start, spec.start)
            samples = [replace(sample, seed=sample.seed ^ shift) for sample in samples]
            put(url, plan, spec, plan.encode(samples), host=f"host{i}", seconds=float(i))
        roots.append(finish(url, plan, "", "mit").root)
    assert roots[0] == roots[1] != roots[2]


def test_a_missing_shard_is_named_and_nothing_is_finished(url, plan, encode):
    start(url, plan)
    for shard in (0, 2):
        put(url, plan, plan.shard(shard), encode(plan, plan.shard(shard)))
    before = files(url)
    with pytest.raises(Incomplete, match=r"1 of 3 .*train-00001"):
        finish(url, plan, "", "mit")
    assert files(url) == before
    with pytest.raises(UserError, match="unfinished, 2 of 3"):
        read_manifest(url)


def test_a_place_without_a_dataset_is_told_so(url):
    for read in (read_plan, read_receipts, read_manifest):
        with pytest.raises(UserError, match="holds no dataset"):
            read(url)


def test_an_altered_manifest_is_noticed(url, plan, write_anew):
    write_anew(url, plan)
    name = f"{url}/_factory/manifest.json"
    content = json.loads(storage.read_bytes(name))
    content["receipts"][0]["sha256"] = "0" * 64
    storage.write(name, json.dumps(content).encode())
    with pytest.raises(UserError, match="altered"):
        read_manifest(url)


@pytest.mark.slow
def test_the_package_needs_no_ray():
    code = "import factory.shards.reader, sys; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_what_to_resume_is_decided_by_pages_of_listings_alone(make_plan, s3_bucket) -> None:
    plan, url = make_plan(num=2500, samples_per_shard=1), f"{s3_bucket}/many"
    store = get_backend("s3")["123456789012"]["aws"]
    for spec in plan.shards():
        for name in (spec.path, receipt_name(spec.shard)):
            store.put_object("factory", f"many/{name}", b"x")
    asked: list[str] = []
    fs, _ = storage.filesystem(url)
    assert fs.exists(url)
    events = fs.s3.meta.events

    def note(model, **_) -> None:
        asked.append(model.name)

    events.register("before-call.s3", note)
    try:
        assert pending(url, plan) == []
    finally:
        events.unregister("before-call.s3", note)
    # Of 1,000 names each, as S3 has them.
    assert asked == ["ListObjectsV2"] * 2 * 3
