"""Claims about factory.diffusion.train_step and train_state."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from factory.config import Config, DiffusionConfig, parse_config
from factory.diffusion.families.unet2d import UNet
from factory.diffusion.families.unet2d_config import Convention
from factory.diffusion.prediction import OutputFn, target
from factory.diffusion.schedule import Schedule, linear_schedule
from factory.diffusion.train_state import (
    CHECKPOINT_FILES,
    TrainState,
    load_state,
    new_state,
    save_state,
)
from factory.diffusion.train_step import (
    batch_indices,
    denoising_loss,
    learning_rate,
    train_step,
)
from factory.images import to_signed

CPU = torch.device("cpu")


def tiny(**train: Any) -> Config:
    return parse_config(
        {
            "data": {"image_size": 8},
            "train": {
                "unet": {
                    "block_out_channels": [8, 16],
                    "attention_levels": [1],
                    "norm_num_groups": 4,
                },
                "diffusion": {"num_timesteps": 100, "beta_start": 1e-3, "beta_end": 0.2},
                "batch_size": 8,
                "learning_rate": 4e-3,
                "warmup_steps": 10,
                "precision": "fp32",
                **train,
            },
        }
    )


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Eight pictures of one colour each, brighter to the right."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.randint(256, (8, 3, 1, 1), generator=generator)
    return (colours * torch.linspace(0.3, 1, 8)).round().to(torch.uint8).expand(8, 3, 8, 8)


def run(config: Config, state: TrainState, images: torch.Tensor, num_steps: int) -> list[float]:
    schedule = linear_schedule(config.train.diffusion)
    return [
        float(train_step(state, state.unet, schedule, images, config.train))
        for _ in range(num_steps)
    ]


def tensors(state: TrainState) -> dict[str, torch.Tensor]:
    """Every number that a step may change, by name."""
    found = {f"unet.{key}": value for key, value in state.unet.state_dict().items()}
    found |= {f"ema.{key}": value for key, value in state.ema.state_dict().items()}
    for number, weight in enumerate(state.unet.parameters()):
        for optimizer in state.optimizers:
            values = optimizer.state.get(weight, {})
            found |= {f"optimizer.{number}.{key}": value for key, value in values.items()}
    return {key: value.clone() for key, value in found.items()}


def assert_equal_states(one: TrainState, other: TrainState) -> None:
    ours, theirs = tensors(one), tensors(other)
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []
    assert (one.step, one.history) == (other.step, other.history)


def one_epoch(num_images: int, batch_size: int, epoch: int, num_ranks: int = 1) -> list[int]:
    train = tiny(batch_size=batch_size).train
    steps = range(0, (epoch + 1) * num_images // batch_size + 1)
    read = [
        int(i)
        for step in steps
        for rank in range(num_ranks)
        for i in batch_indices(num_images, train, step, rank, num_ranks)
    ]
    return read[epoch * num_images : (epoch + 1) * num_images]


@pytest.mark.parametrize(("num_images", "batch_size"), [(32, 8), (30, 8), (5, 8), (3, 20), (1, 4)])
def test_every_epoch_reads_each_image_once(num_images: int, batch_size: int) -> None:
    for epoch in range(3):
        assert sorted(one_epoch(num_images, batch_size, epoch)) == list(range(num_images))


def test_epochs_are_shuffled_and_differ_between_seeds() -> None:
    orders = [tuple(one_epoch(32, 8, epoch)) for epoch in range(3)]
    assert len({*orders, tuple(range(32))}) == 4
    one, other = (batch_indices(32, tiny(seed=seed).train, 0, 0, 1).tolist() for seed in (0, 1))
    assert one != other


@pytest.mark.parametrize("num_ranks", [2, 4])
def test_ranks_share_the_batch_that_one_rank_would_read(num_ranks: int) -> None:
    train = tiny().train
    for step in range(6):
        whole = batch_indices(30, train, step, 0, 1).tolist()
        shares = [batch_indices(30, train, step, rank, num_ranks) for rank in range(num_ranks)]
        assert all(len(share) == 8 // num_ranks for share in shares)
        assert torch.cat(shares).tolist() == whole


def test_a_batch_depends_on_its_step_and_not_on_what_was_read_before() -> None:
    train = tiny().train
    forward = [batch_indices(30, train, step, 0, 1).tolist() for step in range(12)]
    backward = [batch_indices(30, train, step, 0, 1).tolist() for step in reversed(range(12))]
    assert forward == backward[::-1]
    assert len(set(map(tuple, forward))) == 12


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_loss_falls_on_eight_images(precision: str, images: torch.Tensor) -> None:
    config = tiny(precision=precision)
    state, schedule = new_state(config, CPU), linear_schedule(config.train.diffusion)
    generator = torch.Generator().manual_seed(1)
    epsilon = torch.randn(64, 3, 8, 8, generator=generator)
    t, x_0 = torch.arange(64) + 20, to_signed(images).repeat(8, 1, 1, 1)

    @torch.no_grad()
    def loss() -> float:
        return float(denoising_loss("epsilon", state.unet, schedule, x_0, t, epsilon))

    before = loss()
    losses = run(config, state, images, 60)
    assert loss() < 0.5 * before
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])
    assert state.step == 60
    assert {value.dtype for value in tensors(state).values()} <= {torch.float32, torch.int64}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_run_repeats_the_run_that_was_not_stopped(
    precision: str, optimizer: str, images: torch.Tensor, tmp_path: Path
) -> None:
    config = tiny(precision=precision, optimizer=optimizer)
    whole, first = new_state(config, CPU), new_state(config, CPU)
    run(config, whole, images, 5)
    run(config, first, images, 3)
    first.history = whole.history = ({"step": 3, "loss": 0.5, "images_per_second": 7.25},)
    save_state(first, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(CHECKPOINT_FILES)
    other_start = tiny(precision=precision, optimizer=optimizer, seed=9)
    resumed = new_state(other_start, CPU)
    load_state(resumed, tmp_path)
    assert_equal_states(resumed, first)
    torch.manual_seed(12345)
    run(config, resumed, images, 2)
    assert_equal_states(resumed, whole)


@pytest.mark.slow
def test_a_step_depends_on_the_config_the_step_and_the_rank_alone(images: torch.Tensor) -> None:
    config = tiny()
    schedule = linear_schedule(config.train.diffusion)

    def loss(step: int, rank: int, seed: int = 0) -> float:
        state = new_state(config, CPU)
        state.step = step
        torch.manual_seed(99 + step + rank)
        train = config.train.model_copy(update={"seed": seed})
        return float(train_step(state, state.unet, schedule, images, train, rank))

    assert loss(4, 1) == loss(4, 1)
    assert len({loss(4, 0), loss(5, 0), loss(4, 1), loss(4, 0, seed=1)}) == 4


@pytest.mark.slow
def test_the_average_warms_up_to_its_decay(images: torch.Tensor) -> None:
    config = tiny(ema_decay=0.3)
    state = new_state(config, CPU)
    name, parameter = next(iter(state.unet.named_parameters()))
    average = None
    for n in range(8):
        run(config, state, images, 1)
        decay = min(0.3, (1 + n) / (10 + n)) if n else 0.0
        previous = parameter if average is None else average
        average = (decay * previous + (1 - decay) * parameter).detach().clone()
        ours = dict(state.ema.named_parameters())[name]
        torch.testing.assert_close(ours, average, atol=1e-6, rtol=0)
    assert average is not None and not torch.allclose(average, parameter, atol=1e-4)
    assert min(0.3, 2 / 11) < 0.3 == min(0.3, 8 / 17), "both branches are walked"


def test_the_learning_rate_grows_stays_and_falls_and_gradients_are_clipped(
    images: torch.Tensor,
) -> None:
    config = tiny(learning_rate=1e-3, warmup_steps=4, max_grad_norm=0.01, num_steps=10, decay=0.4)
    state = new_state(config, CPU)
    rates: list[float] = []
    for _ in range(10):
        run(config, state, images, 1)
        of_all = {group["lr"] for one in state.optimizers for group in one.param_groups}
        rates.extend(of_all)
        norms = [p.grad.norm() for p in state.unet.parameters() if p.grad is not None]
        assert float(torch.stack(norms).norm()) == pytest.approx(0.01, rel=1e-3)
    until_6 = [2.5e-4, 5e-4, 7.5e-4, 1e-3, 1e-3, 1e-3]
    assert rates == pytest.approx([*until_6, 1e-3, 7.5e-4, 5e-4, 2.5e-4])


def test_without_decay_the_learning_rate_stays() -> None:
    train = tiny(decay=0, num_steps=20).train
    assert {learning_rate(train, step) for step in range(10, 20)} == {train.learning_rate}


def test_muon_has_the_matrices_but_those_next_to_the_images_and_adamw_the_rest() -> None:
    state = new_state(tiny(optimizer="muon"), CPU)
    names = {id(weight): name for name, weight in state.unet.named_parameters()}
    of_muon, of_adamw = (
        {names[id(weight)] for group in one.param_groups for weight in group["params"]}
        for one in state.optimizers
    )
    assert of_muon | of_adamw == set(names.values()) and not of_muon & of_adamw
    ends = {"conv_in.weight", "conv_out.weight"}
    shapes = {name: weight.dim() for name, weight in state.unet.named_parameters()}
    assert of_muon == {name for name, dim in shapes.items() if dim > 1} - ends
    [alone] = new_state(tiny(optimizer="adamw"), CPU).optimizers
    assert len(alone.param_groups[0]["params"]) == len(names)


@pytest.mark.slow
def test_a_checkpoint_of_adamw_has_the_names_of_older_versions(
    images: torch.Tensor, tmp_path: Path
) -> None:
    config = tiny(optimizer="adamw")
    state = new_state(config, CPU)
    run(config, state, images, 1)
    save_state(state, tmp_path)
    moments = load_file(tmp_path / "optimizer.safetensors")
    theirs = state.optimizers[0].state_dict()["state"]
    assert set(moments) == {f"{i}.{name}" for i, values in theirs.items() for name in values}
    assert all(torch.equal(moments[f"{i}.exp_avg"], theirs[i]["exp_avg"]) for i in theirs)


class Recorder(nn.Module):
    """Remembers what the network was shown."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        self.seen.append((x_t.detach(), t))
        return self.unet(x_t, t)


