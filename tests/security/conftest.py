"""A finished dataset to attack."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factory.data.toy import drawing, faces
from factory.shards.ledger import Ledger
from factory.shards.plan import Plan
from factory.shards.receipts import Circumstances
from factory.shards.schema import Sample, sample_key
from tests import kept


def draw(index: int) -> Sample:
    image, mask = drawing.draw(7, index, 16)
    uncertainty = float(np.float32(np.random.default_rng(index).random()))
    return Sample(sample_key(index), image, mask, index, uncertainty, "abc")


@pytest.fixture
def make_sample() -> Callable[[int], Sample]:
    """Makes the index-th sample of the dataset."""
    return draw


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    """Makes plans of 4 pairs in 2 shards; keyword arguments replace fields."""

    def make(**changes: object) -> Plan:
        fields: dict[str, object] = {
            "num": 4,
            "samples_per_shard": 2,
            "format": "parquet",
            "class_names": faces.CLASSES,
            "palette": faces.PALETTE,
            "recipe": {"seed": 0},
        }
        return Plan.model_validate({**fields, **changes})

    return make


@pytest.fixture
def make_dataset(make_plan: Callable[..., Plan], tmp_path: Path) -> Callable[..., str]:
    """Makes a finished dataset and returns its URL; keyword arguments are fields of its plan."""

    def make(license: str = "cc0-1.0", description: str = "A test.", **changes: object) -> str:
        plan, url = make_plan(**changes), str(tmp_path / "dataset")

        def write(url: str) -> None:
            Ledger(url, plan).start("generate: {}\n", {"python": "3"})
            for spec in plan.shards():
                data = plan.encode([draw(i) for i in range(spec.start, spec.stop)])
                circumstances = Circumstances(seconds=1.0, host="here")
                Ledger(url, plan).publish(spec, {spec.path: data}, circumstances)
            Ledger(url, plan).finish(description, license)

        kept.lay_down(url, ("security", plan.model_dump_json(), license, description), write)
        return url

    return make
