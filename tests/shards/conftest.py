import os
from collections.abc import Callable

import fsspec
import numpy as np
import pytest

from factory.shards.ledger import Ledger
from factory.shards.packing import pack
from factory.shards.plan import Plan
from factory.shards.receipts import Circumstances
from factory.shards.schema import EncodedSample, Sample, encode_sample, sample_key
from tests import kept

# Read when datasets is imported first.
os.environ["HF_HUB_OFFLINE"] = "1"

SIZE = 16
NAMES = ("background", "no: 'quoted' | <b>", "nuclei ä")


def draw(index: int) -> Sample:
    rng = np.random.default_rng([7, index])
    return Sample(
        key=sample_key(index),
        image=rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8),
        # Some have fewer classes than others.
        mask=rng.choice(np.array([0, 1, 2, 255][index % 2 :], np.uint8), (SIZE, SIZE)),
        # Both ends, where readers that have no int64 fail.
        seed=2**63 - 1 - index if index % 2 else index,
        uncertainty=float(np.float32(rng.random())),
        model_id="abc123",
    )


@pytest.fixture
def make_samples() -> Callable[..., list[Sample]]:
    return lambda num, start=0: [draw(i) for i in range(start, start + num)]


@pytest.fixture
def make_encoded(make_samples) -> Callable[..., list[EncodedSample]]:
    return lambda num, start=0: [
        encode_sample(sample, len(NAMES)) for sample in make_samples(num, start)
    ]


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    def make(**changes: object) -> Plan:
        fields: dict = {
            "num": 7,
            "samples_per_shard": 3,
            "format": "parquet",
            "class_names": NAMES,
            "palette": ((0, 0, 0), (255, 0, 0), (0, 255, 0)),
            "recipe": {"seed": 0, "sampler": {"name": "ddim", "timesteps": (1, 2)}},
        }
        return Plan(**{**fields, **changes})

    return make


@pytest.fixture
def write_anew(make_samples) -> Callable[[str, Plan], None]:
    """Writes a finished dataset, all of it by the ledger."""

    def write(url: str, plan: Plan) -> None:
        Ledger(url, plan).start("num: 7\n", {"python": "3"})
        for spec in plan.shards():
            samples = make_samples(spec.stop - spec.start, spec.start)
            files = pack(plan, spec, list(map(plan.encode_sample, samples)))
            Ledger(url, plan).publish(spec, files, Circumstances(seconds=0.5, host="here"))
        Ledger(url, plan).finish("A test.", "cc0-1.0")

    return write


@pytest.fixture
def write_dataset(write_anew) -> Callable[[str, Plan], None]:
    """Writes a finished dataset; a copy, where this process has written the same one before."""

    def write(url: str, plan: Plan) -> None:
        kept.lay_down(url, ("shards", plan.model_dump_json()), lambda url: write_anew(url, plan))

    return write


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path) -> str:
    if request.param == "local":
        return str(tmp_path / "out")
    fsspec.filesystem("memory").store.clear()
    return f"memory://{tmp_path.name}/out"
