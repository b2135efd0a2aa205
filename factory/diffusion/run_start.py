"""Where a run goes on: from the newest whole checkpoint that a run of its length would have."""

import math
from dataclasses import dataclass

from factory import storage
from factory.config import Config
from factory.diffusion.run_checkpoints import (
    checkpoint_url,
    checkpoints_url,
    made_for,
    newest_checkpoint,
)
from factory.diffusion.run_end import End, own_steps, settings_at, shared_steps
from factory.diffusion.run_identity import goes_back, read_run


@dataclass(frozen=True)
class Start:
    """Where a run goes on."""

    checkpoint: str | None = None
    """The URL of the checkpoint; None where the run begins."""
    shared: float = math.inf
    """The number of steps up to which all that lies in the run's folder is of this run."""
    why: str = ""
    """The end of the line that says where it goes on: why not later, if there are later ones."""


def find_start(config: Config) -> Start:
    """Finds where the run goes on. Raises UserError as `newest_checkpoint` does."""
    url, run = checkpoints_url(config), read_run(config)
    if run is None:
        return Start(newest_checkpoint(url, config.train.checkpoint_steps))
    try:
        found = made_for(url)
    except OSError as error:
        remedy = "Run the same command again when it can."
        raise storage.to_user_error(url, error, "read", remedy) from None
    now, before = End.of(config.train.model_dump()), End.of(run["train"])
    back = goes_back(config, run)
    right = shared_steps(run, found, now) if back else own_steps(run, found)
    checkpoint = newest_checkpoint(url, config.train.checkpoint_steps, right_steps=right)
    step = next((step for step in right if checkpoint_url(url, step) == checkpoint), 0)
    if not step:
        return Start()
    made = found[step] or End.of(settings_at(run, step)[0]["train"])
    if made == now and not back:
        return Start(checkpoint)
    until = min(before.falls_from if back else made.falls_from, now.falls_from)
    shared = until if back else max(step, until)
    passed = [end for each, end in found.items() if each > step and each not in right and end]
    return Start(checkpoint, shared, _why(passed[-1], now, step) if passed else "")


def _why(passed: End, now: End, step: int) -> str:
    """Why the run does not go on from a checkpoint in which the learning rate had begun to fall."""
    if passed.decay != now.decay:
        how = "as its end is another one now"
    else:
        how = f"as the run is {'longer' if now.num_steps > passed.num_steps else 'shorter'} now"
    where = "where" if step == passed.last_before else "before"
    return f", {where} the learning rate began to fall, {how}"
