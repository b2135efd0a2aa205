"""What a receipt tells of a shard, as the bytes of its files show it."""

import hashlib
import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.errors import DamagedShard, counted
from factory.shards import tar_metadata
from factory.shards.columns import EXPECTED_IOU, SCORE_COLUMNS
from factory.shards.mask_files import Read
from factory.shards.plan import Plan, ShardSpec
from factory.shards.quotas import quotas_of
from factory.shards.receipts import NUM_CLOSEST, ShardFile
from factory.shards.schema import Sample, check_choice, check_sample, sample_key
from factory.shards.splits import Split, indices_of

NUM_QUANTILES = 20
"""A receipt keeps at most so many quantiles of uncertainty, and of expected IoU, so that readers
know the range and the shares of a dataset without reading its shards."""


def measure(
    plan: Plan, spec: ShardSpec, files: Mapping[str, bytes], read: Read | None = None
) -> dict[str, Any]:
    """The fields of a receipt's content that follow from the bytes of the shard's files.

    files: by name, those of `ShardSpec.paths` at least. read: as for `Plan.iterate`. Raises
    DamagedShard if they do not decode, or if rows, keys, ids or uncertainties are not those of the
    plan.
    """
    found = {
        split: _measured(plan, spec, split, files[path], read)
        for split, path in zip(spec.splits, spec.data_paths, strict=True)
    }
    for path, tar in spec.tables.items():
        tar_metadata.check(files[path], files[tar], tar, plan.classes, plan.run, plan.columns)
    rows = [len(each) for each in found.values()]
    nums = [*rows, *rows] if spec.tables else rows
    first, *others = (
        ShardFile(
            path=path, rows=num, bytes=len(files[path]), sha256=_sha256(files[path])
        ).model_dump()
        for path, num in zip(spec.paths, nums, strict=True)
    )
    everything = sorted(chain.from_iterable(found.values()), key=lambda each: each.index)
    _check_quotas(plan, spec, everything)
    content = {"run_id": plan.run_id, "shard": spec.shard, **first, **_summed(everything)}
    if others:
        content["others"] = others
    if plan.val_fraction is not None:
        content["splits"] = {split: _summed(each) for split, each in found.items()}
    return content


def _check_quotas(plan: Plan, spec: ShardSpec, samples: Sequence["_Measured"]) -> None:
    """Raises DamagedShard if too few samples show a class."""
    for name, num in quotas_of(plan, spec).items():
        i = plan.class_names.index(name)
        showing = sum(bool(sample.class_pixels[i]) for sample in samples)
        if showing < num:
            raise DamagedShard(
                f"{spec.path}: {counted(showing, 'sample')} of {len(samples)} show {name}, where "
                f"the plan has {num}"
            )


@dataclass(frozen=True)
class _Measured:
    """What a receipt takes of a sample."""

    index: int
    uncertainty: float
    expected_iou: float | None
    """None where votes do not tell it."""
    class_pixels: npt.NDArray[np.int64]
    scores: dict[str, tuple[int, ...]]
    """The values of SCORE_COLUMNS; none where masks are not compared."""
    nearest: tuple[float, int] | None
    """The distance and the number of the nearest training image; None where nothing tells it."""


def _measured(
    plan: Plan, spec: ShardSpec, split: Split, data: bytes, read: Read | None
) -> list[_Measured]:
    """The samples of a file, which must be those of a split. Raises DamagedShard."""
    num_classes, keys, found = len(plan.class_names), [], []
    wanted = indices_of(spec.start, spec.stop, split, plan.val_fraction)
    for index, sample in zip_longest(wanted, plan.iterate(data, read)):
        if sample is None:
            break
        check_sample(sample, num_classes, plan.channels, plan.is_scored, plan.calibration)
        check_choice(sample, plan.tells_distances, plan.choice)
        keys.append(sample.key)
        scores = {name: getattr(sample, name) for name in SCORE_COLUMNS if plan.is_scored}
        pixels = sample.class_pixels(num_classes)
        expected, near = sample.expected_iou if plan.expects_by_votes else None, _nearest(sample)
        found.append(_Measured(index, sample.uncertainty, expected, pixels, scores, near))
    if keys != [sample_key(i) for i in wanted]:
        path = dict(zip(spec.splits, spec.data_paths, strict=True))[split]
        raise DamagedShard(
            f"{path}: {counted(len(keys), 'sample')} {keys[:1]}..{keys[-1:]}, expected "
            f"{len(wanted)} from {sample_key(wanted[0])}"
        )
    return found


def _nearest(sample: Sample) -> tuple[float, int] | None:
    distance, number = sample.nearest_training_distance, sample.nearest_training_image
    return None if distance is None or number is None else (distance, number)


def _summed(samples: Sequence[_Measured]) -> dict[str, Any]:
    """The fields of a `Part`; samples are in order."""
    uncertainties = [sample.uncertainty for sample in samples]
    expected = [each.expected_iou for each in samples if each.expected_iou is not None]
    return {
        "rows": len(samples),
        "first_key": sample_key(samples[0].index),
        "last_key": sample_key(samples[-1].index),
        "class_pixels": np.sum([sample.class_pixels for sample in samples], axis=0).tolist(),
        **_spread("uncertainty", uncertainties),
        **(_spread(EXPECTED_IOU, expected) if expected else {}),
        **{
            name: np.sum([sample.scores[name] for sample in samples], axis=0).tolist()
            for name in samples[0].scores
        },
        **_closest(samples),
    }


def _closest(samples: Sequence[_Measured]) -> dict[str, Any]:
    """The field `closest` where samples tell how near they are to a training image."""
    told = [(*each.nearest, each.index) for each in samples if each.nearest is not None]
    found = [
        {"key": sample_key(index), "distance": distance, "training_image": number}
        for distance, number, index in heapq.nsmallest(
            NUM_CLOSEST, told, key=lambda each: (each[0], each[2])
        )
    ]
    return {"closest": found} if found else {}


def _spread(name: str, values: Sequence[float]) -> dict[str, Any]:
    """The fields that tell how numbers of this name are distributed."""
    return {
        f"{name}_mean": math.fsum(values) / len(values),
        f"{name}_max": max(values),
        f"{name}_min": min(values),
        f"{name}_quantiles": quantiles(values),
    }


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def quantiles(values: Sequence[float]) -> list[float]:
    """The middles of up to NUM_QUANTILES equal parts of the sorted values, each of which stands for
    its part; all values if they are no more than that."""
    ordered, num = sorted(values), min(len(values), NUM_QUANTILES)
    return [ordered[(2 * i + 1) * len(ordered) // (2 * num)] for i in range(num)]
