"""The settings that a training run was made with, in its run.json, and the check of a changed one.

The file holds all that decides the weights after a number of steps. Most of it is the config's;
what is only found out, such as a worker's precision where that is `auto`, joins it later.
"""

import json
from collections.abc import Mapping
from typing import Any

from factory import storage
from factory.config import Config
from factory.data.kinds.known import all_keys
from factory.differences import differences
from factory.diffusion.held_out import MOST_IMAGES
from factory.diffusion.run_checkpoints import (
    checkpoints_url,
    has_checkpoints,
    made_for,
    saving,
)
from factory.diffusion.run_end import BEFORE, RESUMED, End, settings_at, shared_steps
from factory.errors import UserError
from factory.progress import tell

# What may differ when the same run goes on; everything else decides its weights.
_FREE_KEYS = {
    "url",
    "log_steps",
    "checkpoint_steps",
    "sample_steps",
    "probe_steps",
    "num_checkpoints_to_keep",
    "max_failures",
    "tensorboard",
    "use_gpu",
    "compile",
    "cpus_per_worker",
    "worker_wait_seconds",
    "resume_anyway",
    "weights_dtype",
    # Each worker finds out what `auto` is: what counts is what it found.
    "precision",
}
_OF_ITS_END = ("num_steps", "decay")
"""The keys that decide the weights from the step on at which the learning rate falls."""
_FIXED = ("data.", "train.unet.", "train.diffusion.")
"""The keys that even --resume-anyway does not change: they make another network."""
_SHAPE = {"unet": "train.unet", "diffusion": "train.diffusion"}
"""Sections that run.json has by the names of version 0.2.0, and the keys that they are now."""
_IMAGES, _DECODING, _FIRST_DECODING = "images", "decoding", "version 1"
"""The keys of what a worker found: the images' pixels, and how they were decoded; and the way of a
run that did not note it."""
_HELD_OUT = "held_out"
"""The key of run.json that says how many images the run leaves out of its training."""
_LOST = "run.json was lost, and with it what the checkpoints until then were made with"
_REMEDY = (
    "Copy it back, or name another --out. Or, without it, go on from the newest checkpoint with "
    "--resume-anyway: the result's card then says so."
)


def identity(config: Config) -> dict[str, Any]:
    """All keys of the config that decide the weights after a given number of steps.

    Of a run whose learning rate does not fall in the end, its length is none of them.
    """
    free = _FREE_KEYS if config.train.decay else {*_FREE_KEYS, "num_steps"}
    grey = {"channels": 1} if config.data.num_channels == 1 else {}
    return {
        "data": {
            **config.data.model_dump(mode="json", include={"image_size", "unlabelled"}),
            **grey,
        },
        "unet": config.train.unet.model_dump(mode="json"),
        "diffusion": config.train.diffusion.model_dump(mode="json"),
        "train": config.train.model_dump(mode="json", exclude={*free, *_SHAPE}),
    }


def check_run(config: Config, found: Mapping[str, str]) -> None:
    """Raises UserError where another run is at train.url, unless it may go on as this one.

    found: what is known of the run beside the config, by name, `train.precision` for one.
    """
    existing = read_run(config)
    anyway = config.train.resume_anyway
    if existing is None and not anyway and has_checkpoints(checkpoints_url(config)):
        raise UserError(
            f"{_url(config)}: is missing, though there are checkpoints: nothing says what they "
            f"were made with. {_REMEDY}"
        )
    now = {**identity(config), **found}
    changed = _changed(existing, now, existing is not None and _may_end_as(config, existing))
    fixed = [line for line in changed if line.startswith(_FIXED)]
    if fixed or (changed and not anyway):
        raise UserError(_refusal(config, fixed or changed, bool(fixed)))


def begin_run(config: Config) -> None:
    """Writes run.json where a run begins. Raises UserError where it cannot be written.

    Where it was lost, the worker that can go on from the checkpoints writes it anew.
    """
    if read_run(config) is None and not has_checkpoints(checkpoints_url(config)):
        _write(config, {**identity(config), _HELD_OUT: MOST_IMAGES})


def most_held_out(config: Config) -> int:
    """The most images that the run leaves out; none if an older version began it."""
    most: int = (read_run(config) or {}).get(_HELD_OUT, 0)
    return most


