"""Claims about factory.generation.shard_maker: one shard from noise to storage, without Ray."""

import errno
import faulthandler
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from factory import storage
from factory.config import Config
from factory.errors import ShardConflict
from factory.generation.frozen_models import SampledBatch
from factory.generation.recipe import load_models, make_plan
from factory.generation.shard_maker import NUM_SLOTS, SHARD_FAILURES, ShardMaker, advice
from factory.generation.synthesizer import Synthesizer
from factory.shards.ledger import Ledger
from factory.shards.plan import ShardSpec
from factory.storage.retries import TRIES
from tests.failing_storage import fail_calls

Make = Callable[[str], ShardMaker]


@pytest.fixture
def make(tiny_config: Callable[..., Config], tmp_path: Path) -> Make:
    """Makers of one plan, each with a dataset of its own."""
    config = tiny_config()

    def make(name: str) -> ShardMaker:
        models = load_models(config)
        plan = make_plan(config, models)
        url = str(tmp_path / name)
        Ledger(url, plan).start("", {})
        return ShardMaker(Synthesizer(models, plan), plan, url)

    return make


def bytes_of(maker: ShardMaker, spec: ShardSpec) -> bytes:
    return storage.read_bytes(storage.join(maker.ledger.url, spec.path))


@pytest.mark.slow
def test_a_made_shard_lies_there_with_its_receipt(make: Make) -> None:
    maker = make("one")
    spec = maker.plan.shard(1)
    with maker.begin(spec) as shard:
        numbers = list(shard.batches())
        receipt = shard.publish()
    assert sum(numbers) == receipt.rows == spec.stop - spec.start
    other = make("other").batch_maker
    assert isinstance(other, Synthesizer)
    assert spec.shard not in maker.ledger.pending()
    samples = list(other.samples(spec))
    assert bytes_of(maker, spec) == maker.plan.encode(samples)


@pytest.mark.slow
def test_shards_made_at_once_are_those_made_one_by_one(make: Make) -> None:
    together, alone = make("together"), make("alone")
    specs = together.plan.shards()[:6]
    with ThreadPoolExecutor(NUM_SLOTS) as pool:
        receipts = list(pool.map(together.make, specs))
    for spec, receipt in zip(specs, receipts, strict=True):
        assert alone.make(spec).content == receipt.content
        assert bytes_of(alone, spec) == bytes_of(together, spec)


@pytest.mark.slow
def test_one_shard_is_sampled_while_the_one_before_is_published(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, second_begun = make("one"), threading.Event()
    publish = Ledger.publish

    def waits_for_the_second(ledger: Ledger, spec: ShardSpec, *rest: Any) -> Any:
        assert spec.shard == 1 or second_begun.wait(60), "nothing was sampled meanwhile"
        return publish(ledger, spec, *rest)

    monkeypatch.setattr(Ledger, "publish", waits_for_the_second)
    with ThreadPoolExecutor(1) as pool, maker.begin(maker.plan.shard(0)) as first:
        list(first.batches())
        receipt = pool.submit(first.publish)
        with maker.begin(maker.plan.shard(1)) as second:
            second_begun.set()
            list(second.batches())
            assert (receipt.result().shard, second.publish().shard) == (0, 1)


@pytest.mark.slow
def test_two_shards_are_never_sampled_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    maker, inside, most = make("one"), [], []
    batches = maker.batch_maker.batches

    def counted(spec: ShardSpec) -> Iterator[SampledBatch]:
        inside.append(spec)
        most.append(len(inside))
        yield from batches(spec)
        inside.remove(spec)

    monkeypatch.setattr(maker.batch_maker, "batches", counted)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(maker.make, maker.plan.shards()[:5]))
    assert most == [1] * 5


@pytest.mark.slow
def test_a_write_that_fails_is_tried_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = make("one")
    spec = maker.plan.shard(0)
    failures = fail_calls(monkeypatch, times=2)
    assert maker.make(spec).rows == 4
    assert failures.num_by_url[f"{maker.ledger.url}/{spec.path}"] == 2


