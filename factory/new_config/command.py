"""`factory init`: looks at people's images and writes a config for them."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from factory import storage
from factory.config import Config, parse_config
from factory.errors import Problems, UserError
from factory.new_config.draft import Draft, draft
from factory.new_config.roles import Role, assign
from factory.new_config.shape import Shape
from factory.new_config.writing import config_text
from factory.next_commands import all_commands
from factory.values import TOY
from factory.yaml_reading import parse_yaml

_MANY_HOURS = 4
"""A training that takes longer on a core is a GPU's work."""


def init(
    folders: Sequence[str], named: Mapping[Role, str], out: str, preset: str | None = None
) -> list[str]:
    """Writes a config, and the lists of names that it needs beside it; returns what to tell.

    folders: folders, archives or URLs, whose roles are found by what they hold. named: those whose
    role is known. preset: absent, the one that fits the images. Raises UserError if there is a file
    already, or if it is not clear what lies there; then nothing is written. Raises OSError.
    """
    if not folders and not named:
        raise UserError("Name at least one folder of images: factory init FOLDER --out my.yaml.")
    if PurePosixPath(out).suffix not in (".yaml", ".yml"):
        raise UserError(f"--out: {out}: a config is a .yaml file. Name one, such as my.yaml.")
    out = _as_given(out)
    lists_url = f"{out.rpartition('.')[0]}.splits.json"
    for url in (out, lists_url):
        if storage.exists(storage.normalize(url)):
            raise UserError(f"{url}: is there already. Name another --out, or remove it.")
    storage.check_writable(storage.parent(storage.normalize(out)) or "/")
    problems = Problems()
    roles = assign(
        [_as_given(folder) for folder in folders],
        {role: _as_given(url) for role, url in named.items()},
        problems,
    )
    problems.raise_if_any()
    made = draft(roles, lists_url, preset, problems)
    problems.raise_if_any()
    run = f"out/{PurePosixPath(out).stem}"
    words = [*folders, *(word for role, url in named.items() for word in (f"--{role}", url))]
    words += [] if preset is None else ["--preset", preset]
    text = config_text(made, run, shlex.join(["factory", "init", *words, "--out", out]))
    config = parse_config(parse_yaml(text), out)
    listed = json.dumps(made.lists, indent=1, ensure_ascii=False)
    # What is no UTF-8 in a name becomes an escape of JSON.
    lists = {lists_url: listed.encode(errors="backslashreplace")} if made.lists else {}
    _write({**lists, out: text.encode()})
    return _told(made, config, out, lists_url)


def _write(files: Mapping[str, bytes]) -> None:
    """Writes all files, or none: one that is left would be in the way of the same command. Raises
    OSError."""
    written: list[str] = []
    try:
        for url, data in files.items():
            storage.write_new(storage.normalize(url), data)
            written.append(url)
    except OSError:
        for url in written:
            storage.remove(storage.normalize(url))
        raise


def _as_given(url: str) -> str:
    """The URL as people wrote it, without a slash at its end: a config may move with its folder."""
    storage.normalize(url)
    return url.rstrip("/") or url


def _size(shape: Shape) -> Iterator[str]:
    """The preset, what its training takes without a GPU, and what would take less."""
    yield f"preset: {shape.preset}, {shape.num_steps:,} steps, {shape.cost}"
    if shape.preset != TOY and shape.core_hours > _MANY_HOURS:
        yield (
            "  without a GPU, begin with --preset toy, a small network for 32 px, and end the "
            "training early with --num-steps"
        )


def _told(made: Draft, config: Config, out: str, lists_url: str) -> list[str]:
    """What was found and decided, what to do next, and what to look at."""
    shape = made.shape
    assert shape is not None
    lines = [*made.said]
    if made.classes is not None and made.classes.names:
        lines.append(f"classes: {', '.join(made.classes.names)}, {made.classes.source}")
    lines += _size(shape)
    lines.append(f"{out}: written" + (f", with {lists_url}" if made.lists else ""))
    lines.append("next:")
    lines += [f"  {command}" for command in all_commands(config, ["--config", out])]
    doubts = list(dict.fromkeys(made.doubts))
    if "labelled" not in made.sections:
        doubts.append("data.labelled: 20 to 100 of the images need masks before `factory fit`")
    if doubts:
        lines.append("please check:")
        lines += [f"  {doubt}" for doubt in doubts]
    return lines
