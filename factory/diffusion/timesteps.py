"""Grids: which timesteps of the schedule a sampler walks.

Each is a decreasing sequence that begins at the noisiest timestep, T - 1, and contains the pinned
timesteps, at which features are read.
"""

from collections.abc import Iterable, Sequence

import torch

from factory.diffusion.schedule import Schedule


def log_snr_timesteps(
    schedule: Schedule, num_steps: int, pinned: Iterable[int] = ()
) -> tuple[int, ...]:
    """num_steps decreasing timesteps from T - 1, evenly spaced in log SNR, containing `pinned`."""
    log_snr = torch.logit(schedule.alpha_bars) / 2
    targets = torch.linspace(float(log_snr[-1]), float(log_snr[0]), num_steps + 1)[:-1]
    ideal = [int((log_snr - target).abs().argmin()) for target in targets]
    return _with_pinned(ideal, pinned, schedule.num_timesteps)


def high_noise_timesteps(
    schedule: Schedule, num_steps: int, pinned: Iterable[int] = ()
) -> tuple[int, ...]:
    """num_steps decreasing timesteps from T - 1, denser towards it, containing `pinned`.

    Colours and composition are decided where noise is high, and
    what a sampler adds there corrects them (docs/measurements/performance.md).
    """
    return power_timesteps(schedule, num_steps, pinned, power=0.6)


def power_timesteps(
    schedule: Schedule, num_steps: int, pinned: Iterable[int] = (), *, power: float
) -> tuple[int, ...]:
    """num_steps decreasing timesteps, (T - 1) (1 - u)^power for even u, containing `pinned`."""
    last = schedule.num_timesteps - 1
    ideal = [round(last * (1 - i / num_steps) ** power) for i in range(num_steps)]
    return _with_pinned(ideal, pinned, schedule.num_timesteps)


def uniform_timesteps(
    schedule: Schedule, num_steps: int, pinned: Iterable[int] = ()
) -> tuple[int, ...]:
    """num_steps decreasing timesteps from T - 1, evenly spaced, containing `pinned`."""
    last = schedule.num_timesteps - 1
    ideal = [round(last - i * schedule.num_timesteps / num_steps) for i in range(num_steps)]
    return _with_pinned(ideal, pinned, schedule.num_timesteps)


def _with_pinned(
    ideal: Sequence[int], pinned: Iterable[int], num_timesteps: int
) -> tuple[int, ...]:
    """The grid with its nearest free point moved onto each pinned timestep, all points distinct."""
    wanted = sorted(set(pinned) - {ideal[0]}, reverse=True)
    assert len(ideal) > len(wanted), "a grid holds its first point and every pinned timestep"
    free = list(ideal[1:])
    for t in wanted:
        free.remove(min(free, key=lambda point: (abs(point - t), point)))
    grid = {ideal[0], *wanted}
    for point in free:
        grid.add(next(t for t in _nearest(point, num_timesteps) if t not in grid))
    return tuple(sorted(grid, reverse=True))


def _nearest(point: int, num_timesteps: int) -> Iterable[int]:
    """Timesteps in the order of their distance from point."""
    return sorted(range(num_timesteps), key=lambda t: (abs(t - point), t))