def note_beginning(config: Config, found: Mapping[str, str], step: int) -> None:
    """Notes what the run goes on with from this step, and what of it is new.

    What it once went on with from this step or a later one has left no trace in its weights, and is
    forgotten. Raises UserError as `check_run` does.
    """
    check_run(config, found)
    existing = read_run(config)
    now = {**identity(config), **found}
    before, resumed = settings_at(existing or {}, step)
    changed = [_LOST]
    if existing:
        end = End.of(now["train"])
        same_end = goes_back(config, existing) or End.of(before["train"]).shares(end, step)
        changed = _changed(before, now, same_end)
    if changed and step:
        known = {BEFORE: before} if existing else {}
        resumed = [*resumed, {"step": step, "changed": changed, **known}]
        tell(
            f"train | from step {step:,} on: {'; '.join(changed)}. The result is no longer "
            "bit-equal to that of a run that nothing was changed in; its card says so"
        )
    if existing != (content := {**(existing or {}), **now, RESUMED: resumed}):
        _write(config, content)


def departures(config: Config) -> list[str]:
    """A line for each time that the run went on as another one."""
    resumed = (read_run(config) or {}).get(RESUMED, [])
    return [f"from step {entry['step']:,} on: {'; '.join(entry['changed'])}" for entry in resumed]


def goes_back(config: Config, existing: Mapping[str, Any]) -> bool:
    """True if the run ends otherwise than its run.json says, and goes on where that makes no
    difference."""
    ends_otherwise = End.of(existing["train"]) != End.of(config.train.model_dump())
    return ends_otherwise and not config.train.resume_anyway


def _may_end_as(config: Config, existing: Mapping[str, Any]) -> bool:
    """True if the run may still end as the config says, with the weights of a run that had that end
    from its start."""
    found = made_for(checkpoints_url(config))
    return not found or bool(shared_steps(existing, found, End.of(config.train.model_dump())))


def _changed(
    existing: Mapping[str, Any] | None, now: Mapping[str, Any], same_end: bool
) -> list[str]:
    """The differences in the keys that both have; an older version had fewer.

    same_end: True if another end makes no difference yet.
    """
    if existing and same_end:
        existing, now = _without_end(existing), _without_end(now)
    both = [name for name in now if name in (existing or {})]
    if existing and existing.get(_IMAGES) == now.get(_IMAGES):
        # Another way of decoding that gives the same pixels is no difference.
        both = [name for name in both if name != _DECODING]
    return differences(
        {_SHAPE.get(name, name): (existing or {})[name] for name in both},
        {_SHAPE.get(name, name): now[name] for name in both},
    )


def _without_end(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that have not had an effect yet."""
    train = {name: value for name, value in settings["train"].items() if name not in _OF_ITS_END}
    return {**settings, "train": train}


def _refusal(config: Config, changed: list[str], fixed: bool) -> str:
    remedy = "Name another --out, or set back what differs"
    if not fixed:
        remedy += (
            ". Or go on from the newest checkpoint with --resume-anyway: the result is then no "
            "longer bit-equal to that of a run that nothing was changed in"
        )
    return f"{config.train.url}: holds a run of another config: {'; '.join(changed)}. {remedy}."


def _url(config: Config) -> str:
    return storage.join(config.train.url, "run.json")


def read_run(config: Config) -> dict[str, Any] | None:
    """The content of run.json, None where there is none. Raises UserError where it is damaged."""
    url = _url(config)
    if not storage.exists(url):
        return None
    try:
        content = json.loads(storage.read_text(url))
    except ValueError:
        raise UserError(f"{url}: not readable as JSON. {_REMEDY}") from None
    if not isinstance(content, dict) or not isinstance(train := content.get("train"), dict):
        raise UserError(f"{url}: is not what a training writes there. {_REMEDY}")
    if isinstance(diffusion := content.get("diffusion"), dict):
        # Older versions knew no other, nor another optimiser or end.
        diffusion.setdefault("prediction_type", "epsilon")
    train.setdefault("optimizer", "adamw")
    train.setdefault("decay", 0.0)
    if isinstance(data := content.get("data"), dict) and isinstance(data["unlabelled"], dict):
        data["unlabelled"] = all_keys(data["unlabelled"])
    if _IMAGES in content:
        content.setdefault(_DECODING, _FIRST_DECODING)
    # Older versions noted what was asked for, not what it came to.
    asked = train.pop("precision", "auto")
    return content if asked == "auto" else {"train.precision": asked, **content}


def _write(config: Config, content: Mapping[str, Any]) -> None:
    url = _url(config)
    with saving("what was asked", url):
        storage.write(url, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())
