"""Claims about the split by key."""

import hashlib
import operator
import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from factory.shards import extreme_keys, plan
from factory.shards.plan import Plan
from factory.shards.reading import pending_shards
from factory.shards.schema import sample_key
from factory.shards.splits import split_of, split_problem, splits_of

KEYS = [sample_key(i) for i in range(20_000)]


def number_of(index: int) -> int:
    return int.from_bytes(hashlib.sha256(sample_key(index).encode()).digest()[:8], "big")


def test_a_split_is_what_its_docstring_says() -> None:
    for key in KEYS[:200]:
        number = int(hashlib.sha256(key.encode()).hexdigest()[:16], 16)
        assert split_of(key, 0.3) == ("validation" if number / 2**64 < 0.3 else "train")


def test_without_a_share_all_pairs_are_for_training() -> None:
    assert {split_of(key, None) for key in KEYS} == {"train"}


def test_the_share_is_about_what_was_asked_for() -> None:
    for share in (0.01, 0.1, 0.5):
        found = np.mean([split_of(key, share) == "validation" for key in KEYS])
        assert abs(found - share) < 4 * (share * (1 - share) / len(KEYS)) ** 0.5


def test_a_larger_share_keeps_what_a_smaller_one_took() -> None:
    smaller, larger = (
        {key for key in KEYS if split_of(key, share) == "validation"} for share in (0.1, 0.2)
    )
    assert smaller < larger


def test_the_split_never_changes() -> None:
    chosen = [i for i, key in enumerate(KEYS[:40]) if split_of(key, 0.2) == "validation"]
    code = (
        "from factory.shards.splits import split_of;"
        "print([i for i in range(40) if split_of(f'{i:09d}', 0.2) == 'validation'])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(chosen) == "[2, 9, 14, 15, 21, 25, 26, 30, 33]"


@pytest.mark.slow
def test_the_rows_of_extreme_keys_are_those_that_hashing_finds() -> None:
    for rows, is_further in (
        (extreme_keys._LOWEST, operator.lt),
        (extreme_keys._HIGHEST, operator.gt),
    ):
        # All rows of the first 100,000 samples, none of them left out.
        found: list[tuple[int, int]] = []
        for i in range(100_000):
            if not found or is_further(number_of(i), found[-1][1]):
                found.append((i, number_of(i)))
        assert found == [row for row in rows if row[0] < 100_000]
        # And further ones are those of their keys, each beyond the one before.
        assert all(number == number_of(i) for i, number in rows)
        assert all(one < other and is_further(b, a) for (one, a), (other, b) in pairwise(rows))


@pytest.mark.parametrize("num", [1, 2, 3, 4, 7, 31, 107, 356, 357, 358, 1000])
def test_a_share_by_which_a_split_is_empty_is_refused_and_the_next_one_that_is_not_is_told(
    num: int,
) -> None:
    for share in (1e-12, 0.003, 0.1, 0.5, 0.9, 0.997, 1 - 1e-12):
        problem = split_problem(num, share)
        assert (problem is None) == (len(splits_of(range(num), share)) == 2)
        if problem is None:
            continue
        least = re.search(r"at least ([^,]+),", problem)
        most = re.search(r"at most ([^,]+),", problem)
        (full,) = splits_of(range(num), share)
        assert f"would be in {'validation' if full == 'train' else 'train'}. " in problem
        if num == 1:
            assert problem.endswith("Leave it out, or give more pairs.")
            continue
        told = float((least or most)[1])  # type: ignore[index]
        assert split_problem(num, told) is None
        slightly = told * 0.85 if least else 1 - (1 - told) * 0.85
        assert split_problem(num, slightly) is not None, "no much smaller one would do"


def test_shares_of_huge_datasets_are_judged_at_once() -> None:
    billion = 1_000_000_000
    problem = split_problem(100_000_000, 1e-9)
    assert problem == (
        "1e-09: none of 100,000,000 pairs would be in validation. Give at least 4.2e-09, or more "
        "pairs."
    )
    assert split_problem(100_000_000, 4.2e-9) is None
    assert "at most 0.99999" in str(split_problem(billion, 1 - 1e-13))
    assert "none of the first 1,000,000,000 pairs" in str(split_problem(7 * billion, 1e-13))


def test_a_shard_is_asked_for_its_splits_by_nobody_who_does_not_need_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hashed(*_: object) -> None:
        raise AssertionError("keys are hashed")

    monkeypatch.setattr(plan, "splits_of_range", hashed)
    whole = Plan(
        num=100_000_000,
        samples_per_shard=1000,
        format="parquet",
        class_names=("a",),
        palette=((0, 0, 0),),
        recipe={"val_fraction": 1e-5},
    )
    pending = pending_shards(whole, {})
    assert [next(pending).start for _ in range(3)] == [0, 1000, 2000]
