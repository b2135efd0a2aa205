"""One shard from noise to storage: sampling, encoding and publishing overlap.

Needs no Ray: actors of `ray_actors` call it, and `local` in this process. While one thread
samples a shard, the one before it is packed, checked and published by another, and pictures are
encoded as batches come out of the network. So the device waits for neither PNG nor storage.
"""

import errno
import faulthandler
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import torch

from factory import faults
from factory.errors import DamagedShard, ShardConflict, is_out_of_memory
from factory.generation.probe import join
from factory.generation.synthesizer import Synthesizer
from factory.shards.ledger import Ledger
from factory.shards.plan import Plan, ShardSpec
from factory.shards.receipts import Circumstances, Receipt
from factory.shards.schema import EncodedSample

CALLS_AT_ONCE = 2
"""Threads that make shards by one `ShardMaker`: one samples, one publishes."""

SHARD_FAILURES = (
    OSError,
    ArithmeticError,
    MemoryError,
    torch.OutOfMemoryError,
    DamagedShard,
    ShardConflict,
)
"""What `ShardMaker.make` raises that concerns this shard; the next one may well succeed."""


def advice(error: BaseException, plan: Plan) -> str:
    """The error on one line, with what to do where a setting helps."""
    told = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, torch.OutOfMemoryError):
        return (
            f"out of GPU memory with generate.batch_size = {plan.recipe['batch_size']}. Start a "
            f"dataset at another --out with a smaller one: it is part of the plan. {told}"
        )
    if is_out_of_memory(error):
        return f"out of memory. Lower generate.max_actors or generate.samples_per_shard. {told}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: {told}. Free some space, then run the same command again."
    return told


class ShardMaker:
    """Makes and publishes a plan's shards at url, in up to CALLS_AT_ONCE threads.

    replace: as `publish` has it, for a repair. allow_unlike, and what is raised: as `join` has it.
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        plan: Plan,
        url: str,
        replace: bool = False,
        allow_unlike: bool = False,
    ) -> None:
        self.ledger = Ledger(url, plan)
        self.joined = join(self.ledger, synthesizer, allow_unlike)
        self.synthesizer = synthesizer
        self.plan = plan
        self.replace = replace
        self.deadlines = Deadlines()
        self._device = threading.Lock()
        self._encoder = ThreadPoolExecutor(1, "encoder")

    def make(self, spec: ShardSpec, deadline_seconds: float | None = None) -> Receipt:
        """Samples and publishes a shard; raises and ends as `sampling` and `publish` do."""
        with self.sampling(spec, deadline_seconds) as shard:
            for _ in shard.batches():
                pass
        return shard.publish()

    @contextmanager
    def sampling(
        self, spec: ShardSpec, deadline_seconds: float | None = None
    ) -> Iterator["ShardInMaking"]:
        """The shard, to be sampled in the body and published after it; waits until no other shard
        is sampled.

        deadline_seconds: that sampling and publishing may take. Where they take more, the process
        ends itself, and says on stderr where it hangs. None: any number.
        """
        with self._device, ExitStack() as stack:
            stack.enter_context(self.deadlines.within(deadline_seconds))
            faults.hit("shard.sample")
            shard = ShardInMaking(self, spec, self._encoder)
            yield shard
            shard.deadline = stack.pop_all()


class ShardInMaking:
    """A shard between its first noise and its receipt; `ShardMaker.sampling` begins one."""

    def __init__(self, maker: ShardMaker, spec: ShardSpec, encoder: ThreadPoolExecutor) -> None:
        self.deadline = ExitStack()
        """It ends what was begun with the sampling, when the shard is published."""
        self._maker = maker
        self._spec = spec
        self._encoder = encoder
        self._encoded: list[Future[EncodedSample]] = []
        self._num_redrawn = 0
        self._started = time.monotonic()

    def batches(self) -> Iterator[int]:
        """Samples the shard; gives the number of samples of each batch when it is made.

        Raises what `Synthesizer.batches` raises.
        """
        for batch in self._maker.synthesizer.batches(self._spec):
            encode = self._maker.plan.encode_sample
            self._encoded += [self._encoder.submit(encode, sample) for sample in batch.samples]
            self._num_redrawn += batch.num_redrawn
            yield len(batch.samples)
            faults.hit("shard.batch")

    def publish(self) -> Receipt:
        """Writes the sampled shard; another one may be sampled meanwhile.

        Raises DamagedShard and ShardConflict, and OSError where the storage refuses it again and
        again.
        """
        maker = self._maker
        with self.deadline:
            data = maker.plan.pack([future.result() for future in self._encoded])
            faults.hit("shard.publish")
            circumstances = Circumstances(
                seconds=round(time.monotonic() - self._started, 3),
                host=socket.gethostname(),
                made_with=maker.joined.made_with,
                redrawn=self._num_redrawn,
            )
            return maker.ledger.publish(self._spec, data, circumstances, maker.replace)


class Deadlines:
    """Ends this process where a piece of work outlasts its time, even one that hangs in C."""

    def __init__(self) -> None:
        self._pieces: dict[object, tuple[float, float | None]] = {}
        """When each began, and how many seconds it was given."""
        self._usual: float | None = None
        self._lock = threading.Lock()

    @contextmanager
    def within(self, seconds: float | None) -> Iterator[None]:
        """The body may take so long; None: as long as it likes, until `limit` is called."""
        key = object()
        with self._lock:
            self._pieces[key] = time.monotonic(), seconds
            self._set_timer()
        try:
            yield
        finally:
            with self._lock:
                del self._pieces[key]
                self._set_timer()

    def limit(self, seconds: float) -> None:
        """What was given no time, or will be given none, may take so long from its beginning."""
        with self._lock:
            self._usual = seconds
            self._set_timer()

    def _set_timer(self) -> None:
        # One timer a process: it is set for whichever piece ends first.
        given = [(began, seconds or self._usual) for began, seconds in self._pieces.values()]
        ends = [began + seconds for began, seconds in given if seconds is not None]
        if ends:
            left = max(1e-3, min(ends) - time.monotonic())
            faulthandler.dump_traceback_later(left, exit=True)
        else:
            faulthandler.cancel_dump_traceback_later()
