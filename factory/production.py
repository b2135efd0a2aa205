"""One shard from noise to storage: sampling, encoding and publishing overlap.

Needs no Ray: `generation.py` distributes this, a notebook can call it. While one thread samples a
shard, the one before it is packed, checked and published by another, and pictures are encoded as
batches come out of the network. So the device waits for neither PNG nor storage.
"""

import errno
import faulthandler
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch

from factory import faults, storage
from factory.errors import is_out_of_memory
from factory.probe import join
from factory.shards.ledger import ShardConflict, publish
from factory.shards.plan import Plan, ShardSpec
from factory.shards.receipts import Receipt
from factory.shards.schema import DamagedShard, EncodedSample
from factory.synthesis import Synthesizer

CALLS_AT_ONCE = 2
"""Of `ShardMaker.make`: one samples, one publishes."""

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


@dataclass
class Occupation:
    """How the sampling thread spent its time, in seconds."""

    sampling: float = 0.0
    waiting: float = 0.0
    """From the end of one shard's sampling to the beginning of the next one's."""

    @property
    def waiting_share(self) -> float:
        """0..1."""
        whole = self.sampling + self.waiting
        return self.waiting / whole if whole else 0.0


class ShardMaker:
    """Makes and publishes a plan's shards at url; `make` may run in CALLS_AT_ONCE threads.

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
        self.joined = join(url, plan, synthesizer, allow_unlike)
        self.synthesizer = synthesizer
        self.plan = plan
        self.url = url
        self.replace = replace
        self.occupation = Occupation()
        self.deadlines = Deadlines()
        self._device = threading.Lock()
        self._encoder = ThreadPoolExecutor(1, "encoder")
        self._sampled_at: float | None = None

    def make(
        self,
        spec: ShardSpec,
        made: Callable[[int], None] = lambda num: None,
        begins: Callable[[], float | None] = lambda: None,
    ) -> Receipt:
        """The shard's receipt. made(num) is called after each batch.

        begins() is called before sampling and tells how many seconds the shard may take: where it
        takes more, the process ends itself, and says on stderr where it hangs. None: any number.
        Raises what sampling raises, and OSError where the storage refuses it again and again.
        """
        with ExitStack() as stack:
            with self._device:
                started = time.monotonic()
                stack.enter_context(self.deadlines.within(begins()))
                faults.hit("shard.sample")
                encoded, redrawn = self._sample(spec, made)
            data = self.plan.pack([future.result() for future in encoded])
            faults.hit("shard.publish")
            return self._publish(spec, data, redrawn, started)

    def _sample(
        self, spec: ShardSpec, made: Callable[[int], None]
    ) -> tuple[list[Future[EncodedSample]], int]:
        """The samples, being encoded, and how many were drawn again."""
        begun = time.monotonic()
        if self._sampled_at is not None:
            self.occupation.waiting += begun - self._sampled_at
        redrawn = []

        def batch_made(num: int, num_redrawn: int) -> None:
            redrawn.append(num_redrawn)
            made(num)
            faults.hit("shard.batch")

        samples = self.synthesizer.samples(spec, batch_made)
        futures = [self._encoder.submit(self.plan.encode_sample, sample) for sample in samples]
        self._sampled_at = time.monotonic()
        self.occupation.sampling += self._sampled_at - begun
        return futures, sum(redrawn)

    def _publish(self, spec: ShardSpec, data: bytes, redrawn: int, started: float) -> Receipt:
        # The bytes are made, so where the storage stumbles only the write is tried again.
        return storage.patiently(
            lambda: publish(
                self.url,
                self.plan,
                spec,
                data,
                seconds=round(time.monotonic() - started, 3),
                host=socket.gethostname(),
                made_with=self.joined.made_with,
                redrawn=redrawn,
                replace=self.replace,
            )
        )


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