def test_a_storage_that_never_takes_it_is_told_after_growing_pauses(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = make("one")
    spec = maker.plan.shard(0)
    failures = fail_calls(monkeypatch, times=99, at=lambda url: url.endswith(spec.path))
    with pytest.raises(OSError, match="503"):
        maker.make(spec)
    assert failures.num_by_url.total() == TRIES == len(failures.pauses) + 1
    assert all(0 <= pause <= min(30, 2**i) for i, pause in enumerate(failures.pauses))
    assert len(set(failures.pauses)) == len(failures.pauses)


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "denied"),
        OSError(errno.ENOSPC, "No space left on device"),
        FileNotFoundError("NoSuchBucket"),
        ShardConflict("other bytes"),
    ],
)
def test_what_no_repetition_helps_is_not_repeated(
    make: Make, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    maker = make("one")
    spec = maker.plan.shard(0)
    failures = fail_calls(monkeypatch, 99, error, at=lambda url: url.endswith(spec.path))
    with pytest.raises(type(error)):
        maker.make(spec)
    assert failures.num_by_url.total() == 1 and not failures.pauses


def test_samples_that_were_drawn_again_are_counted_in_the_receipt(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = make("one")
    original = maker.batch_maker.batches

    def batches(spec: ShardSpec) -> Iterator[SampledBatch]:
        return (replace(batch, num_redrawn=1) for batch in original(spec))

    monkeypatch.setattr(maker.batch_maker, "batches", batches)
    spec = maker.plan.shard(0)
    batch = maker.plan.recipe["batch_size"]
    assert maker.make(spec).redrawn == -(-(spec.stop - spec.start) // batch)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), ["generate.batch_size = 2", "--out"]),
        (MemoryError(), ["generate.max_actors", "generate.samples_per_shard"]),
        (OSError(errno.ENOSPC, "No space left", "/data/x"), ["disk is full", "/data/x"]),
        (FloatingPointError("sample 3\nis not finite"), ["sample 3 is not finite"]),
    ],
)
def test_advice_names_the_setting_to_change(make: Make, error: Exception, words: list[str]) -> None:
    message = advice(error, make("one").plan)
    assert all(word in message for word in words) and "\n" not in message
    assert isinstance(error, SHARD_FAILURES)


@pytest.mark.slow
def test_the_deadline_is_how_long_the_shard_may_take(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, armed = make("one"), []
    monkeypatch.setattr(
        faulthandler,
        "dump_traceback_later",
        lambda seconds, exit: armed.append((seconds, exit)),
    )
    maker.make(maker.plan.shard(0), 1234.0)
    maker.make(maker.plan.shard(1))
    assert len(armed) == 1 and 1230 < armed[0][0] <= 1234 and armed[0][1] is True


def test_a_deadline_holds_until_the_shard_is_published_or_its_sampling_fails(make: Make) -> None:
    maker = make("one")
    with maker.begin(maker.plan.shard(0), 600) as shard:
        list(shard.batches())
        assert len(maker.deadlines._pieces) == 1
        shard.publish()
    assert not maker.deadlines._pieces
    with pytest.raises(KeyError), maker.begin(maker.plan.shard(1), 600):
        raise KeyError
    assert not maker.deadlines._pieces


@pytest.mark.slow
def test_a_shard_whose_sampling_fails_leaves_the_device_to_the_next(make: Make) -> None:
    maker = make("one")
    with pytest.raises(KeyError), maker.begin(maker.plan.shard(0)) as shard:
        for _ in shard.batches():
            raise KeyError
    assert maker.make(maker.plan.shard(1)).shard == 1


def test_a_fault_kills_the_process_at_the_point_and_time_that_was_asked_for() -> None:
    code = "from factory.faults import hit\nfor i in range(3): print(i, flush=True); hit('a.b')"
    environment = {**os.environ, "FACTORY_FAULTS": "x:1,a.b:2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"0\n1\n")
