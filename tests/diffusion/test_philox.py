"""Claims about factory.diffusion.philox."""

import math
from typing import Any

import pytest
import torch

from factory.diffusion.noise import sample_seed
from factory.diffusion.philox import DeviceNoise, normal, philox

CPU = torch.device("cpu")


def words(text: str) -> Any:
    return tuple(torch.tensor(int(word, 16)) for word in text.split())


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (
            "ffffffff ffffffff ffffffff ffffffff",
            "ffffffff ffffffff",
            "408f276d 41c83b0e a20bc7c6 6d5451fd",
        ),
        (
            "243f6a88 85a308d3 13198a2e 03707344",
            "a4093822 299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_the_words_are_those_of_random123s_known_answers(
    counter: str, key: str, answer: str
) -> None:
    assert philox(words(counter), words(key)) == words(answer)


def test_a_pair_of_numbers_is_box_mullers_of_its_two_words() -> None:
    seed, stream = 2**62 + 2**40 + 17, 2**33 + 5
    key = torch.tensor(seed & 0xFFFFFFFF), torch.tensor(seed >> 32)
    counter = torch.tensor(1), torch.tensor(0), torch.tensor(5), torch.tensor(2)
    a, b, c, d = map(int, philox(counter, key))

    def pair(one: int, other: int) -> list[float]:
        radius = math.sqrt(-2 * math.log((one + 0.5) / 2**32))
        angle = 2 * math.pi * other / 2**32
        return [radius * math.cos(angle), radius * math.sin(angle)]

    drawn = DeviceNoise([seed], (8,), [stream], CPU)(stream)
    assert drawn[0, 4:].tolist() == pytest.approx(pair(a, b) + pair(c, d), abs=2e-6)


def test_noise_depends_on_seed_stream_and_position_alone() -> None:
    seeds = [sample_seed(0, index) for index in range(6)]
    noise = DeviceNoise(seeds, (3, 4, 4), [0, 41], CPU)
    rows = noise(41)
    assert rows.shape == (6, 3, 4, 4) and rows.dtype == torch.float32
    assert torch.equal(DeviceNoise(seeds[::-1], (3, 4, 4), [41], CPU)(41), rows.flip(0))
    assert torch.equal(DeviceNoise(seeds[2:3], (7,), [41], CPU)(41)[0], rows[2].flatten()[:7])
    assert torch.equal(DeviceNoise(seeds, (3, 4, 4), range(50), CPU)(41), rows)


def test_noise_differs_between_seeds_and_between_streams() -> None:
    # Neighbours at both ends: bits that are lost on the way would confuse them.
    seeds = [0, 1, 2, 2**31, 2**32, 2**32 + 1, 2**53, 2**53 + 1, 2**63 - 2, 2**63 - 1]
    noise = DeviceNoise(seeds, (4,), [0, 1, 2, 1000, 2**32], CPU)
    drawn = {tuple(row.tolist()) for stream in noise.streams for row in noise(stream)}
    assert len(drawn) == 5 * len(seeds)


@pytest.mark.parametrize(
    ("seed", "stream", "values"),
    [
        (0, 0, [0.9911377, -0.9246624, -0.6176088, -0.4820687]),
        (12345, 1000, [1.0295513, 0.0507931, -0.0281221, 1.5299186]),
        (2**63 - 1, 0, [-1.5867542, -0.8442158, 0.2237888, 0.0773380]),
    ],
)
def test_noise_never_changes(seed: int, stream: int, values: list[float]) -> None:
    drawn = DeviceNoise([seed], (len(values),), [stream], CPU)(stream)
    assert drawn[0].tolist() == pytest.approx(values, abs=2e-6)


def test_noise_is_standard_normal_and_its_streams_are_uncorrelated() -> None:
    seeds = torch.tensor([sample_seed(3, index) for index in range(16)])
    one, other = (normal(seeds, torch.tensor(t), 3 * 64 * 64).flatten() for t in (0, 1))
    assert float(one.mean()) == pytest.approx(0, abs=0.01)
    assert float(one.var()) == pytest.approx(1, abs=0.015)
    assert float((one**4).mean()) == pytest.approx(3, abs=0.1)
    assert float((one > 3).double().mean()) == pytest.approx(0.00135, abs=0.0004)
    for step in (1, 2, 3, 4):
        assert float((one[step:] * one[:-step]).mean()) == pytest.approx(0, abs=0.01)
    assert float((one * other).mean()) == pytest.approx(0, abs=0.01)


def test_the_ends_of_the_words_give_finite_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    for a in (0, 2**32 - 1):
        ends = (torch.full((1, 1), a),) * 4
        monkeypatch.setattr("factory.diffusion.philox.philox", lambda *arguments, ends=ends: ends)
        drawn = normal(torch.tensor([0]), torch.tensor(0), 4)
        assert drawn.isfinite().all() and float(drawn.abs().max()) < 6.8
