"""The checkpoints of a training run: whole and proven whole, or left aside.

step-0000200/    weights, EMA and optimiser as safetensors, state.json; sha256.json, written
                 last, proves them

The last one before the learning rate falls stays beside the newest, as a run that is made longer
goes on from there; it has the folder `best` of that step, too.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from factory import storage
from factory.config import Config
from factory.diffusion.run_end import End
from factory.diffusion.train_state import CHECKPOINT_FILES, TrainState, is_finite, save_state
from factory.errors import NotFinite, UserError
from factory.progress import tell

_PROOF = "sha256.json"


def checkpoints_url(config: Config) -> str:
    """The URL of the run's checkpoints."""
    return storage.join(config.train.url, "checkpoints")


def has_checkpoints(url: str) -> bool:
    """True if there is any checkpoint below url, whole or not. Raises OSError."""
    return bool(_steps(url))


def made_for(url: str) -> dict[int, End | None]:
    """For which end each checkpoint below url was made, whole or not, by its step; None where that
    is not noted. Raises OSError."""
    return {step: _end_of(checkpoint_url(url, step)) for step in _steps(url)}


def _end_of(checkpoint: str) -> End | None:
    try:
        noted = json.loads(storage.read_text(storage.join(checkpoint, "state.json")))["end"]
        return End.of(noted)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None  # of an older version, or damaged, which is told where it would be taken


def save_checkpoint(
    state: TrainState[Any], url: str, num_to_keep: int, section: str = "train"
) -> None:
    """Writes url/step-NNNNNNN, then deletes older ones, but not the newest num_to_keep, nor the
    last one before the learning rate falls. Those of a run of another length count as none.

    Raises NotFinite for a state that is of no use, UserError where it cannot be written; then the
    older ones stay.
    """
    if not is_finite(state):
        raise NotFinite(f"the state of step {state.step:,} is not finite")
    checkpoint = checkpoint_url(url, state.step)
    what = f"the checkpoint of step {state.step:,}"
    with saving(what, tempfile.gettempdir()), tempfile.TemporaryDirectory() as folder:
        save_state(state, Path(folder))
        with saving(what, checkpoint):
            _write(Path(folder), checkpoint)
    try:
        for step in _superfluous(state, url, num_to_keep):
            fs, path = storage.filesystem(checkpoint_url(url, step))
            fs.rm(path, recursive=True)
    except OSError as error:
        tell(f"{section} | {url}: old checkpoints cannot be deleted ({storage.describe(error)})")


def _superfluous(state: TrainState[Any], url: str, num_to_keep: int) -> list[int]:
    """The steps of the checkpoints that are not needed any more, now that this one is whole."""
    older = [step for step in _steps(url) if step <= state.step]
    # What this process went on from, and what is older, is the run's own.
    ends = {step: _end_of(checkpoint_url(url, step)) for step in older if step > state.begun}
    others = [step for step, end in ends.items() if end and not end.shares(state.end, step)]
    own = [step for step in older if step not in others]
    return [*others, *(step for step in own[:-num_to_keep] if step != state.end.last_before)]


def newest_checkpoint(
    url: str,
    affordable_steps: int,
    section: str = "train",
    right_steps: Sequence[int] | None = None,
) -> str | None:
    """The URL of the newest whole checkpoint below url, None where a run begins at step 0.

    right_steps: those to choose from; None: all.

    Newer ones that are not as they were written are told and left alone; the run overwrites them
    when it comes to their step. Raises UserError where one cannot be read, and where none is whole
    although one is of more than affordable_steps: a run that begins anew must be wanted.
    """
    checkpoint = url
    try:
        steps = _steps(url)
        right = steps if right_steps is None else [step for step in steps if step in right_steps]
        for step in reversed(right):
            checkpoint = checkpoint_url(url, step)
            damage = _damage(checkpoint)
            if damage is None:
                return checkpoint
            tell(f"{section} | {checkpoint}: left aside, {damage}")
    except OSError as error:
        raise UserError(
            f"{checkpoint}: cannot be read ({storage.describe(error)}). Run the same command again "
            "when it can, or move it aside to go on from an older one."
        ) from None
    if steps and steps[-1] > affordable_steps:
        raise UserError(
            f"{url}: none of its {len(steps)} checkpoints is whole"
            + ("" if right == steps else " and of a run of this length")
            + f", the newest is of step {steps[-1]:,}. Copy one back, or delete this folder to "
            "begin again at step 0."
        )
    if steps:
        tell(f"{section} | no checkpoint is whole; beginning again at step 0")
    return None


def checkpoint_url(url: str, step: int) -> str:
    """The URL of the checkpoint of this step below url."""
    return storage.join(url, f"step-{step:07d}")


def _steps(url: str) -> list[int]:
    """Steps of all checkpoints, whole or not, ascending."""
    names = {entry.name.partition("/")[0] for entry in storage.entries(url)}
    return sorted(int(name[5:]) for name in names if re.fullmatch(r"step-\d{7,}", name))


def _write(folder: Path, url: str) -> None:
    """Copies the folder's files to a URL, the proof last. Raises OSError; then no part stays in the
    way on this machine's disk, which may be full."""
    digests = {}
    try:
        for name in CHECKPOINT_FILES:
            data = (folder / name).read_bytes()
            digests[name] = hashlib.sha256(data).hexdigest()
            storage.write(storage.join(url, name), data)
        proof = json.dumps(digests, indent=2).encode()
        storage.write(storage.join(url, _PROOF), proof)
    except OSError:
        if storage.is_local(url):
            shutil.rmtree(url, ignore_errors=True)
        raise


def _damage(url: str) -> str | None:
    """The damage of a checkpoint, None if it is as it was written.

    Raises OSError where it cannot be read, which proves nothing.
    """
    name = _PROOF
    try:
        digests = json.loads(storage.read_text(storage.join(url, name)))
        for name in CHECKPOINT_FILES:
            digest = storage.sha256_of(storage.join(url, name))
            if digest != digests[name]:
                return f"{name} is not as it was written"
    except FileNotFoundError:
        return f"{name} is missing"
    except (ValueError, KeyError, TypeError):
        return f"{_PROOF} is damaged"
    return None


@contextmanager
def on_this_machine(url: str) -> Iterator[Path]:
    """A folder with the checkpoint's files: the one at url, or a copy while the context lasts."""
    if storage.is_local(url):
        yield Path(url)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in CHECKPOINT_FILES:
            data = storage.read_bytes(storage.join(url, name))
            (Path(folder) / name).write_bytes(data)
        yield Path(folder)


def save_metrics(state: TrainState[Any], url: str) -> None:
    """Writes what was told of the run, an entry a line. Raises UserError where it cannot be."""
    lines = "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in state.history)
    with saving("the metrics", url):
        storage.write(url, lines.encode())


@contextmanager
def saving(what: str, url: str) -> Iterator[None]:
    """Turns an error of writing to the URL, such as a full disk, into a UserError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{url}: {what} could not be saved ({storage.describe(error)}). Whole checkpoints "
            "are kept: make room, or mend what is said, then run the same command again."
        ) from None
