"""What it costs to write a pair: two PNGs and their place in a shard, beside Pillow and webdataset.

    python benchmarks/writing.py [--images FOLDER]

The other side: Pillow's PNG as it comes, and webdataset's `ShardWriter` with the same fields as
JSON, which it gets ready-made, while ours counts the classes of each mask, too. Both write to a
temporary folder, on one thread, in turns. CPU time is reported, since other work on the machine
makes wall time longer. ShardWriter gives each member a PAX header, for its time in fractions of a
second: `both PNGs` compares what the pictures alone take.
"""

import argparse
import io
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import deflate
import measuring
import numpy as np
import pyarrow as pa
import torch
import webdataset
from measuring import Row
from PIL import Image

from factory.classes import IGNORE_ID
from factory.data.toy import drawing
from factory.images import UInt8, open_image
from factory.png import decode_png, encode_png
from factory.shards.measuring import measure
from factory.shards.plan import Plan
from factory.shards.schema import Sample, sample_key, to_fields

SIZES = (64, 256)
FORMATS = ("webdataset", "parquet")
GOAL, GOAL_BYTES = ">= 5x", "<= 1.15x the bytes"

Pair = tuple[UInt8, UInt8]
Work = Callable[[], Any]

NUM_FRAME_BYTES = 57
"""Of a PNG around its one deflated chunk."""

FILTERS = {"no filter": 0, "left": 1, "up": 2, "Paeth": 4}
DEFLATES: dict[str, Callable[[Any], bytes | bytearray]] = {
    "zlib 1": lambda lines: zlib.compress(lines, 1),
    "zlib 6": lambda lines: zlib.compress(lines, 6),
    "zlib, runs only": lambda lines: with_strategy(lines, zlib.Z_RLE),
    "zlib, Huffman only": lambda lines: with_strategy(lines, zlib.Z_HUFFMAN_ONLY),
    "libdeflate 1": lambda lines: deflate.zlib_compress(lines, 1),
    "libdeflate 2": lambda lines: deflate.zlib_compress(lines, 2),
    "libdeflate 6": lambda lines: deflate.zlib_compress(lines, 6),
}
PILLOW: dict[str, dict[str, Any]] = {
    "Pillow's defaults": {},
    "Pillow 1": {"compress_level": 1},
    "Pillow, runs only": {"compress_level": 1, "compress_type": zlib.Z_RLE},
    "Pillow, Huffman only": {"compress_level": 1, "compress_type": zlib.Z_HUFFMAN_ONLY},
}


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser("What it costs to write a pair.")
    arguments.set_defaults(threads=1)
    arguments.add_argument(
        "--images", type=Path, metavar="FOLDER", help="with images/ and masks/; else drawn faces"
    )
    arguments.add_argument("--num", type=int, default=400, help="pairs of 64 px; fewer of 256 px")
    return arguments


