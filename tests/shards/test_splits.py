"""Claims about the split by key."""

import hashlib
import subprocess
import sys

import numpy as np

from factory.shards.schema import sample_key
from factory.shards.splits import split_of

KEYS = [sample_key(i) for i in range(20_000)]


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