@pytest.mark.parametrize("flip", [False, True])
def test_images_are_mirrored_only_where_asked(flip: bool, images: torch.Tensor) -> None:
    config = tiny(horizontal_flip=flip)
    state = new_state(config, CPU)
    network, without_noise = Recorder(state.unet), Schedule(torch.ones(10, dtype=torch.float64))
    for _ in range(4):
        train_step(state, network, without_noise, images, config.train)
    straight = to_signed(images)
    kept = [
        torch.equal(row, image)
        for x_t, _ in network.seen
        for row, image in zip(x_t, straight, strict=True)
    ]
    mirrored = [
        torch.equal(row, image.flip(2))
        for x_t, _ in network.seen
        for row, image in zip(x_t, straight, strict=True)
    ]
    assert all(k or m for k, m in zip(kept, mirrored, strict=True))
    assert any(mirrored) == flip and any(kept)
    drawn = {int(t) for _, ts in network.seen for t in ts}
    assert drawn <= set(range(10)) and len(drawn) > 5


@pytest.mark.slow
def test_training_starts_from_the_seed_or_from_an_initial_model(images: torch.Tensor) -> None:
    config = tiny()
    one, same, other = (new_state(tiny(seed=seed), CPU) for seed in (0, 0, 1))
    assert_equal_states(one, same)
    assert not torch.equal(one.unet.conv_in.weight, other.unet.conv_in.weight)
    begun = new_state(config, CPU, initial=other.unet)
    for unet in (begun.unet, begun.ema):
        assert all(
            torch.equal(value, other.unet.state_dict()[key])
            for key, value in unet.state_dict().items()
        )
    run(config, begun, images, 1)
    assert not torch.equal(begun.unet.conv_in.weight, other.unet.conv_in.weight)