def main() -> None:
    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    pa.set_cpu_count(options.threads)
    source = "drawn faces" if options.images is None else "the given pictures, scaled where needed"
    rows, notes = [], []
    for size in SIZES:
        pairs = read_pairs(options.images, size, options.num * min(SIZES) ** 2 // size**2)
        notes.append(f"{size} px: {len(pairs)} pairs, {source}.")
        notes.append(settings(size, pairs, options.runs))
        with tempfile.TemporaryDirectory() as folder:
            for case in cases(size, pairs, Path(folder)):
                rows.append(case.measured(options.runs, len(pairs)))
            rows += sizes(size, pairs, Path(folder))
    measuring.report("Writing pairs", rows, options.json, notes)


def read_pairs(folder: Path | None, size: int, num: int) -> list[Pair]:
    """Images (size, size, 3) and masks (size, size); at most num, at least one."""
    num = max(1, num)
    if folder is None:
        return [drawing.draw(0, index, size) for index in range(num)]
    pairs = []
    for mask_file in sorted((folder / "masks").glob("*.png"))[:num]:
        (image_file,) = (folder / "images").glob(f"{mask_file.stem}.*")
        image = open_image(image_file.read_bytes()).convert("RGB")
        image = crop_and_resize(image, size, Image.Resampling.BICUBIC)
        mask = crop_and_resize(open_image(mask_file.read_bytes()), size, Image.Resampling.NEAREST)
        pairs.append((np.array(image), np.array(mask)))
    return pairs


def crop_and_resize(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """Crops the largest centred square and scales it to size x size."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if side == size:
        return image.crop((left, top, left + side, top + side))
    return image.resize((size, size), resample, box=(left, top, left + side, top + side))


class Case(NamedTuple):
    """Works over all pairs; reported as microseconds a pair."""

    name: str
    ours: Work
    other: Work | None
    goal: str | None = None

    def measured(self, runs: int, num: int) -> Row:
        """Medians."""
        ours, *other = in_turns([self.ours, *([self.other] if self.other else [])], runs, num)
        return Row(self.name, ours, other[0] if other else None, "us", self.goal)


def in_turns(works: list[Work], runs: int, num: int) -> list[float]:
    """Median CPU time of each, in microseconds for each of num pairs; first calls do not count."""
    times: list[list[float]] = [[] for _ in works]
    for run in range(runs + 1):
        for work, spent in zip(works, times, strict=True):
            started = time.process_time()
            work()
            if run:
                spent.append((time.process_time() - started) * 1e6 / num)
    return [statistics.median(spent) for spent in times]


def cases(size: int, pairs: list[Pair], folder: Path) -> Iterator[Case]:
    """The whole first, then its parts, then the self-check, which comes on top."""
    plans = {name: plan_of(name, pairs) for name in FORMATS}
    fields = fields_of(pairs)
    for name, plan in plans.items():
        ours = partial(write_ours, plan, pairs, folder)
        yield Case(f"{size} px, {name}", ours, partial(write_theirs, pairs, fields, folder), GOAL)
    for what, pictures in zip(("image", "mask"), zip(*pairs, strict=True), strict=True):
        theirs = partial(each, pillow_png, pictures)
        yield Case(f"{size} px, PNG of the {what}", partial(each, encode_png, pictures), theirs)
    yield Case(f"{size} px, classes counted", lambda: fields_of(pairs), None)
    encoded_pairs = [tuple(map(pillow_png, pair)) for pair in pairs]
    pack: Work = partial(pack_theirs, encoded_pairs, fields, folder)
    for name, plan in plans.items():
        encoded = [plan.encode_sample(sample) for sample in samples_of(pairs)]
        yield Case(f"{size} px, {name} alone", partial(plan.pack, encoded), pack)
    pngs = [encode_png(picture) for pair in pairs for picture in pair]
    yield Case(f"{size} px, PNGs read", partial(each, decode_png, pngs), partial(each, read, pngs))
    for name, plan in plans.items():
        spec = plan.shard(0)
        check = partial(measure, plan, spec, {spec.path: plan.encode(samples_of(pairs))})
        yield Case(f"{size} px, {name}: self-check", check, None)


def sizes(size: int, pairs: list[Pair], folder: Path) -> Iterator[Row]:
    """Bytes of a pair in its shard."""
    pngs = [sum(len(png(p)) for pair in pairs for p in pair) for png in (encode_png, pillow_png)]
    ours, theirs = (num / len(pairs) for num in pngs)
    yield Row(f"{size} px, both PNGs: bytes", ours, theirs, "bytes", GOAL_BYTES)
    theirs = write_theirs(pairs, fields_of(pairs), folder) / len(pairs)
    for name in FORMATS:
        ours = write_ours(plan_of(name, pairs), pairs, folder) / len(pairs)
        yield Row(f"{size} px, {name}: bytes", ours, theirs, "bytes", GOAL_BYTES)


def write_ours(plan: Plan, pairs: list[Pair], folder: Path) -> int:
    """Number of bytes written."""
    return (folder / "ours").write_bytes(plan.encode(samples_of(pairs)))


def write_theirs(pairs: list[Pair], fields: list[dict[str, Any]], folder: Path) -> int:
    """Number of bytes written."""
    return pack_theirs([tuple(map(pillow_png, pair)) for pair in pairs], fields, folder)


def pack_theirs(pngs: list[tuple[bytes, ...]], fields: list[dict[str, Any]], folder: Path) -> int:
    """Number of bytes written."""
    with webdataset.ShardWriter(str(folder / "%06d.tar"), verbose=0) as writer:
        for (image, mask), row in zip(pngs, fields, strict=True):
            sample = {"__key__": row["key"], "image.png": image, "mask.png": mask, "json": row}
            writer.write(sample)
    return (folder / "000000.tar").stat().st_size


def samples_of(pairs: list[Pair]) -> list[Sample]:
    """New ones each time: a sample keeps what was counted of it."""
    return [
        Sample(sample_key(index), image, mask, index, 0.1, "0123456789ab")
        for index, (image, mask) in enumerate(pairs)
    ]


def fields_of(pairs: list[Pair]) -> list[dict[str, Any]]:
    """What both sides write of a pair beside its pictures."""
    num = num_classes(pairs)
    return [to_fields(sample, num) for sample in samples_of(pairs)]


def num_classes(pairs: list[Pair]) -> int:
    """One more than the highest id."""
    return 1 + max(int(mask[mask != IGNORE_ID].max(initial=0)) for _, mask in pairs)


def plan_of(format: str, pairs: list[Pair]) -> Plan:
    """One shard for all."""
    names = [f"class {i}" for i in range(num_classes(pairs))]
    return Plan.model_validate(
        {
            "num": len(pairs),
            "samples_per_shard": len(pairs),
            "format": format,
            "class_names": names,
            "palette": [(i, i, i) for i in range(len(names))],
            "recipe": {"seed": 0},
        }
    )


def each(work: Callable[[Any], Any], things: Iterable[Any]) -> list[Any]:
    """Results in order."""
    return [work(thing) for thing in things]


def pillow_png(pixels: UInt8, **options: int) -> bytes:
    """Pillow's, by default with its own settings."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", **options)
    return buffer.getvalue()


def read(png: bytes) -> UInt8:
    """As Pillow reads it."""
    return np.asarray(Image.open(io.BytesIO(png)))


def settings(size: int, pairs: list[Pair], runs: int) -> str:
    """What `encode_png` chose from, as a Markdown table; all run in turns, medians are reported."""
    pictures = {"image": [image for image, _ in pairs], "mask": [mask for _, mask in pairs]}
    works = {
        (name, what): partial(each, encoder, found)
        for name, encoder in encoders().items()
        for what, found in pictures.items()
    }
    spent = dict(zip(works, in_turns(list(works.values()), runs, len(pairs)), strict=True))
    lines = [f"| {size} px | image, us | bytes | mask, us | bytes |", "|---|---|---|---|---|"]
    for name in encoders():
        cells = [name]
        for what in pictures:
            cells.append(f"{spent[name, what]:.1f}")
            cells.append(f"{statistics.mean(map(len, works[name, what]())):.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def encoders() -> dict[str, Callable[[UInt8], bytes]]:
    """Ours, Pillow's, and those of one filter for all rows."""
    chosen: dict[str, Callable[[UInt8], bytes]] = {"encode_png": encode_png}
    for name, options in PILLOW.items():
        chosen[name] = partial(pillow_png, **options)
    for filter in FILTERS:
        for method in DEFLATES:
            chosen[f"{filter}, {method}"] = partial(framed, filter, method)
    return chosen


def framed(filter: str, method: str, pixels: UInt8) -> bytes:
    """As many bytes as a PNG of these settings has."""
    return bytes(NUM_FRAME_BYTES) + DEFLATES[method](filtered(filter, pixels))


def filtered(filter: str, pixels: UInt8) -> UInt8:
    """(H, 1 + W * channels): each row behind the number of its filter."""
    height = len(pixels)
    rows, step = pixels.reshape(height, -1), 1 if pixels.ndim == 2 else 3
    lines = np.empty((height, 1 + rows.shape[1]), np.uint8)
    lines[:, 0] = FILTERS[filter]
    lines[:, 1:] = rows
    if filter == "left":
        lines[:, 1 + step :] -= rows[:, :-step]
    elif filter == "up":
        lines[1:, 1:] -= rows[:-1]
    elif filter == "Paeth":
        lines[:, 1:] -= paeth(rows, step)
    return lines


def paeth(rows: UInt8, step: int) -> UInt8:
    """Of left, up and their corner the one next to left + up - corner."""
    padded = np.zeros((rows.shape[0] + 1, rows.shape[1] + step), np.int16)
    padded[1:, step:] = rows
    left, up, corner = padded[1:, :-step], padded[:-1, step:], padded[:-1, :-step]
    to_left, to_up = up - corner, left - corner
    to_corner = np.abs(to_left + to_up)
    np.abs(to_left, out=to_left)
    np.abs(to_up, out=to_up)
    chosen = np.where(to_up < to_left, up, left)
    np.copyto(chosen, corner, where=to_corner < np.minimum(to_left, to_up))
    return chosen.astype(np.uint8)


def with_strategy(lines: Any, strategy: int) -> bytes:
    """zlib's, level 1."""
    deflater = zlib.compressobj(1, strategy=strategy)
    return deflater.compress(lines) + deflater.flush()


if __name__ == "__main__":
    main()
