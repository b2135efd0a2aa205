"""Stage 1 on Ray Train: a worker group fits the DDPM; whatever dies, the same command goes on.

The run's folder:

    run.json                 what was asked; another config in the same place is refused
    checkpoints/step-*/      weights, EMA, optimiser, step; sha256.json, last, proves them whole
    samples/, metrics.jsonl  what it looks like so far
    model/                   the result, in diffusers' layout
    ray/                     Ray Train's mark, by which it sees that all nodes share the place

Ray Train is not told of the checkpoints: it would go on from what a list of its own names, without
looking at it, and not start at all where the list is torn or names what is gone. Here whatever is
whole counts, and nothing else does.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, TypeVar

import ray.train
import ray.train.torch
import torch
from pyarrow.fs import FSSpecHandler, PyFileSystem
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import TorchTrainer
from ray.train.v2.api.config import LoggingConfig
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from factory import cluster, storage
from factory.config import Config, parse_config
from factory.data.listing import missed_pictures
from factory.data.sources import read_images
from factory.differences import differences
from factory.diffusion.checkpoints import WEIGHTS_DTYPES, load_model, save_model
from factory.diffusion.optimization import (
    TrainState,
    batch_indices,
    fast_network,
    load_state,
    new_state,
    resident_images,
    train_step,
)
from factory.diffusion.process import linear_schedule, normal_noise, sample_seed, step_noise
from factory.diffusion.run_checkpoints import (
    newest_checkpoint,
    on_this_machine,
    save_checkpoint,
    saving,
)
from factory.diffusion.samplers import ddim, uniform_timesteps
from factory.errors import UserError, is_out_of_memory, shown
from factory.images import encode_png, tile, to_channels_last_arrays
from factory.progress import duration, tell

T = TypeVar("T")

# What may differ when the same run goes on; everything else decides its weights.
_FREE_KEYS = {
    "url",
    "num_steps",
    "log_steps",
    "checkpoint_steps",
    "sample_steps",
    "num_checkpoints_to_keep",
    "max_failures",
    "tensorboard",
    "use_gpu",
    "compile",
    "cpus_per_worker",
    "weights_dtype",
}
_SHEET_ROWS = 6


def model_url(config: Config) -> str:
    """Where `train` puts its result."""
    return storage.join(config.train.url, "model")


def check(config: Config) -> None:
    """Raises UserError for all that would stop `train`; starts and writes nothing."""
    if config.data.unlabelled.kind != "toy":
        read_images(config.data.unlabelled, config.data.image_size)
    if missed := missed_pictures(config.data.unlabelled):
        tell(f"train | {shown(missed)}")
    _check_tensorboard(config)
    _check_initial_model(config)
    storage.check_writable(config.train.url)
    _check_run(config)


def train(config: Config) -> str:
    """Trains to train.num_steps, from the newest whole checkpoint on; returns the model's url.

    Raises UserError before anything is started; Ray's TrainingFailedError where workers die more
    often than train.max_failures allows, where a checkpoint or the model cannot be saved, and
    where no checkpoint is whole and more than the first one is lost.
    """
    check(config)
    cluster.connect(for_training=True)
    place = storage.join(config.train.url, "run.json")
    with saving("what was asked", place):
        storage.write(place, identity_json(config))
    trainer = _Trainer(
        _train_worker,
        train_loop_config={"config": config.model_dump(mode="json")},
        scaling_config=_scaling(config),
        run_config=_run_config(config),
    )
    try:
        problem = trainer.fit().return_value
    except WorkerGroupError as error:
        raise TrainingFailedError(_reason(error)) from error
    if problem is not None:
        raise TrainingFailedError(problem)
    return model_url(config)


class _Trainer(TorchTrainer):  # type: ignore[misc]  # Ray is untyped
    def _register_sigint_handler(self, controller: Any) -> None:
        """Ours stays in place: Ctrl-C ends the command with its own exit code."""


def _reason(error: WorkerGroupError) -> str:
    """What went wrong in the workers, without Ray's frames around it."""
    told = {str(failure).strip().splitlines()[-1] for failure in error.worker_failures.values()}
    return "; ".join(sorted(told)) or str(error)


def _check_tensorboard(config: Config) -> None:
    if not config.train.tensorboard:
        return
    if find_spec("tensorboard") is None:
        raise UserError(
            "train.tensorboard: the package is missing. Install the extra `tensorboard`, or set "
            "it to false."
        )
    if not storage.is_local(config.train.url):
        raise UserError(
            f"train.tensorboard: events go to local folders only, train.url is {config.train.url}. "
            "Set it to false; metrics.jsonl is written anyway."
        )


