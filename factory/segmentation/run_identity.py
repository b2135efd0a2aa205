"""What a run learns from and how, in its run.json, and the check of one that goes on."""

import json
from collections.abc import Mapping
from typing import Any

from factory import storage
from factory.config.segment import SegmentConfig
from factory.differences import differences
from factory.diffusion.run_checkpoints import has_checkpoints, saving
from factory.errors import UserError
from factory.progress import tell

_FREE_KEYS = {
    *("url", "num_workers", "use_gpu", "cpus_per_worker", "max_failures", "worker_wait_seconds"),
    *("log_steps", "checkpoint_steps", "num_checkpoints_to_keep", "resume_anyway", "onnx"),
    # Each worker finds out what `auto` is: what counts is what it found.
    "precision",
    *("dataset_url", "pairs"),
}
"""The keys that decide no weight, or are told otherwise."""
_DEPARTURES = "departures"
"""The key of run.json that notes when the run went on as another one."""


def checkpoints_url(settings: SegmentConfig) -> str:
    """The URL of the run's checkpoints."""
    return storage.join(settings.url, "checkpoints")


def identity(settings: SegmentConfig, found: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides the weights. found: what is known beside the config, as hashes of what is
    learned from."""
    return {
        "segment": settings.model_dump(mode="json", exclude=_FREE_KEYS),
        "segment.num_workers": settings.num_workers,
        **found,
    }


def check_run(settings: SegmentConfig, found: Mapping[str, Any]) -> None:
    """Raises UserError where another run is at segment.url, unless it may go on as this one."""
    existing = _read(settings)
    if existing is None and has_checkpoints(checkpoints_url(settings)):
        raise UserError(
            f"{_url(settings)}: is missing, though there are checkpoints: nothing says what they "
            "were made with. Copy it back, or name another --out."
        )
    changed = _changed(existing, identity(settings, found))
    if changed and not settings.resume_anyway:
        raise UserError(
            f"{settings.url}: holds a run of another config: {'; '.join(changed)}. Name another "
            "--out, or set back what differs. Or go on from the newest checkpoint with "
            "--resume-anyway: the result is then no longer bit-equal to that of a run that "
            "nothing was changed in."
        )


def note_beginning(settings: SegmentConfig, found: Mapping[str, Any], step: int) -> None:
    """Notes what the run goes on with from this step. Raises UserError as `check_run` does."""
    check_run(settings, found)
    existing, now = _read(settings) or {}, identity(settings, found)
    noted = list(existing.get(_DEPARTURES, [])) if step else []
    if (changed := _changed(existing, now)) and step:
        noted.append(f"from step {step:,} on: {'; '.join(changed)}")
        tell(
            f"segment | {noted[-1]}. The result is no longer bit-equal to that of a run that "
            "nothing was changed in; its card says so"
        )
    if existing != (content := {**now, _DEPARTURES: noted}):
        with saving("what was asked", _url(settings)):
            data = (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
            storage.write(_url(settings), data)


def departures(settings: SegmentConfig) -> list[str]:
    """A line for each time that the run went on as another one."""
    return list((_read(settings) or {}).get(_DEPARTURES, []))


def _changed(existing: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """The differences in what both tell."""
    both = now.keys() & (existing or {}).keys()
    return differences(
        {name: (existing or {})[name] for name in sorted(both)},
        {name: now[name] for name in sorted(both)},
    )


def _url(settings: SegmentConfig) -> str:
    return storage.join(settings.url, "run.json")


def _read(settings: SegmentConfig) -> dict[str, Any] | None:
    """The content of run.json, None where there is none. Raises UserError where it is damaged."""
    url = _url(settings)
    if not storage.exists(url):
        return None
    try:
        content = json.loads(storage.read_text(url))
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("segment"), dict):
        raise UserError(
            f"{url}: is not what `factory segment` writes there. Copy it back, or name another "
            "--out."
        )
    return content
