"""What comes after a command: the commands that go on with what it made."""

import os
import shlex
from collections.abc import Mapping, Sequence

from factory import storage
from factory.config import Config
from factory.values import EMBEDDED

_AFTER: Mapping[str, Sequence[str]] = {
    "init": ("inspect",),
    "inspect": ("train",),
    "train": ("fit",),
    "fit": ("evaluate",),
    "evaluate": ("label", "generate"),
    "label": ("report", "verify"),
    "generate": ("report", "export", "verify"),
}
"""The commands that come after each; where the config has nothing for one, those after it do."""
_OF_A_DATASET = ("report", "export", "verify")
"""The commands that take a dataset and no config."""
_OF_BOTH_MODELS = ("label", "generate")
"""The commands that make a dataset."""


def commands_after(command: str, config: Config, words: Sequence[str]) -> list[str]:
    """The lines of the commands that a user may give after this one; none if there are none.

    words: the arguments that name the config, such as --config my.yaml; without them only the
    commands that need no config are told.
    """
    if command == "probe":
        return _line_of_fit(config)
    found: list[str] = []
    for name in _AFTER.get(command, ()):
        if name in _OF_A_DATASET:
            url = config.label.url if command == "label" else config.generate.url
            found.append(_line_of_dataset(name, url))
        elif words and _is_possible(name, config):
            found.append(shlex.join(["factory", name, *words]))
        elif words and name == "fit" and config.data.labelled is None:
            found.append(_line_of_samples(config, words))
        elif words and name not in _OF_BOTH_MODELS:
            found += commands_after(name, config, words)
    return list(dict.fromkeys(found))


def all_commands(config: Config, words: Sequence[str]) -> list[str]:
    """The lines of all commands that a config is complete for, in their order."""
    found, waiting = [], commands_after("init", config, words)
    while waiting:
        line = waiting.pop(0)
        found.append(line)
        waiting = commands_after(line.split()[1], config, words) + waiting
    return list(dict.fromkeys(found))


def _is_possible(name: str, config: Config) -> bool:
    """True if the config names what the command reads."""
    data, has_ensemble = config.data, config.models.ensemble_url is not None
    return {
        "train": data.unlabelled is not None,
        "fit": data.labelled is not None and has_ensemble,
        "evaluate": data.test is not None and has_ensemble,
        "label": config.label.source is not None and has_ensemble,
        "generate": has_ensemble,
    }.get(name, True)


def _line_of_fit(config: Config) -> list[str]:
    """The command that fits on the features that a probe chose, where an ensemble has a place."""
    if config.models.ensemble_url in (None, *EMBEDDED):
        return []
    return [shlex.join(["factory", "fit", "--config", _shown_url(config.probe.config_url)])]


def _line_of_samples(config: Config, words: Sequence[str]) -> str:
    """The command that shows what a DDPM draws, for those who have no masks yet."""
    model = storage.join(config.train.url, "model")
    is_named = config.models.ddpm_url == model
    named = [] if is_named else ["--ddpm", _shown_url(model)]
    return shlex.join(["factory", "sample", *words, *named])


def _line_of_dataset(name: str, url: str) -> str:
    """The command that takes a finished dataset."""
    more = ["--to", "folder", "--out", _shown_url(_place_of_export(url))]
    return shlex.join(["factory", name, _shown_url(url), *(more if name == "export" else [])])


def _place_of_export(url: str) -> str:
    """The place of an export beside its dataset; in the current folder where nothing can lie
    beside it, or where the store is the Hugging Face Hub, which takes other exports only."""
    beside = None if url.startswith("hf://") else storage.parent(url)
    return storage.join(beside or os.getcwd(), f"{storage.name_of(url)}-export")


def _shown_url(url: str) -> str:
    """The URL as people write it: a path below the current folder is told from there."""
    if not storage.is_local(url):
        return url
    path = url.removeprefix(f"{os.getcwd().rstrip('/')}/")
    # Without its folder, such a name would be a flag, a protocol or a home folder.
    return f"./{path}" if path.startswith(("-", "~")) or ":" in path.partition("/")[0] else path