def _check_initial_model(config: Config) -> None:
    url = config.train.initial_model_url
    if url is None:
        return
    model = load_model(url)
    here = {
        "unet": config.unet.model_dump(),
        "diffusion": config.diffusion.model_dump(),
    }
    there = {
        "unet": model.unet.config.model_dump(),
        "diffusion": model.diffusion.model_dump(),
    }
    found = differences(there, here)
    if found:
        raise UserError(
            f"train.initial_model_url: {url} has another shape: {'; '.join(found)}. "
            "Set these keys as the model has them, or start from another model."
        )


def _check_run(config: Config) -> None:
    place = storage.join(config.train.url, "run.json")
    if not storage.exists(place):
        return
    try:
        there = json.loads(storage.read_text(place))
    except ValueError:
        raise UserError(f"{place}: not readable as JSON. Name another --out.") from None
    found = differences(there, json.loads(identity_json(config)))
    if found:
        raise UserError(
            f"{config.train.url}: holds a run of another config: {'; '.join(found)}. "
            "Name another --out, or set these keys back."
        )


def identity_json(config: Config) -> bytes:
    """The content of run.json: all that decides the weights after a given number of steps."""
    identity = {
        "data": config.data.model_dump(mode="json", include={"image_size", "unlabelled"}),
        "unet": config.unet.model_dump(mode="json"),
        "diffusion": config.diffusion.model_dump(mode="json"),
        "train": config.train.model_dump(mode="json", exclude=_FREE_KEYS),
    }
    return (json.dumps(identity, indent=2, sort_keys=True) + "\n").encode()


def _scaling(config: Config) -> ScalingConfig:
    train = config.train
    use_gpu = train.use_gpu
    if use_gpu == "auto":
        use_gpu = ray.cluster_resources().get("GPU", 0) >= train.num_workers
    kind = "GPU" if use_gpu else "CPU"
    tell(f"train | {train.num_workers} {kind} workers | {train.url}")
    return ScalingConfig(
        num_workers=train.num_workers,
        use_gpu=use_gpu,
        resources_per_worker={
            "CPU": train.cpus_per_worker,
            **({"GPU": 1} if use_gpu else {}),
        },
    )


def _run_config(config: Config) -> RunConfig:
    fs, path = storage.filesystem(config.train.url)
    local = storage.is_local(config.train.url)
    return RunConfig(
        name="ray",
        storage_path=path,
        storage_filesystem=None if local else PyFileSystem(FSSpecHandler(fs)),
        failure_config=FailureConfig(max_failures=config.train.max_failures),
        logging_config=LoggingConfig(log_level="ERROR"),
    )


class _Stopped(Exception):
    """Raised on all workers at the same point: none waits for another one."""


def _train_worker(worker_config: dict[str, Any]) -> str | None:
    """What every worker runs; rank 0 also tells, draws and saves.

    Returns why it had to stop, None if it did not: Ray would start a worker that raises again,
    which makes no room on a full disk.
    """
    config = parse_config(worker_config["config"])
    context = ray.train.get_context()
    rank = context.get_world_rank()
    device = ray.train.torch.get_device()
    torch.set_num_threads(config.train.cpus_per_worker)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    try:
        state = _restored_state(config, rank, device)
        if rank == 0 and state.step:
            tell(f"train | going on from step {state.step:,}")
        if state.step < config.train.num_steps:
            _train_on(config, state, rank, context.get_world_size(), device)
        _on_rank_0(rank, lambda: _write_result(config, state))
    except _Stopped as stopped:
        return str(stopped)
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise MemoryError(
                f"out of memory with train.batch_size = {config.train.batch_size} over "
                f"{config.train.num_workers} workers. Lower it, or raise train.num_workers, "
                f"in a run at another --out: both are part of the run. {error}"
            ) from None
        raise
    return None


def _on_rank_0(rank: int, work: Callable[[], T]) -> T:
    """What work() gives on rank 0, for all workers; they wait for it, and where it raises
    UserError, all of them raise _Stopped."""
    outcome: T | None = None
    problem: str | None = None
    if rank == 0:
        try:
            outcome = work()
        except UserError as error:
            problem = str(error)
    outcome, problem = broadcast_from_rank_zero((outcome, problem))
    if problem is not None:
        raise _Stopped(problem)
    return outcome


def _train_on(
    config: Config, state: TrainState, rank: int, num_ranks: int, device: torch.device
) -> None:
    """Steps to train.num_steps, telling, drawing and saving on the way."""
    images = resident_images(config, device)
    network = fast_network(state.unet, config.train, ray.train.torch.prepare_model)
    schedule = linear_schedule(config.diffusion).to(device)
    progress = _Progress(config, state)
    while state.step < config.train.num_steps:
        with progress.waiting():
            chosen = batch_indices(len(images), config.train, state.step, rank, num_ranks)
            batch = images[chosen.to(images.device)].to(device, non_blocking=True)
        progress.loss += train_step(state, network, schedule, batch, config.train, rank)
        if rank == 0:
            progress.tell(state)
            if state.step % config.train.sample_steps == 0:
                _write_sheet(config, state, device)
        if _due(config, state.step):
            _on_rank_0(rank, lambda: _save(config, state))


