"""One HTML page that shows a finished dataset: pictures, classes, uncertainty, how it was made.

The page is a single file without scripts, and reaches for nothing outside itself. All text from
the dataset is escaped.
"""

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape

import numpy as np

from factory import storage
from factory.classes import Classes, Color
from factory.differences import flatten
from factory.errors import DamagedShard, UserError
from factory.images import colorize, encode_png, overlay
from factory.shards.ledger import (
    Manifest,
    Plan,
    ShardSpec,
    read_manifest,
    read_shard,
)
from factory.shards.receipts import kinds
from factory.shards.schema import Sample

MAX_SHARDS_READ = 8
NUM_BINS = 32
PANE_PIXELS = 128
PAGE = "report/index.html"


def write_report(url: str, num_samples: int = 64) -> str:
    """Writes the page of a finished dataset below url; returns its place.

    Raises UserError where there is no dataset, it is unfinished, or a shard is damaged, and for
    what is no place of ours. Raises OSError from the storage.
    """
    assert num_samples >= 1, num_samples
    url = storage.normalize(url)
    manifest = storage.with_retries(partial(read_manifest, url))
    plan = manifest.plan
    page = _page(url, plan, manifest, _look(url, plan, manifest, num_samples))
    place = storage.join(url, PAGE)
    storage.with_retries(partial(storage.write, place, page.encode()))
    return place


@dataclass(frozen=True)
class _Seen:
    """What was read of the shards."""

    samples: list[Sample]
    """To show, most certain first."""
    uncertainties: list[float]
    """Of every pair in the shards that were read."""
    num_shards: int


def _look(url: str, plan: Plan, manifest: Manifest, num_samples: int) -> _Seen:
    """Reads a few shards that lie evenly over the dataset, and keeps samples evenly from them."""
    num_shards = min(plan.num_shards, MAX_SHARDS_READ, num_samples)
    specs = [plan.shard(i) for i in _evenly(plan.num_shards, num_shards)]
    indices = [i for spec in specs for i in range(spec.start, spec.stop)]
    wanted = {indices[i] for i in _evenly(len(indices), min(num_samples, len(indices)))}
    samples, uncertainties = [], []
    for spec in specs:
        for index, sample in _indexed(url, plan, manifest, spec):
            uncertainties.append(sample.uncertainty)
            if index in wanted:
                samples.append(sample)
    samples.sort(key=lambda sample: (sample.uncertainty, sample.key))
    return _Seen(samples, uncertainties, num_shards)


def _indexed(
    url: str, plan: Plan, manifest: Manifest, spec: ShardSpec
) -> Iterator[tuple[int, Sample]]:
    data = storage.with_retries(partial(read_shard, url, manifest.receipts[spec.shard]))
    try:
        yield from enumerate(plan.iterate(data), start=spec.start)
    except DamagedShard as error:
        raise UserError(
            f"{storage.join(url, spec.path)}: {error}, though its receipt is for these bytes. "
            "Make the dataset anew."
        ) from None


