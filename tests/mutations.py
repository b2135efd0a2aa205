"""Random damage to a finished dataset on local disk: what `verify` must name, one at a time."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

KINDS = ("flip", "truncate", "delete", "swap", "foreign", "edit")


@contextmanager
def mutated(root: Path, rng: random.Random) -> Iterator[tuple[str, set[str]]]:
    """Damages the dataset; yields what was done and which files it concerns; undoes it."""
    files = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
    kind = rng.choice(KINDS)
    concerned = _MUTATIONS[kind](root, files, rng)
    kept = {name: content for name, content in concerned.items() if content is not None}
    try:
        yield f"{kind} {sorted(concerned)}", set(concerned)
    finally:
        for name in concerned:
            path = root / name
            if path.is_dir():
                shutil.rmtree(path)
            if name in kept:
                path.write_bytes(kept[name])
            else:
                path.unlink(missing_ok=True)


Concerned = dict[str, bytes | None]
"""Names of the files that were changed, and what they held before."""


def _flip(root: Path, files: list[str], rng: random.Random) -> Concerned:
    name = rng.choice(files)
    before = (root / name).read_bytes()
    content = bytearray(before)
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    (root / name).write_bytes(content)
    return {name: before}


def _truncate(root: Path, files: list[str], rng: random.Random) -> Concerned:
    """At a multiple of 512 bytes, as a file system does."""
    name = rng.choice(files)
    before = (root / name).read_bytes()
    (root / name).write_bytes(before[: 512 * rng.randrange(-(-len(before) // 512))])
    return {name: before}


def _delete(root: Path, files: list[str], rng: random.Random) -> Concerned:
    name = rng.choice(files)
    before = (root / name).read_bytes()
    (root / name).unlink()
    return {name: before}


def _swap(root: Path, files: list[str], rng: random.Random) -> Concerned:
    """Two shards, or two receipts."""
    folder = rng.choice(["data/", "_factory/shards/"])
    one, other = rng.sample([name for name in files if name.startswith(folder)], 2)
    before: Concerned = {name: (root / name).read_bytes() for name in (one, other)}
    (root / one).rename(root / "swap")
    (root / other).rename(root / one)
    (root / "swap").rename(root / other)
    return before


def _foreign(root: Path, files: list[str], rng: random.Random) -> Concerned:
    """Of a new name, or instead of a file of ours."""
    folder = rng.choice(["data", "_factory", "_factory/shards", "."])
    name = os.path.normpath(f"{folder}/{rng.choice(['x', 'train-', '0'])}{rng.randrange(10**6)}")
    name += rng.choice(["", ".json", ".parquet", ".tar"])
    if rng.random() < 0.5:
        name = rng.choice(files)
    path = root / name
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(rng.randbytes(rng.choice([0, 7, 1000])))
    return {name: before}


def _edit(root: Path, files: list[str], rng: random.Random) -> Concerned:
    """A digit of a receipt, of the manifest, the plan or `_SUCCESS`: it may still parse."""
    name = rng.choice([n for n in files if n.startswith("_factory/") or n == "_SUCCESS"])
    before = (root / name).read_bytes()
    digits = [i for i, byte in enumerate(before) if chr(byte).isdigit()]
    content = bytearray(before)
    at = rng.choice(digits or [0])
    content[at] = ord(rng.choice("0123456789".replace(chr(content[at]), "")))
    (root / name).write_bytes(content)
    return {name: before}


_MUTATIONS: dict[str, Callable[[Path, list[str], random.Random], Concerned]] = {
    "flip": _flip,
    "truncate": _truncate,
    "delete": _delete,
    "swap": _swap,
    "foreign": _foreign,
    "edit": _edit,
}