def _restored_state(config: Config, rank: int, device: torch.device) -> TrainState:
    initial = config.train.initial_model_url
    state = new_state(config, device, load_model(initial).unet if initial else None)
    place = _on_rank_0(
        rank, lambda: newest_checkpoint(checkpoints_url(config), config.train.checkpoint_steps)
    )
    if place is not None:
        with on_this_machine(place) as folder:
            load_state(state, folder)
    return state


def _due(config: Config, step: int) -> bool:
    return step % config.train.checkpoint_steps == 0 or step == config.train.num_steps


def _save(config: Config, state: TrainState) -> None:
    train = config.train
    save_checkpoint(state, checkpoints_url(config), train.num_checkpoints_to_keep)
    lines = "".join(json.dumps(entry) + "\n" for entry in state.history)
    place = storage.join(train.url, "metrics.jsonl")
    with saving("the metrics", place):
        storage.write(place, lines.encode())


def checkpoints_url(config: Config) -> str:
    """Where the run's checkpoints are."""
    return storage.join(config.train.url, "checkpoints")


class _Progress:
    """One plain line every train.log_steps steps: loss, images/s, what is left."""

    def __init__(self, config: Config, state: TrainState) -> None:
        self.train = config.train
        self.loss: torch.Tensor | float = 0.0
        self.started = time.monotonic()
        self.waited_seconds = 0.0
        self.first_step = self.last_step = state.step
        self.board = _tensorboard(config)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around whatever brings the next batch."""
        started = time.monotonic()
        yield
        self.waited_seconds += time.monotonic() - started

    def tell(self, state: TrainState) -> None:
        """Called after every step on rank 0; speaks, and waits for the device, when it is time."""
        if state.step % self.train.log_steps and state.step != self.train.num_steps:
            return
        loss = float(self.loss) / (state.step - self.last_step)
        self.loss, self.last_step = 0.0, state.step
        seconds = time.monotonic() - self.started
        rate = (state.step - self.first_step) / seconds
        left = (self.train.num_steps - state.step) / rate
        images_per_second = rate * self.train.batch_size
        entry = {
            "step": state.step,
            "loss": loss,
            "images_per_second": images_per_second,
            "data_wait_share": self.waited_seconds / seconds,
        }
        state.history += (entry,)
        tell(
            f"train | step {state.step:,}/{self.train.num_steps:,} | loss {loss:.4f} | "
            f"{images_per_second:.1f} images/s | waiting for data "
            f"{entry['data_wait_share']:.1%} | ETA {duration(left)}"
        )
        if self.board is not None:
            self.board.add_scalar("loss", loss, state.step)
            self.board.add_scalar("images_per_second", images_per_second, state.step)


def _tensorboard(config: Config) -> Any:
    if not config.train.tensorboard or ray.train.get_context().get_world_rank() != 0:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(storage.join(config.train.url, "tensorboard"))


def _write_sheet(config: Config, state: TrainState, device: torch.device) -> None:
    """A sheet of samples of the averaged network, always from the same noise."""
    schedule = linear_schedule(config.diffusion)
    shape = (3, config.data.image_size, config.data.image_size)
    seeds = [sample_seed(config.train.seed, index) for index in range(_SHEET_ROWS**2)]
    noise = step_noise(seeds, shape, device)
    steps = uniform_timesteps(schedule, min(20, schedule.num_timesteps))
    unet = state.ema_unet.eval()
    with torch.inference_mode():
        x_t = normal_noise(seeds, shape, stream=0).to(device)
        pictures = to_channels_last_arrays(ddim(unet, schedule, x_t, steps, 1.0, noise))
    unet.train()
    rows = [pictures[i : i + _SHEET_ROWS] for i in range(0, len(pictures), _SHEET_ROWS)]
    place = storage.join(config.train.url, "samples", f"step-{state.step:07d}.png")
    try:
        storage.write(place, encode_png(tile(rows, scale=2)))
    except OSError as error:
        # Nobody needs it to go on; the next checkpoint may find room again.
        tell(f"train | {place}: not written ({storage.reason(error)})")


def _write_result(config: Config, state: TrainState) -> None:
    card = (
        f"# DDPM, {config.data.image_size} px, {state.step:,} steps of "
        f"{config.train.batch_size} images\n\nThe averaged weights (EMA {config.train.ema_decay}). "
        f"Unlabelled images: {config.data.unlabelled.kind} "
        f"{storage.name_of(config.data.unlabelled.url or '')}.\n"
    )
    with saving("the model", model_url(config)):
        save_model(
            state.ema_unet,
            config.diffusion,
            config.data.image_size,
            model_url(config),
            WEIGHTS_DTYPES[config.train.weights_dtype],
            card,
        )