def _evenly(num: int, count: int) -> list[int]:
    """count different numbers of 0..num-1, each the middle of an equal part."""
    return [(2 * i + 1) * num // (2 * count) for i in range(count)]


def _page(url: str, plan: Plan, manifest: Manifest, seen: _Seen) -> str:
    name = escape(storage.name_of(url))
    sections = (
        _samples(plan, seen),
        _classes(plan.classes, manifest),
        _uncertainty(plan, manifest, seen),
        _making(url, plan, manifest),
        _loading(plan),
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name} | synthetic pairs</title>
<style>{_CSS}</style>
</head>
<body>
<header>
<p class="kicker">Synthetic image/mask pairs</p>
<h1>{name}</h1>
<p class="muted">run <code>{plan.run_id}</code></p>
{_facts(plan, manifest, seen)}
</header>
<main>
{"".join(sections)}</main>
</body>
</html>
"""


def _facts(plan: Plan, manifest: Manifest, seen: _Seen) -> str:
    sizes = {(sample.image.shape[1], sample.image.shape[0]) for sample in seen.samples}
    facts = {
        "pairs": f"{manifest.rows:,}",
        "pixels": " or ".join(
            f"{width} \N{MULTIPLICATION SIGN} {height}" for width, height in sorted(sizes)
        ),
        "classes": str(len(plan.classes)),
        "shards": f"{plan.num_shards:,}",
        "format": {"parquet": "Parquet", "webdataset": "WebDataset"}[plan.format],
        "size": _bytes(manifest.bytes),
    }
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{tiles}</dl>'


def _section(title: str, note: str, body: str) -> str:
    """title and body are HTML; so is note, which explains the body."""
    return f'<section>\n<h2>{title}</h2>\n<p class="muted">{note}</p>\n{body}\n</section>\n'


def _samples(plan: Plan, seen: _Seen) -> str:
    shown = len(seen.samples)
    if shown == plan.num:
        which = f"All {_count(plan.num, 'pair')}"
    else:
        which = (
            f"{shown:,} of {_count(plan.num, 'pair')}, taken evenly from {seen.num_shards:,} of "
            f"{_count(plan.num_shards, 'shard')}"
        )
    classes = plan.classes
    legend = "".join(
        f"<li>{_swatch(color)}{escape(name)}</li>"
        for name, color in zip(classes.names, classes.palette, strict=True)
    )
    figures = "\n".join(_figure(sample, classes) for sample in seen.samples)
    return _section(
        "Samples",
        f"{which}, most certain first. Each shows image, mask and overlay, above its key and "
        "uncertainty in nats.",
        f'<ul class="legend">{legend}</ul>\n<div class="grid">\n{figures}\n</div>',
    )


def _figure(sample: Sample, classes: Classes) -> str:
    """Image, mask and overlay as one picture, enlarged by whole pixels where it is small."""
    colored = colorize(sample.mask, classes)
    blended = overlay(sample.image, sample.mask, classes)
    strip = np.concatenate([sample.image, colored, blended], axis=1)
    picture = base64.b64encode(encode_png(strip)).decode()
    height, width = sample.mask.shape
    scale = PANE_PIXELS // width or PANE_PIXELS / width
    key = escape(sample.key)
    return (
        f'<figure><img src="data:image/png;base64,{picture}" alt="image, mask, overlay of {key}" '
        f'width="{round(3 * width * scale)}" height="{round(height * scale)}">'
        f"<figcaption><code>{key}</code><span>{sample.uncertainty:.4f}</span></figcaption></figure>"
    )


def _classes(classes: Classes, manifest: Manifest) -> str:
    counts = [
        sum(column) for column in zip(*(r.class_pixels for r in manifest.receipts), strict=True)
    ]
    shares = _percentages(counts)
    top = max(shares) or 1.0
    rows = "\n".join(
        f"<tr><td>{i}</td><th>{_swatch(color)}{escape(name)}</th>"
        f'<td class="bar"><i style="width:{100 * share / top:.2f}%;background:{_hex(color)}"></i>'
        f'</td><td class="share">{share:.2f} %</td></tr>'
        for i, (name, color, share) in enumerate(
            zip(classes.names, classes.palette, shares, strict=True)
        )
    )
    return _section(
        "Classes",
        f"Share of the {sum(counts):,} labelled pixels of the whole dataset, per class id.",
        f'<table class="bars">\n{rows}\n</table>',
    )


def _percentages(counts: Sequence[int]) -> list[float]:
    """Shares in percent with two decimals that sum to 100, or are all 0 where nothing counts."""
    total = sum(counts)
    if not total:
        return [0.0] * len(counts)
    parts = [10_000 * count // total for count in counts]
    # What rounding down left over goes to those who lost most by it.
    by_loss = sorted(range(len(counts)), key=lambda i: -(10_000 * counts[i] % total))
    for i in by_loss[: 10_000 - sum(parts)]:
        parts[i] += 1
    return [part / 100 for part in parts]


def _uncertainty(plan: Plan, manifest: Manifest, seen: _Seen) -> str:
    top = max(receipt.uncertainty_max for receipt in manifest.receipts)
    read = len(seen.uncertainties)
    which = f"All {_count(read, 'pair')}"
    if read < plan.num:
        which = f"{read:,} pairs in {seen.num_shards:,} of {_count(plan.num_shards, 'shard')}"
    return _section(
        "Uncertainty",
        f"{which}. The ensemble's disagreement in nats, over the most uncertain tenth of an "
        f"image's pixels. Whole dataset: mean {_mean_uncertainty(manifest):.4f}, "
        f"largest {top:.4f}.",
        _histogram(seen.uncertainties, top),
    )


def _mean_uncertainty(manifest: Manifest) -> float:
    return math.fsum(r.uncertainty_mean * r.rows for r in manifest.receipts) / manifest.rows


def _histogram(values: Sequence[float], top: float) -> str:
    """An SVG of NUM_BINS bars over 0..top."""
    width, height = 640, 160
    top = top if top > 0 else 1.0
    counts, edges = np.histogram(np.clip(values, 0.0, top), bins=NUM_BINS, range=(0.0, top))
    step, tallest = width / NUM_BINS, max(int(counts.max()), 1)
    bars = "".join(
        f'<rect x="{i * step + 1:.1f}" y="{height - h:.1f}" width="{step - 2:.1f}" '
        f'height="{h:.1f}" rx="2"><title>{low:.4f} to {high:.4f}: {count:,}</title></rect>'
        for i, (count, low, high) in enumerate(zip(counts, edges, edges[1:], strict=False))
        if (h := max(3.0, (height - 8) * count / tallest) if count else 0.0)
    )
    marks = "".join(
        f'<text x="{part * width:g}" y="{height + 18}" text-anchor="{anchor}">'
        f"{part * top:.3f}</text>"
        for part, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    )
    return (
        f'<svg class="histogram" viewBox="0 0 {width} {height + 24}" role="img" '
        f'aria-label="histogram of uncertainty">{bars}<line x1="0" y1="{height}" x2="{width}" '
        f'y2="{height}"></line>{marks}</svg>'
    )


def _making(url: str, plan: Plan, manifest: Manifest) -> str:
    seconds = math.fsum(receipt.seconds for receipt in manifest.receipts)
    redrawn = sum(receipt.redrawn for receipt in manifest.receipts)
    hosts = len({receipt.host for receipt in manifest.receipts})
    config = f"<pre>{escape(_note(url, 'config.yaml'))}</pre>"
    facts = {
        "Throughput": f"{manifest.rows / seconds:,.2f} pairs per actor-second"
        if seconds > 0
        else "unknown",
        "Actor time": f"{seconds:,.1f} s on {_count(hosts, 'host')}",
        "Drawn again by rule": _count(redrawn, "pair"),
        "Made with": "; ".join(kinds(manifest.receipts)),
        "Driver": _versions(url),
    }
    return _section(
        "How it was made",
        "A diffusion model drew the images; an ensemble on that model's features labelled them.",
        f"{_table(facts)}\n"
        f"{_details('Recipe', _table(flatten(plan.recipe)))}\n"
        f"{_details('Configuration', config)}",
    )


def _versions(url: str) -> str:
    """env.json on a line; a damaged one stops no report, as it only informs."""
    try:
        versions = json.loads(_note(url, "env.json")).items()
    except (ValueError, AttributeError):
        return "not recorded"
    return ", ".join(f"{name} {value}" for name, value in versions)


def _note(url: str, name: str) -> str:
    """A text file of the run; what is not UTF-8 in it is marked."""
    place = storage.join(url, "_factory", name)
    try:
        return storage.with_retries(partial(storage.read_bytes, place)).decode("utf-8", "replace")
    except FileNotFoundError:
        return "not recorded"


def _table(facts: Mapping[str, object]) -> str:
    rows = "\n".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f'<table class="pairs">\n{rows}\n</table>'


def _details(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n{body}\n</details>"


_DATASETS = """from datasets import load_dataset
dataset = load_dataset(".", split="train")
image, mask = dataset[0]["image{suffix}"], dataset[0]["mask{suffix}"]"""

_PANDAS = """import pandas
table = pandas.read_parquet("data")
certain = table[table["uncertainty"] <= table["uncertainty"].quantile(0.8)]"""

_WEBDATASET = """import glob, webdataset
shards = webdataset.WebDataset(sorted(glob.glob("data/*.tar")), shardshuffle=False)
png = next(iter(shards))["mask.png"]  # not decode("pil"): it makes masks RGB"""

_TORCH = """from torch.utils.data import DataLoader
from factory.shards.reader import ShardDataset
certain = ShardDataset(".", keep=0.8)  # the most certain 80 %
batches = DataLoader(certain, batch_size=64)"""


def _loading(plan: Plan) -> str:
    tar = plan.format == "webdataset"
    ways = {
        "datasets": _DATASETS.format(suffix=".png" if tar else ""),
        "webdataset" if tar else "pandas": _WEBDATASET if tar else _PANDAS,
        "torch": _TORCH,
    }
    blocks = "".join(
        f"<div><h3>{name}</h3><pre>{escape(code)}</pre></div>" for name, code in ways.items()
    )
    return _section(
        "How to load it",
        "From the dataset's folder; elsewhere, put its place where the dot is.",
        f'<div class="ways">{blocks}</div>',
    )


def _swatch(color: Color) -> str:
    return f'<i class="swatch" style="background:{_hex(color)}"></i>'


def _hex(color: Iterable[int]) -> str:
    return "#" + bytes(color).hex()


def _count(num: int, noun: str) -> str:
    return f"{num:,} {noun}" if num == 1 else f"{num:,} {noun}s"


def _bytes(num: int) -> str:
    """In the largest decimal unit that leaves at least 1."""
    power = min(4, max(0, len(str(num)) - 1) // 3)
    return f"{num / 1000**power:,.{1 if power else 0}f} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_CSS = """
:root {
  --ground: #f6f6f3; --card: #fff; --ink: #1e2126; --muted: #686d76; --line: #e4e4de;
  --accent: #4a6fd4;
  color-scheme: light dark;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #121316; --card: #1b1d21; --ink: #e8e9eb; --muted: #9a9fa9; --line: #2c2f35;
    --accent: #86a5f5;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 40px 28px 64px; max-width: 1256px;
  background: var(--ground); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  -webkit-text-size-adjust: 100%;
}
h1, h2, h3, p, dl, dd, ul, figure { margin: 0; padding: 0; }
h1 { font-size: 34px; line-height: 1.2; letter-spacing: -.02em; overflow-wrap: anywhere; }
h2 { font-size: 20px; letter-spacing: -.01em; }
h3 { font-size: 13px; color: var(--muted); font-weight: 600; }
code, pre { font: 13px/1.6 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.kicker { color: var(--accent); font-weight: 600; }
.muted { color: var(--muted); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 1px;
  margin-top: 24px; background: var(--line); border: 1px solid var(--line); border-radius: 12px;
  overflow: hidden; }
.facts div { background: var(--card); padding: 14px 18px; }
.facts dt { color: var(--muted); font-size: 13px; }
.facts dd { font-size: 20px; font-weight: 600; letter-spacing: -.01em; white-space: nowrap; }
section { margin-top: 48px; }
section > .muted { margin: 2px 0 18px; max-width: 76ch; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; margin-bottom: 18px; list-style: none; }
.legend li { overflow-wrap: anywhere; }
.swatch { display: inline-block; width: 12px; height: 12px; margin-right: 8px; border-radius: 4px;
  vertical-align: -1px; box-shadow: inset 0 0 0 1px rgb(128 128 128 / .45); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 386px), 1fr));
  gap: 21px; }
