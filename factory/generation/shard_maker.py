"""Makes one shard, from noise to storage: sampling, encoding and publishing overlap.

Needs no Ray: the actors of `ray_actors` use it, and `local` in this process. While one thread
samples a shard, another packs, checks and publishes the shard before it, and pictures are encoded
as batches come out of the network. So the device waits for neither PNG nor storage.
"""

import errno
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager

import torch

from factory import faults
from factory.errors import (
    CannotChoose,
    ChangedSource,
    DamagedShard,
    ShardConflict,
    UnreadableImage,
    is_out_of_memory,
)
from factory.generation.deadlines import Deadlines
from factory.generation.frozen_models import BatchMaker
from factory.generation.probe import join
from factory.shards.ledger import Ledger
from factory.shards.packing import pack
from factory.shards.plan import Plan, ShardSpec
from factory.shards.receipts import Circumstances, Drawn, Receipt
from factory.shards.schema import EncodedSample

NUM_SLOTS = 2
"""The number of shards that one `ShardMaker` makes at once, each in a thread: one is sampled, the
other is published."""

SHARD_FAILURES = (
    OSError,
    ArithmeticError,
    MemoryError,
    torch.OutOfMemoryError,
    DamagedShard,
    CannotChoose,
    ShardConflict,
    ChangedSource,
    UnreadableImage,
)
"""Errors that concern one shard alone; the next one may well succeed."""


def advice(error: BaseException, plan: Plan) -> str:
    """Returns the error on one line, with what to do where a setting helps."""
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, torch.OutOfMemoryError):
        batch_size = f"{plan.command}.batch_size = {plan.recipe['batch_size']}"
        return (
            f"out of GPU memory with {batch_size}. Start a "
            f"dataset at another --out with a smaller one: it is part of the plan. {message}"
        )
    if is_out_of_memory(error):
        keys = f"{plan.command}.max_actors or {plan.command}.samples_per_shard"
        return f"out of memory. Lower {keys}. {message}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: {message}. Free some space, then run the same command again."
    return message


class ShardMaker:
    """Makes and publishes a plan's shards at url, in up to NUM_SLOTS threads.

    replace: as for `publish`; for a repair. allow_unlike, and what is raised: as for `join`.
    """

    def __init__(
        self,
        batch_maker: BatchMaker,
        plan: Plan,
        url: str,
        replace: bool = False,
        allow_unlike: bool = False,
    ) -> None:
        self.ledger = Ledger(url, plan)
        self.joined = join(self.ledger, batch_maker, allow_unlike)
        self.batch_maker = batch_maker
        self.plan = plan
        self.replace = replace
        self.deadlines = Deadlines()
        self.encoder = ThreadPoolExecutor(1, "encoder")
        self._device = threading.Lock()

    def make(self, spec: ShardSpec, deadline_seconds: float | None = None) -> Receipt:
        """Samples and publishes a shard; raises what `ShardInMaking` does."""
        with self.begin(spec, deadline_seconds) as shard:
            for _ in shard.batches():
                pass
            return shard.publish()

    @contextmanager
    def begin(
        self, spec: ShardSpec, deadline_seconds: float | None = None
    ) -> Iterator["ShardInMaking"]:
        """Waits until no other shard is sampled; the body samples this one and publishes it.

        deadline_seconds: how long the body may take, or the process ends itself; see `Deadlines`.
        """
        with ExitStack() as device:
            device.enter_context(self._device)
            with self.deadlines.within(deadline_seconds):
                faults.hit("shard.sample")
                yield ShardInMaking(self, spec, device)


class ShardInMaking:
    """A shard between its first noise and its receipt; `ShardMaker.begin` makes one.

    device: held until the shard is sampled, then closed for the next one.
    """

    def __init__(self, maker: ShardMaker, spec: ShardSpec, device: ExitStack) -> None:
        self._maker = maker
        self._spec = spec
        self._device = device
        self._encoded: list[Future[EncodedSample]] = []
        self._num_redrawn = 0
        self._drawn: Drawn | None = None
        self._started = time.monotonic()

    def batches(self) -> Iterator[int]:
        """Samples the shard; yields the number of samples of each batch when it is made.

        Raises what `BatchMaker.batches` raises.
        """
        maker = self._maker
        with self._device:
            for batch in maker.batch_maker.batches(self._spec):
                self._encoded += [
                    maker.encoder.submit(maker.plan.encode_sample, sample)
                    for sample in batch.samples
                ]
                self._num_redrawn += batch.num_redrawn
                self._drawn = batch.drawn or self._drawn
                # Pixels of large images fill the memory where the network is faster than PNG.
                wait(self._encoded[: -2 * max(1, len(batch.samples))])
                yield len(batch.samples)
                faults.hit("shard.batch")

    def publish(self) -> Receipt:
        """Writes the sampled shard; another one may be sampled meanwhile.

        Raises DamagedShard and ShardConflict, and OSError where the storage refuses it again and
        again.
        """
        maker = self._maker
        encoded = [future.result() for future in self._encoded]
        files = pack(maker.plan, self._spec, encoded)
        faults.hit("shard.publish")
        circumstances = Circumstances(
            seconds=round(time.monotonic() - self._started, 3),
            host=socket.gethostname(),
            made_with=maker.joined.made_with,
            redrawn=self._num_redrawn,
            drawn=self._drawn,
        )
        return maker.ledger.publish(self._spec, files, circumstances, maker.replace)
