import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory.errors import UserError
from factory.shards import filtering
from factory.shards.filtering import Pairs, bound_of
from factory.shards.measuring import NUM_QUANTILES, quantiles
from factory.shards.reader import ShardDataset
from factory.shards.reading import read_manifest, read_plan
from factory.shards.receipts import Receipt
from factory.shards.schema import EncodedSample


def receipt(shard: int, values) -> Receipt:
    """Of a shard with these uncertainties."""
    return Receipt(
        run_id="r",
        shard=shard,
        path="",
        rows=len(values),
        bytes=0,
        sha256="",
        first_key="",
        last_key="",
        class_pixels=[],
        uncertainty_mean=float(np.mean(values)),
        uncertainty_max=max(values),
        uncertainty_min=min(values),
        uncertainty_quantiles=quantiles(values),
        seconds=0,
        host="",
    )


@pytest.fixture
def pairs(make_plan, monkeypatch) -> Pairs:
    """30 shards of 200 pairs each, the later ones the more uncertain; none can be read."""
    rng = np.random.default_rng(0)
    values = [(rng.beta(2, 6, 200) * 0.5 + shard / 100).tolist() for shard in range(30)]
    monkeypatch.setattr(filtering, "read_shard", None)
    made: Any = Pairs("there", make_plan(), [receipt(i, v) for i, v in enumerate(values)])
    made.truth = np.sort(np.concatenate(values))
    return made


@pytest.mark.parametrize("keep", [0.001, 0.05, 0.37, 0.8, 0.99])
def test_a_share_is_kept_to_a_hundredth_by_receipts_alone(pairs, keep):
    bound = bound_of(pairs, None, keep)
    assert bound is not None and bound.column == "uncertainty"
    assert np.mean(pairs.truth <= bound.value) == pytest.approx(keep, abs=0.01)
    assert pairs.num_within(bound) == pytest.approx(keep * 6000, abs=60)
    assert (pairs.truth <= bound.value).any()


def test_the_range_is_told_exactly_by_receipts_alone(pairs):
    spread = pairs.uncertainty
    assert spread.ends == (pairs.truth[0], pairs.truth[-1])
    assert spread.reaches(pairs.truth[0]) and not spread.reaches(pairs.truth[0] * 0.99)
    with pytest.raises(UserError, match=f"none of 6,000.*{pairs.truth[0]:.4g} to"):
        bound_of(pairs, pairs.truth[0] * 0.99, None)


def test_a_receipt_tells_few_pairs_all_and_many_by_their_middles():
    few = [0.3, 0.1, 0.2]
    assert quantiles(few) == sorted(few)
    assert quantiles(range(NUM_QUANTILES * 5)) == list(range(2, NUM_QUANTILES * 5, 5))


@pytest.mark.parametrize("keep", [0, -0.5, 1.01, 80, float("nan"), "0.8", True])
def test_a_share_that_is_none_is_refused(pairs, keep):
    with pytest.raises(UserError, match=r"keep = .*such as 0\.8 for the most certain 80 %"):
        bound_of(pairs, None, keep)


@pytest.mark.parametrize("nats", [80, 1.2, -1, float("inf"), float("nan"), "0.1", True])
def test_a_bound_that_cannot_be_nats_is_refused_naming_the_share(pairs, nats):
    with pytest.raises(UserError, match=r"must be nats, 0 to 1\.1 .*keep=0\.8"):
        bound_of(pairs, nats, None)


def test_two_bounds_at_once_are_refused(pairs):
    with pytest.raises(UserError, match="give one"):
        bound_of(pairs, 0.5, 0.5)


@pytest.fixture(params=["parquet", "webdataset"])
def old(request, tmp_path) -> str:
    """A dataset of version 0.1, whose receipts have neither quantiles nor the least."""
    there = Path(__file__).parent / "version_0_1" / request.param
    return str(shutil.copytree(there, tmp_path / "old"))