figure { width: fit-content; max-width: 100%; background: var(--card); overflow: hidden;
  border: 1px solid var(--line); border-radius: 10px; }
figure img { display: block; max-width: 100%; height: auto; image-rendering: pixelated; }
figcaption { display: flex; justify-content: space-between; padding: 7px 12px;
  font-variant-numeric: tabular-nums; }
figcaption span { color: var(--muted); font-size: 13px; }
table { width: 100%; border-spacing: 0; }
th { text-align: left; font-weight: 500; }
td, th { padding: 5px 0; vertical-align: middle; overflow-wrap: anywhere; }
.bars { font-variant-numeric: tabular-nums; }
.bars td:first-child { width: 2.2em; color: var(--muted); }
.bars th { width: 24%; padding-right: 16px; }
.bars .bar i { display: block; height: 14px; min-width: 2px; border-radius: 4px;
  box-shadow: inset 0 0 0 1px rgb(128 128 128 / .3); }
.bars .share { width: 5.6em; text-align: right; white-space: nowrap; }
.histogram { display: block; width: 100%; max-width: 760px; overflow: visible; }
.histogram rect { fill: var(--accent); }
.histogram line { stroke: var(--line); stroke-width: 1; }
.histogram text { fill: var(--muted); font-size: 13px; font-variant-numeric: tabular-nums; }
.pairs th { width: 38%; max-width: 320px; padding-right: 16px; color: var(--muted); }
.pairs td, .pairs th { border-top: 1px solid var(--line); vertical-align: top; }
details { margin-top: 14px; padding: 10px 16px; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px; }
summary { cursor: pointer; font-weight: 600; }
details > :last-child { margin: 10px 0 4px; }
pre { margin: 0; overflow-x: auto; }
.ways { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr));
  gap: 16px; }
.ways div { min-width: 0; padding: 12px 16px; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px; }
.ways h3 { margin-bottom: 6px; }
@media (max-width: 480px) {
  body { padding: 24px 16px 48px; }
  h1 { font-size: 27px; }
  .facts { grid-template-columns: repeat(2, 1fr); }
  .bars th { width: 34%; }
  .histogram text { font-size: 22px; }
}
"""
