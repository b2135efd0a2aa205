"""One HTML page that shows a finished dataset: pictures, classes, uncertainty, how it was made.

The page is a single file without scripts, and reaches for nothing outside itself. Its template,
`assets/report.html.j2`, escapes all that is put into it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from factory import storage
from factory.certainty import Known
from factory.certainty_page import certainty_section, expected_note, known_of
from factory.classes import Classes, css_color
from factory.comparison import Comparison, compare, evenly
from factory.comparison_page import (
    closest_figures,
    closest_note,
    curve_section,
    likeness_rows,
    picture_of_mistakes,
    probe_section,
    shares_of_classes,
)
from factory.config import Config
from factory.differences import flatten
from factory.errors import DamagedShard, UserError, counted
from factory.generation.row_images import RowImages
from factory.generation.source_images import REMEDY
from factory.histogram import histogram
from factory.page_parts import decoded, percentages, picture
from factory.pictures import colorize, overlay
from factory.progress import tracked
from factory.proving.proof import read_proof
from factory.shards.layout import CONFIG, ENVIRONMENT, REPORT
from factory.shards.manifest import Manifest
from factory.shards.plan import Plan
from factory.shards.reading import read_manifest, read_rows
from factory.shards.receipts import kinds, left_out, score_of, sizes_of_splits
from factory.shards.schema import Sample
from factory.shards.snippets import loading_snippets
from factory.worst_pairs_page import WorstSection, worst_section

_FORMATS = {"parquet": "Parquet", "webdataset": "WebDataset", "png": "PNG masks"}
MAX_SHARDS_READ = 8
_MAX_REASONS = 10
"""The page tells of so many images why they cannot be read."""


def write_report(url: str, num_samples: int = 64, config: Config | None = None) -> str:
    """Writes the page of a finished dataset below url; returns its URL.

    config: that of the images with which the dataset is compared on the page, or None.

    Raises UserError if url is none that is accepted, if there is no dataset, and if it is
    unfinished or damaged, or cannot be compared. Raises OSError from the storage.
    """
    assert num_samples >= 1, num_samples
    url = storage.normalize(url)
    manifest = read_manifest(url)
    plan = manifest.plan
    comparison = None if config is None else compare(url, manifest, config)
    seen = _look(url, plan, manifest, num_samples)
    worst = worst_section(url, manifest, config, comparison.labelled if comparison else None)
    page = _page(url, plan, manifest, seen, comparison, worst, config)
    page_url = storage.join(url, REPORT)
    storage.write(page_url, page.encode())
    return page_url


@dataclass(frozen=True)
class _Seen:
    """The samples that were read from the shards."""

    samples: list[Sample]
    """The samples that the page shows, the most certain first."""
    pairs: list[Known]
    """What is known of every pair in the shards that were read."""
    num_shards: int
    lacking: dict[str, str]
    """The keys of shown samples whose images lie elsewhere and cannot be read -> the reason."""


def _look(url: str, plan: Plan, manifest: Manifest, num_samples: int) -> _Seen:
    """Reads a few shards that lie evenly over the dataset, and keeps samples evenly from them."""
    images = RowImages(url) if plan.format == "png" else None
    num_shards = min(plan.num_shards, MAX_SHARDS_READ, num_samples)
    specs = [plan.shard(i) for i in evenly(plan.num_shards, num_shards)]
    indices = [i for spec in specs for i in range(spec.start, spec.stop)]
    wanted = {indices[i] for i in evenly(len(indices), min(num_samples, len(indices)))}
    samples, pairs, lacking = [], list[Known](), dict[str, str]()
    for spec in tracked(specs, "report", len(specs), "shards"):
        try:
            rows = read_rows(url, plan, manifest.receipts[spec.shard], images)
            for index, row in enumerate(rows, start=spec.start):
                pairs.append(known_of(row, plan.is_scored))
                if index in wanted:
                    samples.append(decoded(row, lacking))
        except DamagedShard as error:
            raise UserError(
                f"{storage.join(url, spec.path)}: {error}. Run `factory verify --level decode` on "
                "the dataset."
            ) from None
    samples.sort(key=lambda each: (-(each.expected_iou or 0.0), each.uncertainty, each.key))
    return _Seen(samples, pairs, num_shards, lacking)


@cache
def _template() -> Template:
    """The page, compiled once a process."""
    templates = Environment(
        loader=PackageLoader("factory", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return templates.get_template("report.html.j2")


def _page(
    url: str,
    plan: Plan,
    manifest: Manifest,
    seen: _Seen,
    comparison: Comparison | None,
    worst: WorstSection | None,
    config: Config | None,
) -> str:
    counts = [
        sum(column) for column in zip(*(r.class_pixels for r in manifest.receipts), strict=True)
    ]
    return _template().render(
        name=storage.name_of(url),
        run_id=plan.run_id,
        is_drawn=plan.is_drawn,
        facts=_facts(plan, manifest, seen),
        which_samples=_which_samples(plan, seen),
        figures=[_figure(each, plan.classes, each.key in seen.lacking) for each in seen.samples],
        classes=_classes(plan.classes, counts),
        shares=comparison and shares_of_classes(plan.classes, counts, comparison),
        likeness=comparison and comparison.likeness and likeness_rows(comparison.likeness),
        closest=closest_figures(url, manifest, comparison),
        closest_note=closest_note(comparison),
        mistakes=config and picture_of_mistakes(config, plan),
        probe=config and probe_section(config, plan),
        curve=config and curve_section(config, plan),
        worst=worst,
        proof=read_proof(url, manifest.root),
        num_pixels=sum(counts),
        uncertainty_note=_uncertainty_note(plan, manifest, seen),
        scores=_scores(plan, manifest),
        certainty=certainty_section(plan, seen.pairs),
        expected_note=expected_note(plan, seen.pairs),
        histogram=histogram(
            [pair.uncertainty for pair in seen.pairs], _largest_uncertainty(manifest)
        ),
        making=_making(url, manifest),
        recipe=flatten(plan.recipe),
        config=_note(url, CONFIG),
        ways=loading_snippets(
            plan.format, plan.mask_column, plan.val_fraction is not None, plan.has_metadata
        ),
    )


def _facts(plan: Plan, manifest: Manifest, seen: _Seen) -> dict[str, str]:
    sizes = {(sample.image.shape[1], sample.image.shape[0]) for sample in seen.samples}
    return {
        "pairs": _pairs(manifest),
        "pixels": " or ".join(
            f"{width} \N{MULTIPLICATION SIGN} {height}" for width, height in sorted(sizes)
        ),
        "classes": str(len(plan.classes)),
        "shards": f"{plan.num_shards:,}",
        "format": _FORMATS[plan.format],
        "size of tables" if plan.format == "png" else "size": _bytes(manifest.bytes),
    }


def _pairs(manifest: Manifest) -> str:
    """The number of pairs, and of those of each split where there are several."""
    splits = sizes_of_splits(manifest.plan, manifest.receipts)
    parts = ", ".join(f"{size.rows:,} {split}" for split, size in splits.items())
    return f"{manifest.rows:,} ({parts})" if len(splits) > 1 else f"{manifest.rows:,}"


def _which_samples(plan: Plan, seen: _Seen) -> str:
    shown = len(seen.samples)
    which = f"All {counted(plan.num, 'pair')}"
    if shown < plan.num:
        which = (
            f"{shown:,} of {counted(plan.num, 'pair')}, taken evenly from {seen.num_shards:,} of "
            f"{counted(plan.num_shards, 'shard')}"
        )
    below = "key and uncertainty in nats"
    if plan.expects_by_votes:
        below = "key, uncertainty in nats and the IoU that is expected of the mask"
    which += f", most certain first. Each shows image, mask and overlay, above its {below}."
    if not seen.lacking:
        return which
    # One reason may be that of all of them.
    reasons = sorted({reason.removesuffix(REMEDY).strip() for reason in seen.lacking.values()})
    rest = len(reasons) - _MAX_REASONS
    told = " ".join([*reasons[:_MAX_REASONS], *([f"And {rest:,} more."] if rest > 0 else [])])
    lacking = counted(len(seen.lacking), "image")
    return f"{which} Of {lacking} that cannot be read any more only the mask is shown: {told}"


@dataclass(frozen=True)
class _Figure:
    """Image, mask and overlay of a sample as one picture, or the mask alone."""

    key: str
    panes: str
    """What the picture shows, from left to right."""
    picture: str
    """A PNG in base64."""
    width: int
    height: int
    """Pixels on the page: small pictures are enlarged by whole pixels."""
    certainty: str
    """Its uncertainty, and the IoU that is expected of it where votes tell that."""


def _figure(sample: Sample, classes: Classes, lacks_image: bool) -> _Figure:
    panes, shown = [colorize(sample.mask, classes)], "mask"
    if not lacks_image:
        shown = "image, mask, overlay"
        image = np.broadcast_to(sample.image, panes[0].shape)
        panes = [image, *panes, overlay(sample.image, sample.mask, classes)]
    certainty = f"{sample.uncertainty:.4f}"
    if sample.expected_class_iou:
        certainty += f", IoU {sample.expected_iou:.2f}"
    return _Figure(sample.key, shown, *picture(panes), certainty)


@dataclass(frozen=True)
class _Class:
    """A class and a share in percent, such as that of the dataset which it is."""

    id: int
    name: str
    color: str
    """The class's colour in CSS."""
    share: float
    """The share in percent."""
    width: float
    """The length of its bar in percent of the longest one."""


