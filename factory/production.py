"""One shard from noise to storage: sampling, encoding and publishing overlap.

Needs no Ray: `generation.py` distributes this, a notebook can call it. While one thread samples a
shard, the one before it is packed, checked and published by another, and pictures are encoded as
batches come out of the network. So the device waits for neither PNG nor storage.
"""

import random
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from factory.shards.ledger import publish
from factory.shards.plan import Plan, ShardSpec
from factory.shards.receipts import Receipt
from factory.shards.schema import EncodedSample
from factory.synthesis import Synthesizer

CALLS_AT_ONCE = 2
"""Of `ShardMaker.make`: one samples, one publishes."""

_STORAGE_TRIES = 4


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
    """Makes and publishes a plan's shards at url; `make` may run in CALLS_AT_ONCE threads."""

    def __init__(self, synthesizer: Synthesizer, plan: Plan, url: str) -> None:
        self.synthesizer = synthesizer
        self.plan = plan
        self.url = url
        self.occupation = Occupation()
        self._device = threading.Lock()
        self._encoder = ThreadPoolExecutor(1, "encoder")
        self._sampled_at: float | None = None

    def make(
        self,
        spec: ShardSpec,
        made: Callable[[int], None] = lambda num: None,
        begins: Callable[[], None] = lambda: None,
    ) -> Receipt:
        """The shard's receipt. begins() is called before sampling, made(num) after each batch.

        Raises what sampling raises, and OSError where the storage refuses it again and again.
        """
        with self._device:
            started = time.monotonic()
            begins()
            encoded = self._sample(spec, made)
        data = self.plan.pack([future.result() for future in encoded])
        return self._publish(spec, data, started)

    def _sample(self, spec: ShardSpec, made: Callable[[int], None]) -> list[Future[EncodedSample]]:
        begun = time.monotonic()
        if self._sampled_at is not None:
            self.occupation.waiting += begun - self._sampled_at
        samples = self.synthesizer.samples(spec, made)
        futures = [self._encoder.submit(self.plan.encode_sample, sample) for sample in samples]
        self._sampled_at = time.monotonic()
        self.occupation.sampling += self._sampled_at - begun
        return futures

    def _publish(self, spec: ShardSpec, data: bytes, started: float) -> Receipt:
        for attempt in range(1, _STORAGE_TRIES + 1):
            try:
                seconds = round(time.monotonic() - started, 3)
                host = socket.gethostname()
                return publish(self.url, self.plan, spec, data, seconds=seconds, host=host)
            except OSError:
                # A store may stumble; the bytes are made, so only the write is tried again.
                if attempt == _STORAGE_TRIES:
                    raise
                time.sleep(random.uniform(0.5, 1.0) * 2**attempt)
        raise AssertionError("the last try returns or raises")