def test_a_network_that_goes_on_from_another_one_computes_as_that_one(images: torch.Tensor) -> None:
    config = tiny()
    convention = Convention(flip_sin_to_cos=True, downsample_padding=1, attention_head_dim=2)
    initial = UNet(config.train.unet, convention=convention).eval()
    begun = new_state(config, CPU, initial=initial)
    x_t, t = torch.randn(2, 3, 16, 16), torch.tensor([3, 7])
    with torch.no_grad():
        assert torch.equal(begun.ema.eval()(x_t, t), initial(x_t, t))
    assert begun.ema.config_json(16)["flip_sin_to_cos"], "and is saved so"


@pytest.mark.parametrize(("has", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_left_to_itself_a_step_is_in_bf16_where_the_processor_is_made_for_it(
    has: bool, dtype: torch.dtype, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True} if has else {})
    config = tiny(precision="auto")
    state, seen = new_state(config, CPU), []
    state.unet.conv_in.register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    run(config, state, images, 2)
    assert seen == [dtype, dtype]


class NothingRead(TorchDispatchMode):
    """Refuses what would make the host wait: a number read from a tensor."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "a tensor is read"
        return func(*args, **(kwargs or {}))


def test_no_step_waits_for_the_device(images: torch.Tensor) -> None:
    config = tiny()
    state, schedule = new_state(config, CPU), linear_schedule(config.train.diffusion)
    with NothingRead():
        for _ in range(3):
            train_step(state, state.unet, schedule, images, config.train)


def test_the_loss_of_a_perfect_network_is_zero_and_of_a_blind_one_is_one() -> None:
    """Of the noise, all of whose variance is left to a blind one."""
    schedule = linear_schedule(DiffusionConfig())
    torch.manual_seed(0)
    x_0, epsilon = torch.rand(8, 3, 32, 32) * 2 - 1, torch.randn(8, 3, 32, 32)
    t = torch.randint(1000, (8,))

    def perfect(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha_bars = schedule.alpha_bars[t].float().view(-1, 1, 1, 1)
        return (x_t - alpha_bars.sqrt() * x_0) / (1 - alpha_bars).sqrt()

    def loss(network: OutputFn) -> float:
        return float(denoising_loss("epsilon", network, schedule, x_0, t, epsilon))

    assert loss(perfect) < 1e-6
    assert loss(lambda x_t, t: torch.zeros_like(x_t)) == pytest.approx(1.0, abs=0.03)


def test_an_error_of_v_counts_as_one_of_the_noise_but_less_where_there_is_little() -> None:
    schedule = Schedule(torch.tensor([0.99, 0.5, 0.25], dtype=torch.float64))
    torch.manual_seed(0)
    x_0, epsilon = torch.rand(1, 3, 8, 8) * 2 - 1, torch.randn(1, 3, 8, 8)

    def loss(t: int) -> float:
        at = torch.tensor([t])
        wrong = target("v_prediction", schedule, x_0, at, epsilon) + 2
        found = denoising_loss("v_prediction", lambda *_: wrong, schedule, x_0, at, epsilon)
        return float(found)

    assert [loss(0), loss(1), loss(2)] == pytest.approx([4 * 0.05, 4 * 0.5, 4 * 0.25], rel=1e-4)


def test_the_network_sees_the_noised_images_and_their_timesteps() -> None:
    schedule = Schedule(torch.tensor([1.0, 0.25], dtype=torch.float64))
    x_0, epsilon, t = torch.ones(2, 1, 1, 1), -torch.ones(2, 1, 1, 1), torch.tensor([0, 1])
    seen = []

    def network(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append((x_t, t))
        return x_t

    denoising_loss("epsilon", network, schedule, x_0, t, epsilon)
    x_t, seen_t = seen[0]
    assert torch.equal(seen_t, t)
    assert x_t.flatten().tolist() == pytest.approx([1.0, 0.5 - 0.75**0.5])