def _classes(classes: Classes, counts: Sequence[int]) -> list[_Class]:
    shares = percentages(counts)
    top = max(shares) or 1.0
    return [_class(classes, i, share, 100 * share / top) for i, share in enumerate(shares)]


def _class(classes: Classes, i: int, share: float, width: float) -> _Class:
    return _Class(i, classes.names[i], css_color(classes.palette[i]), share, width)


@dataclass(frozen=True)
class _Scores:
    """How the masks compare to those of the source."""

    summary: str
    iou: list[_Class]
    """The IoU in percent of each class that occurs in either."""


def _scores(plan: Plan, manifest: Manifest) -> _Scores | None:
    """None where masks are not compared."""
    if (score := score_of(manifest.receipts)) is None:
        return None
    shares = [(i, 100 * iou) for i, iou in enumerate(score.iou.tolist()) if not math.isnan(iou)]
    iou = [_class(plan.classes, i, share, share) for i, share in shares]
    return _Scores(score.lines(plan.classes)[0], iou)


def _uncertainty_note(plan: Plan, manifest: Manifest, seen: _Seen) -> str:
    read = len(seen.pairs)
    which = f"All {counted(read, 'pair')}"
    if read < plan.num:
        which = (
            f"{counted(read, 'pair')} in {seen.num_shards:,} of {counted(plan.num_shards, 'shard')}"
        )
    return (
        f"{which}. The ensemble's disagreement in nats, over the most uncertain tenth of an "
        f"image's pixels. Whole dataset: mean {_mean_uncertainty(manifest):.4f}, "
        f"largest {_largest_uncertainty(manifest):.4f}."
    )


