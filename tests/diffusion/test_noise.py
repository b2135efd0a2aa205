"""Claims about factory.diffusion.noise."""

import random
import threading
from itertools import product

import pytest
import torch

from factory.diffusion.noise import NoiseAhead, _draw, normal_noise, sample_seed, step_noise


@pytest.mark.parametrize(
    ("arguments", "seed"),
    [
        ((0, 0), 1498733273145799921),
        ((0, 1), 102236356772491492),
        ((7, 123_456, 2), 5540445360697364557),
        ((2**63 - 1, 2**48 - 1, 2**15 - 1), 5591204469028027316),
    ],
)
def test_sample_seed_never_changes(arguments: tuple[int, ...], seed: int) -> None:
    assert sample_seed(*arguments) == seed


def test_sample_seeds_differ_over_indices_retries_and_runs() -> None:
    indices = [*range(500), 2**32, 2**48 - 1]
    seeds = [
        sample_seed(run, index, retry)
        for run, index, retry in product([0, 1, 2**62], indices, [0, 1, 2, 2**15 - 1])
    ]
    assert len(set(seeds)) == len(seeds) == 3 * 502 * 4


def test_every_seed_is_an_int64_of_no_sign_and_no_two_indices_share_one() -> None:
    drawn = random.Random(0)
    indices = {drawn.randrange(2**48) for _ in range(20_000)}
    for run_seed in (0, 5, 2**63 - 1):
        seeds = [sample_seed(run_seed, index) for index in indices]
        assert len(set(seeds)) == len(indices)
        assert min(seeds) >= 0 and 2**62 < max(seeds) < 2**63


def test_a_row_of_noise_depends_on_its_seed_alone() -> None:
    seeds = [sample_seed(0, index) for index in range(6)]
    rows = normal_noise(seeds, (3, 4, 4), stream=0)
    assert rows.shape == (6, 3, 4, 4) and rows.dtype == torch.float32
    assert torch.equal(normal_noise(seeds[::-1], (3, 4, 4), stream=0), rows.flip(0))
    for seed, row in zip(seeds, rows, strict=True):
        assert torch.equal(normal_noise([seed], (3, 4, 4), stream=0)[0], row)


def test_noise_differs_between_seeds_and_between_streams() -> None:
    # Neighbours at both ends of uint64: a key that passes through a float would confuse them.
    seeds = [0, 1, 2, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1]
    drawn = {
        tuple(row.tolist())
        for stream in (0, 1, 2, 1000)
        for row in normal_noise(seeds, (4,), stream)
    }
    assert len(drawn) == 4 * len(seeds)


@pytest.mark.parametrize(
    ("seed", "stream", "values"),
    [
        (0, 0, [0.059911, 0.0155596, -1.1644385]),
        (12345, 1000, [-0.4340719, 0.1281991, 1.3450848]),
        (2**64 - 1, 0, [-1.7444787, -0.4871583, 1.5449836]),
    ],
)
def test_noise_never_changes(seed: int, stream: int, values: list[float]) -> None:
    assert normal_noise([seed], (3,), stream)[0].tolist() == pytest.approx(values, abs=1e-6)


def test_noise_is_standard_normal_and_its_streams_are_uncorrelated() -> None:
    seeds = [sample_seed(3, index) for index in range(16)]
    one, other = (normal_noise(seeds, (3, 64, 64), stream).flatten() for stream in (0, 1))
    assert float(one.mean()) == pytest.approx(0, abs=0.01)
    assert float(one.var()) == pytest.approx(1, abs=0.015)
    assert float((one**4).mean()) == pytest.approx(3, abs=0.1)
    assert float((one * other).mean()) == pytest.approx(0, abs=0.01)
    assert float((one[1:] * one[:-1]).mean()) == pytest.approx(0, abs=0.01)


def noise_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("noise")]


@pytest.mark.parametrize("left_out", [(), (40,), (59, 40, 7)])
def test_noise_drawn_ahead_is_that_drawn_when_it_is_asked_for(left_out: tuple[int, ...]) -> None:
    seeds, shape = [sample_seed(1, i) for i in range(5)], (3, 4, 4)
    timesteps = (59, 40, 21, 20, 7, 3)
    at_once = step_noise(seeds, shape, torch.device("cpu"))
    with NoiseAhead(seeds, shape, timesteps) as noise:
        for t in (t for t in timesteps if t not in left_out):
            assert torch.equal(noise(t), at_once(t))


def test_the_noise_of_no_more_than_two_steps_is_drawn_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[int] = []
    monkeypatch.setattr(
        "factory.diffusion.noise._draw", lambda seeds, stream, rows: drawn.append(stream - 1)
    )
    with NoiseAhead([1, 2], (3,), range(9, 0, -1)) as noise:
        for num_asked, t in enumerate(range(9, 0, -1)):
            assert len(drawn) <= num_asked + 2
            noise(t)
    assert drawn == list(range(9, 0, -1))


def test_the_threads_that_draw_end_with_the_block_even_where_it_raises() -> None:
    with (
        pytest.raises(ZeroDivisionError),
        NoiseAhead([1], (3,), range(9, 0, -1)) as noise,
    ):
        noise(9)
        assert noise_threads()
        raise ZeroDivisionError
    assert not noise_threads()


def test_what_fails_in_a_thread_is_raised_where_its_noise_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = _draw

    def draw(seeds, stream, rows) -> None:
        if stream == 8 + 1:
            raise MemoryError("no room")
        original(seeds, stream, rows)

    monkeypatch.setattr("factory.diffusion.noise._draw", draw)
    with NoiseAhead([1], (3,), range(9, 0, -1)) as noise:
        noise(9)
        with pytest.raises(MemoryError, match="no room"):
            noise(8)
    assert not noise_threads()
