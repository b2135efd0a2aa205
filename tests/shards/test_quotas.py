"""Claims about factory.shards.quotas: exact sums, shard by shard."""

from collections import Counter

import pytest

from factory.shards.plan import Plan
from factory.shards.quotas import quotas_of

CLASSES = ("skin", "hat", "eye_g")


def plan(num: int, per_shard: int, **at_least: int) -> Plan:
    return Plan(
        num=num,
        samples_per_shard=per_shard,
        format="parquet",
        class_names=CLASSES,
        palette=((0, 0, 0), (1, 1, 1), (2, 2, 2)),
        recipe={"choice": {"at_least": at_least}} if at_least else {},
    )


def summed(plan: Plan) -> Counter[str]:
    return sum((Counter(quotas_of(plan, spec)) for spec in plan.shards()), Counter())


@pytest.mark.parametrize(
    ("num", "per_shard", "at_least"),
    [
        (10, 3, {"hat": 1}),
        (100, 7, {"hat": 30, "eye_g": 41}),
        (100, 7, {"hat": 50, "eye_g": 50}),
        (97, 10, {"hat": 89, "eye_g": 1, "skin": 7}),
        (1, 1, {"skin": 1}),
    ],
)
def test_the_quotas_of_shards_add_up_to_what_is_asked(num, per_shard, at_least) -> None:
    made = plan(num, per_shard, **at_least)
    assert summed(made) == at_least
    for spec in made.shards():
        assert sum(quotas_of(made, spec).values()) <= spec.stop - spec.start


def test_they_lie_evenly() -> None:
    made = plan(10_000, 1000, hat=500, eye_g=2000)
    for spec in made.shards():
        found = quotas_of(made, spec)
        assert abs(found["hat"] - 50) <= 3 and abs(found["eye_g"] - 200) <= 3


def test_a_dataset_that_grows_keeps_those_of_its_shards_and_goes_on_at_their_rate() -> None:
    first = plan(100, 10, hat=30, eye_g=20)
    larger = first.extended(300)
    assert [quotas_of(larger, larger.shard(i)) for i in range(10)] == [
        quotas_of(first, first.shard(i)) for i in range(10)
    ]
    assert summed(larger) == {"hat": 90, "eye_g": 60}


def test_without_any_there_are_none() -> None:
    assert summed(plan(10, 3)) == {}
