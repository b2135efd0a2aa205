"""The model folders of a run: `model`, of its last step, and `best`, of the one that tells labels
best.

`best/steps.json` says which step it is of and how that scored, by the hash of the weights. Until
they are replaced, which is one step, it names both the older and the newer ones. Nothing else in
the folder decides what the network computes: so it is a whole model that says the truth of itself,
whenever the process is killed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from factory import storage
from factory.config import Config, required
from factory.diffusion.checkpoints import WEIGHTS_DTYPES, model_files, write_files
from factory.diffusion.folders import INDEX, WEIGHTS
from factory.diffusion.run_checkpoints import saving
from factory.diffusion.run_identity import departures
from factory.diffusion.run_start import Start
from factory.diffusion.train_state import TrainState
from factory.errors import counted
from factory.progress import tell

_WEIGHTS, _STEPS = f"unet/{WEIGHTS}", "steps.json"


@dataclass(frozen=True)
class Best:
    """The step whose averaged network tells labels best."""

    step: int
    mean_iou: float
    probe: str
    """What tells how it was measured, and on which images; scores of two are not compared."""


def model_url(config: Config) -> str:
    """The URL of the model that `train` makes."""
    return storage.join(config.train.url, "model")


def best_url(config: Config) -> str:
    """The URL of the model of the best step."""
    return storage.join(config.train.url, "best")


def write_model(config: Config, state: TrainState) -> None:
    """Writes the model of the last step. Raises UserError."""
    with saving("the model", model_url(config)):
        write_files(model_url(config), _files(config, state, _card(config, state.step)))


def write_best(
    config: Config, state: TrainState, best: Best, num_images: int, before: Best | None
) -> None:
    """Writes the model of the best step, in place of the one before. Raises OSError.

    num_images: the labelled images that it was measured on.
    """
    card = (
        f"{_card(config, best.step)}\nOf the steps of this run that were scored until then, the "
        f"one whose features tell labels best: a linear probe of "
        f"{counted(num_images, 'labelled image')} comes to {best.mean_iou:.3f} mean IoU.\n"
    )
    files, url = _files(config, state, card), best_url(config)
    weights_url = storage.join(url, _WEIGHTS)
    newer = {hashlib.sha256(files[_WEIGHTS]).hexdigest(): asdict(best)}
    older = {} if before is None else {storage.sha256_of(weights_url): asdict(before)}
    write_files(url, {_STEPS: _steps_json({**older, **newer}), **files})
    write_files(url, {_STEPS: _steps_json(newer)})


def read_best(config: Config) -> Best | None:
    """The best step whose model is there; None where there is none, or it says nothing of itself:
    then the next one replaces it. Raises UserError where it cannot be read."""
    return _best_at(best_url(config))


def _best_at(url: str) -> Best | None:
    try:
        storage.read_bytes(storage.join(url, INDEX))
        steps = json.loads(storage.read_text(storage.join(url, _STEPS)))
        found = steps[storage.sha256_of(storage.join(url, _WEIGHTS))]
        best = Best(int(found["step"]), float(found["mean_iou"]), found["probe"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    except OSError as error:
        remedy = "Run the same command again when it can."
        raise storage.to_user_error(url, error, "read", remedy) from None
    return best if 0 <= best.mean_iou <= 1 else None


def keep_best(config: Config, checkpoint: str) -> None:
    """Copies the folder of the best step into that of a checkpoint. Raises UserError."""
    url = storage.join(checkpoint, "best")
    with saving("the best step until then", url):
        write_files(url, _files_at(best_url(config)))


def restored_best(config: Config, state: TrainState, start: Start) -> Best | None:
    """The best step until the one that the run goes on from; where a later one of a run of another
    length has replaced it, what the checkpoint has kept of it is put back.

    Raises UserError where it cannot be read or written.
    """
    url, best = best_url(config), read_best(config)
    if best is None or best.step <= start.shared or start.checkpoint is None:
        return best
    copy = storage.join(start.checkpoint, "best")
    kept, steps_url = _best_at(copy), storage.join(url, _STEPS)
    with saving("the best step until then", url):
        if kept is None:
            storage.remove(steps_url)
            if any("labels_mean_iou" in entry for entry in state.history):
                tell(f"train | {url}: the best step until {state.step:,} is not kept any more")
            return None
        files = _files_at(copy)
        newer, weights = files.pop(_STEPS), {_WEIGHTS: files.pop(_WEIGHTS)}
        steps = {**json.loads(storage.read_bytes(steps_url)), **json.loads(newer)}
        # The weights last: a run that is killed before them does all of this again.
        write_files(url, {_STEPS: _steps_json(steps), **files, **weights})
        write_files(url, {_STEPS: newer})
    return kept


def _files_at(url: str) -> dict[str, bytes]:
    """The files of the folder of a best step by name. Raises OSError."""
    return {
        entry.name: storage.read_bytes(storage.join(url, entry.name))
        for entry in storage.entries(url)
    }


def _steps_json(steps: Mapping[str, Mapping[str, Any]]) -> bytes:
    return (json.dumps(steps, indent=2) + "\n").encode()


def _files(config: Config, state: TrainState, card: str) -> dict[str, bytes]:
    train = config.train
    dtype = WEIGHTS_DTYPES[train.weights_dtype]
    return model_files(state.ema, train.diffusion, config.data.side, dtype, card)


def _card(config: Config, step: int) -> str:
    unlabelled = required(config, "data.unlabelled")
    steps, batch = counted(step, "step"), counted(config.train.batch_size, "image")
    card = (
        f"# DDPM, {config.data.side} px, {steps} of {batch}\n\nThe averaged weights (EMA "
        f"{config.train.ema_decay}). Unlabelled images: {unlabelled.kind} {unlabelled.title}.\n"
    )
    if changed := departures(config):
        card += (
            "\nNot bit-equal to a run that nothing was changed in: "
            f"it went on with other settings {'; '.join(changed)}.\n"
        )
    return card
