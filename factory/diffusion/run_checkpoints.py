"""The checkpoints of a training run: whole and proven whole, or left aside.

step-0000200/    weights, EMA and optimiser as safetensors, state.json; sha256.json, written
                 last, proves them
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from factory import storage
from factory.config import Config
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


def newest_step(url: str) -> int:
    """The step of the newest checkpoint below url, whole or not; 0 if there is none. Raises
    OSError."""
    return max(_steps(url), default=0)


def save_checkpoint(
    state: TrainState[Any], url: str, num_to_keep: int, section: str = "train"
) -> None:
    """Writes url/step-NNNNNNN, then deletes older ones, but not the newest num_to_keep.

    Raises NotFinite for a state that is of no use, UserError where it cannot be written; then the
    older ones stay.
    """
    if not is_finite(state):
        raise NotFinite(f"the state of step {state.step:,} is not finite")
    checkpoint = _checkpoint_url(url, state.step)
    what = f"the checkpoint of step {state.step:,}"
    with saving(what, tempfile.gettempdir()), tempfile.TemporaryDirectory() as folder:
        save_state(state, Path(folder))
        with saving(what, checkpoint):
            _write(Path(folder), checkpoint)
    try:
        for step in [step for step in _steps(url) if step <= state.step][:-num_to_keep]:
            fs, path = storage.filesystem(_checkpoint_url(url, step))
            fs.rm(path, recursive=True)
    except OSError as error:
        tell(f"{section} | {url}: old checkpoints cannot be deleted ({storage.describe(error)})")


def newest_checkpoint(url: str, affordable_steps: int, section: str = "train") -> str | None:
    """The URL of the newest whole checkpoint below url, None where a run begins at step 0.

    Newer ones that are not as they were written are told and left alone; the run overwrites them
    when it comes to their step. Raises UserError where one cannot be read, and where none is whole
    although one is of more than affordable_steps: a run that begins anew must be wanted.
    """
    checkpoint = url
    try:
        steps = _steps(url)
        for step in reversed(steps):
            checkpoint = _checkpoint_url(url, step)
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
            f"{url}: none of its {len(steps)} checkpoints is whole, the newest is of step "
            f"{steps[-1]:,}. Copy one back, or delete this folder to begin again at step 0."
        )
    if steps:
        tell(f"{section} | no checkpoint is whole; beginning again at step 0")
    return None


def _checkpoint_url(url: str, step: int) -> str:
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
