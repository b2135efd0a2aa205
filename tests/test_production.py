"""Claims about factory.production: one shard from noise to storage, without Ray."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from factory import production, storage
from factory.config import Config
from factory.production import CALLS_AT_ONCE, ShardMaker
from factory.shards.ledger import pending_shards, start_run
from factory.shards.plan import Plan, ShardSpec
from factory.synthesis import Synthesizer, load_models, make_plan

Make = Callable[[str], ShardMaker]


@pytest.fixture
def make(tiny_config: Callable[..., Config], tmp_path: Path) -> Make:
    """Makers of one plan, each at a place of its own."""
    config = tiny_config()

    def make(place: str) -> ShardMaker:
        models = load_models(config)
        plan = make_plan(config, models)
        url = str(tmp_path / place)
        start_run(url, plan, "", {})
        return ShardMaker(Synthesizer(models, plan), plan, url)

    return make


def bytes_of(maker: ShardMaker, spec: ShardSpec) -> bytes:
    return storage.read_bytes(storage.join(maker.url, spec.path))


def test_a_made_shard_lies_there_with_its_receipt(make: Make) -> None:
    maker, numbers = make("one"), []
    spec = maker.plan.shard(1)
    receipt = maker.make(spec, numbers.append)
    assert sum(numbers) == receipt.rows == spec.stop - spec.start
    assert spec not in pending_shards(maker.url, maker.plan)
    samples = list(make("other").synthesizer.samples(spec))
    assert bytes_of(maker, spec) == maker.plan.encode(samples)


def test_shards_made_at_once_are_those_made_one_by_one(make: Make) -> None:
    together, alone = make("together"), make("alone")
    specs = together.plan.shards()[:6]
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        receipts = list(pool.map(together.make, specs))
    for spec, receipt in zip(specs, receipts, strict=True):
        assert alone.make(spec).content == receipt.content
        assert bytes_of(alone, spec) == bytes_of(together, spec)


def test_one_shard_is_sampled_while_the_one_before_is_published(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, second_begun = make("one"), threading.Event()
    publish = production.publish

    def waits_for_the_second(url: str, plan: Plan, spec: ShardSpec, *rest: Any, **more: Any) -> Any:
        assert spec.shard == 1 or second_begun.wait(60), "nothing was sampled meanwhile"
        return publish(url, plan, spec, *rest, **more)

    monkeypatch.setattr(production, "publish", waits_for_the_second)
    first, second = maker.plan.shard(0), maker.plan.shard(1)
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        one = pool.submit(maker.make, first)
        other = pool.submit(maker.make, second, begins=second_begun.set)
        assert (one.result().shard, other.result().shard) == (0, 1)
    assert maker.occupation.sampling > 0 and 0 <= maker.occupation.waiting_share < 1


def test_two_shards_are_never_sampled_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    maker, inside, most = make("one"), [], []
    samples = maker.synthesizer.samples

    def counted(spec: ShardSpec, *rest: Any) -> Any:
        inside.append(spec)
        most.append(len(inside))
        yield from samples(spec, *rest)
        inside.remove(spec)

    monkeypatch.setattr(maker.synthesizer, "samples", counted)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(maker.make, maker.plan.shards()[:5]))
    assert most == [1] * 5


def test_a_write_that_fails_is_tried_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    maker, publish, tries = make("one"), production.publish, []

    def flaky(*rest: Any, **more: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("503")
        return publish(*rest, **more)

    monkeypatch.setattr(production, "publish", flaky)
    monkeypatch.setattr(production.time, "sleep", lambda seconds: None)
    assert maker.make(maker.plan.shard(0)).rows == 4 and len(tries) == 3


def test_a_storage_that_never_takes_it_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    maker, tries = make("one"), []

    def never(*rest: Any, **more: Any) -> Any:
        tries.append(1)
        raise OSError("read-only")

    monkeypatch.setattr(production, "publish", never)
    monkeypatch.setattr(production.time, "sleep", lambda seconds: None)
    with pytest.raises(OSError, match="read-only"):
        maker.make(maker.plan.shard(0))
    assert len(tries) == 4