def _mean_uncertainty(manifest: Manifest) -> float:
    return math.fsum(r.uncertainty_mean * r.rows for r in manifest.receipts) / manifest.rows


def _largest_uncertainty(manifest: Manifest) -> float:
    return max(receipt.uncertainty_max for receipt in manifest.receipts)


def _making(url: str, manifest: Manifest) -> dict[str, str]:
    seconds = math.fsum(receipt.seconds for receipt in manifest.receipts)
    redrawn = sum(receipt.redrawn for receipt in manifest.receipts)
    hosts = len({receipt.host for receipt in manifest.receipts})
    return {
        "Throughput": f"{manifest.rows / seconds:,.2f} pairs per actor-second"
        if seconds > 0
        else "unknown",
        "Actor time": f"{seconds:,.1f} s on {counted(hosts, 'host')}",
        "Drawn again by rule": counted(redrawn, "pair"),
        **({"Drawn and left out": words} if (words := left_out(manifest.receipts)) else {}),
        "Made with": "; ".join(kinds(manifest.receipts)),
        "Driver": _versions(url),
    }


def _versions(url: str) -> str:
    """The versions that the driver ran with, on one line; a damaged file stops no report."""
    try:
        versions = json.loads(_note(url, ENVIRONMENT)).items()
    except (ValueError, AttributeError):
        return "not recorded"
    return ", ".join(f"{name} {value}" for name, value in versions)


def _note(url: str, name: str) -> str:
    """A text file of the run; bytes that are not UTF-8 are marked."""
    try:
        return storage.read_bytes(storage.join(url, name)).decode("utf-8", "replace")
    except FileNotFoundError:
        return "not recorded"


def _bytes(num: int) -> str:
    """A size in the largest decimal unit that leaves at least 1."""
    power = min(4, max(0, len(str(num)) - 1) // 3)
    return f"{num / 1000**power:,.{1 if power else 0}f} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
