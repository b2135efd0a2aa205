"""Lines that tell how a training comes along: loss, speed, waiting for data, what is left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed

from factory.progress import duration, tell


class StepLines:
    """One plain line every so many steps of a training that begins at first_step."""

    def __init__(self, section: str, first_step: int, num_steps: int, batch_size: int) -> None:
        self.section = section
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.loss: torch.Tensor | float = 0.0
        self.started = time.monotonic()
        self.waited_seconds = 0.0
        self.first_step = self.last_step = first_step

    def due(self, step: int, interval: int) -> bool:
        """True after the last step, and after every so many."""
        return step % interval == 0 or step == self.num_steps

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Measures the time in which the next batch is awaited."""
        started = time.monotonic()
        yield
        self.waited_seconds += time.monotonic() - started

    def mean_loss(self, step: int, num_ranks: int) -> float:
        """The mean loss of all ranks since the last call, equal on each; waits for the device."""
        loss = torch.as_tensor(self.loss) / (step - self.last_step) / num_ranks
        if num_ranks > 1:
            torch.distributed.all_reduce(loss)
        self.loss, self.last_step = 0.0, step
        return float(loss)

    def tell(self, step: int, loss: float) -> dict[str, float]:
        """Tells a line, and returns what it tells."""
        seconds = time.monotonic() - self.started
        rate = (step - self.first_step) / seconds
        left = (self.num_steps - step) / rate
        entry = {
            "step": step,
            "loss": loss,
            "images_per_second": rate * self.batch_size,
            "data_wait_share": self.waited_seconds / seconds,
        }
        tell(
            f"{self.section} | step {step:,}/{self.num_steps:,} | loss {loss:.4f} | "
            f"{entry['images_per_second']:.1f} images/s | waiting for data "
            f"{entry['data_wait_share']:.1%} | ETA {duration(left)}"
        )
        return entry