def test_datasets_of_version_0_1_are_read_for_what_their_receipts_do_not_tell(old):
    plan, receipts = read_plan(old), read_manifest(old).receipts
    samples = [s for r in receipts for s in plan.iterate(Path(old, r.path).read_bytes())]
    values = sorted(sample.uncertainty for sample in samples)
    assert [s["uncertainty"] for s in ShardDataset(old, max_uncertainty=values[0])] == values[:1]
    assert len(list(ShardDataset(old, keep=0.6))) == 3
    with pytest.raises(UserError, match=f"none of 5 pairs: they have {values[0]:.4g} to"):
        ShardDataset(old, max_uncertainty=values[0] * 0.99)


LINES = {"slope": 1, "intercepts": [0, 0, 0], "error": 0}
LINE = {"intercept": 0, "slope": 1, "error": 0, "wrong_above": None, "num_images": 9}


@pytest.fixture
def tied(make_plan, monkeypatch) -> Any:
    """Makes shards of 10 pairs each of expected IoUs, with uncertainties that are all different;
    grows `read` by the shards that are read."""

    def make(ious: list[list[float]]) -> Pairs:
        plan = make_plan(recipe={"calibration": {**LINE, "classes": LINES}})
        rng, receipts, rows = np.random.default_rng(0), [], {}
        for shard, values in enumerate(ious):
            uncertainties = rng.permutation(len(values)) / 10 + shard / 100
            rows[shard] = [
                EncodedSample(
                    image_png=b"",
                    mask_png=b"",
                    fields={"key": f"{shard * 10 + i:09d}", "uncertainty": u, "expected_iou": iou},
                )
                for i, (u, iou) in enumerate(zip(uncertainties.tolist(), values, strict=True))
            ]
            told = {
                "expected_iou_min": min(values),
                "expected_iou_max": max(values),
                "expected_iou_quantiles": quantiles(values),
            }
            receipts.append(receipt(shard, uncertainties.tolist()).model_copy(update=told))
        monkeypatch.setattr(filtering, "read_shard", lambda url, receipt: receipt.shard)
        monkeypatch.setattr(filtering, "merged_rows", lambda plan, shard: read(shard))

        def read(shard: int) -> list[EncodedSample]:
            made.read.add(shard)
            return rows[shard]

        made: Any = Pairs("there", plan, receipts)
        made.read, made.rows = set(), [row for shard in rows.values() for row in shard]
        return made

    return make


def kept(pairs: Any, keep: float) -> list[EncodedSample]:
    bound = bound_of(pairs, None, keep)
    assert bound is not None
    found = [row for row in pairs.rows if bound.keeps(row)]
    assert pairs.num_within(bound) == len(found)
    return found


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_where_the_same_iou_is_expected_of_all_pairs_the_least_uncertain_are_kept(tied, keep):
    pairs = tied([[0.4] * 10, [0.4] * 10])
    found = kept(pairs, keep)
    assert len(found) == round(keep * 20) and not pairs.read
    rest = [row for row in pairs.rows if row not in found]
    assert max(r.fields["uncertainty"] for r in found) < min(r.fields["uncertainty"] for r in rest)


@pytest.mark.parametrize("keep", [0.1, 0.35, 0.4, 0.5, 0.75])
def test_exactly_the_share_is_kept_where_expected_ious_are_cut_to_an_end(tied, keep):
    low = [0.3, 0.4, 0.5, 0.6, 0.7] + [0.0] * 5
    pairs = tied([[1.0] * 8 + [0.8, 0.9], low])
    found = kept(pairs, keep)
    assert len(found) == round(keep * 20)
    order = sorted(pairs.rows, key=lambda r: (-r.fields["expected_iou"], r.fields["uncertainty"]))
    assert found == [row for row in pairs.rows if row in order[: len(found)]]
    # A share that ends among different numbers needs no look at the shards.
    assert pairs.read == ({0} if keep < 0.4 else {1} if keep > 0.75 else set())


def test_of_pairs_that_are_equal_in_all_the_first_are_kept(tied):
    pairs = tied([[0.4] * 9 + [0.1]])
    for row in pairs.rows:
        row.fields["uncertainty"] = 0.2
    assert kept(pairs, 0.5) == pairs.rows[:5]
