"""Runs `factory generate` with tiny models, disturbs it, runs it again, and looks at the bytes.

`python -m tests.chaos.chaos --runs 1000 --out out/chaos.jsonl` goes on where it was stopped. A run
is decided by its number: a fault, drawn evenly from FAULTS, strikes one to three times; then the
same command is run undisturbed (after a corruption, `factory repair` before it). It holds if the
dataset then has the root hash and the very bytes of an undisturbed one, `verify` names nothing, and
whoever read the shards while all this went on never saw other bytes than the final ones.

Processes are real and killed by real signals; datasets lie on disk, in an object store that fails
now and then, or on an S3 server on loopback. Shards are made by their own loop instead of Ray's
actors, which would take ten seconds to start; `tests/generation/test_command.py` kills those.
"""

import argparse
import hashlib
import json
import logging
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal

import fsspec

from factory import storage
from factory.shards.verification import verify

BUCKET = "chaos"
NUM, PER_SHARD = 26, 4
DEADLINE_SECONDS = 120
_forkserver = multiprocessing.get_context("forkserver")


Store = Literal["disk", "object store", "S3"]


@dataclass
class Run:
    """One run of the harness: its own random numbers, folder and notes."""

    number: int
    folder: Path
    options: list[str]
    rng: random.Random
    store: Store = "disk"
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What should not have been."""

    @property
    def url(self) -> str:
        """The dataset's, as the command gets it."""
        return "gs://bucket/dataset" if self.store == "object store" else self.seen_url

    @property
    def seen_url(self) -> str:
        """Where the harness finds its files, in a store that never fails."""
        if self.store == "S3":
            return f"s3://{BUCKET}/{self.folder.name}-{self.number}"
        return str(self.folder / ("bucket/dataset" if self.store == "object store" else "dataset"))

    @property
    def log(self) -> Path:
        """What its processes said."""
        return self.folder / "log.txt"

    def moment(self) -> float:
        """Seconds after which a command is likely to be under way."""
        return self.rng.uniform(0.0, 2.5 if self.store == "S3" else 0.8)

    def url_of(self, name: str) -> str:
        """Of a file of the dataset, as the harness finds it."""
        return f"{self.seen_url}/{name}"

    def start(
        self,
        command: str = "generate",
        num: int = NUM,
        more: Sequence[str] = (),
        **changes: Any,
    ) -> ForkServerProcess:
        """The command in a process of its own; see `_Circumstances`."""
        arguments = [command]
        if command == "generate":
            arguments += ["--out", self.url, "--num", str(num), *self.options, *more]
        else:
            # Its own config says so, too, unless that is what is damaged.
            here = ["--set", "generate.workers=here"] if command == "repair" else []
            arguments += [self.url, *here, *more]
        seed = self.rng.randrange(2**32)
        circumstances = _Circumstances(
            log=str(self.log),
            environment={n: v for n, v in os.environ.items() if n.startswith("AWS_")},
            flaky_root=str(self.folder) if self.store == "object store" else "",
            seed=seed,
            **changes,
        )
        process = _forkserver.Process(target=_command, args=(arguments, circumstances))
        process.start()
        return process

    def finish(self, process: ForkServerProcess) -> int:
        """Its exit code, noted."""
        process.join(DEADLINE_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
            self.notes.append("hung")
        self.notes.append(str(process.exitcode))
        assert process.exitcode is not None
        return process.exitcode

    def ends(self, process: ForkServerProcess, *codes: int) -> int:
        """`finish` of what may end with one of these codes alone."""
        code = self.finish(process)
        if code not in codes:
            self.wrong.append(f"exit code {code}")
        return code


@dataclass(frozen=True)
class _Circumstances:
    """Of a command in a process of its own."""

    log: str
    environment: dict[str, str]
    flaky_root: str
    """Where the files of an object store that fails now and then lie; "" for other stores."""
    seed: int
    faults: str = ""
    """Of `factory.faults`."""
    rate: float = 0.0
    """Share of the calls of such a store that go wrong."""
    largest_file: int = 0
    """Files may not grow beyond so many bytes, as on a full disk; 0: any size."""
    tears: bool = False
    """Whether writes are visible while they are half done."""


def _command(arguments: list[str], circumstances: _Circumstances) -> None:
    """In the child: the command line, with what goes wrong."""
    import fsspec
    import torch

    from factory import cli
    from factory.storage import files, retries
    from tests.chaos.flaky import FlakyFileSystem

    torch.set_num_threads(1)
    log = os.open(circumstances.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(circumstances.environment)
    if circumstances.faults:
        os.environ["FACTORY_FAULTS"] = circumstances.faults
    if circumstances.largest_file:
        # What it says goes through a pipe: its words must not stop at the full disk.
        spoken = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log).stdin
        assert spoken is not None
        os.dup2(spoken.fileno(), 1)
        os.dup2(spoken.fileno(), 2)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (circumstances.largest_file, circumstances.largest_file)
        )
    if circumstances.flaky_root:
        FlakyFileSystem.root = Path(circumstances.flaky_root)
        FlakyFileSystem.rate = circumstances.rate
        FlakyFileSystem.rng = random.Random(circumstances.seed)
        fsspec.register_implementation("gs", FlakyFileSystem, clobber=True)
    if circumstances.tears:
        files.write_local = _torn_write  # type: ignore[attr-defined]
    original = time.sleep
    retries.time.sleep = lambda seconds: original(seconds / 1000)  # type: ignore[attr-defined]
    sys.exit(cli.main(arguments))


def _torn_write(path: Path, chunks: Iterable[bytes], replace: bool) -> None:
    """What must not be: for the test that the harness notices."""
    from factory import faults

    data = b"".join(chunks)

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb" if replace else "xb", buffering=0) as file:
        file.write(data[: len(data) // 2])
        faults.hit("write.before")
        file.write(data[len(data) // 2 :])


# Faults: each disturbs a run once; the run is then gone on with.


def killed_at_a_random_moment(run: Run) -> None:
    process = run.start()
    time.sleep(run.moment())
    process.kill()
    run.finish(process)


POINTS = ("shard.sample", "shard.batch", "shard.publish", "shard.written")
WRITES = ("write.before", "write.after")


def killed_at_a_point(run: Run) -> None:
    points, most = run.rng.choice([(POINTS, 7), (WRITES, 24), (WRITES, 24)])
    run.finish(run.start(faults=f"{run.rng.choice(points)}:{run.rng.randint(1, most)}"))


def stopped_by_a_signal(run: Run) -> None:
    process = run.start()
    time.sleep(0.05 + run.moment())
    number = run.rng.choice([signal.SIGTERM, signal.SIGINT])
    assert process.pid is not None
    if process.is_alive():
        os.kill(process.pid, number)
    run.finish(process)


def storage_fails_now_and_then(run: Run) -> None:
    run.ends(run.start(rate=0.2), 0, 3)


def storage_fails_now_and_then_and_the_process_dies(run: Run) -> None:
    point = run.rng.choice(POINTS)
    run.finish(run.start(rate=0.2, faults=f"{point}:{run.rng.randint(1, 6)}"))


def two_at_once(run: Run) -> None:
    processes = [run.start() for _ in range(2)]
    if run.rng.random() < 0.5:
        time.sleep(run.moment())
        processes[0].kill()
    for process in processes:
        run.finish(process)


def disk_full(run: Run) -> None:
    run.ends(run.start(largest_file=run.rng.choice([0, 300, 2_000, 4_000]) + 1), 0, 2, 3)


def smaller_then_extended(run: Run) -> None:
    # Whole shards, so that the extended dataset is that of the larger command.
    num = PER_SHARD * run.rng.randint(1, NUM // PER_SHARD)
    if not storage.exists(run.url_of("_factory/run.json")):
        run.finish(run.start(num=num))
    faults = f"{run.rng.choice(POINTS)}:{run.rng.randint(1, 6)}"
    run.finish(run.start(more=["--extend"], faults=faults))


def corrupted(run: Run) -> None:
    """A file is flipped, cut, emptied or lost, in a dataset that is finished or is not."""
    if run.rng.random() < 0.5:
        killed_at_a_point(run)
    else:
        run.finish(run.start())
    urls = storage.list_files(run.seen_url, recursive=True)
    files = [url.removeprefix(run.url_of("")) for url in urls]
    repairable = [name for name in files if name.startswith(("data/", "_factory/shards/"))]
    if "_SUCCESS" in files:
        repairable = files
    if not repairable:
        return
    name = run.rng.choice(repairable)
    content = bytearray(storage.read_bytes(run.url_of(name)))
    how = run.rng.choice(["flip", "cut", "empty", "lose"])
    run.notes.append(f"{how} {name}")
    if how == "lose":
        storage.remove(run.url_of(name))
        return
    if how == "flip" and content:
        content[run.rng.randrange(len(content))] ^= 1 << run.rng.randrange(8)
    kept = len(content) if how == "flip" else len(content) // 2 * (how == "cut")
    storage.write(run.url_of(name), bytes(content[:kept]))
    if "_SUCCESS" not in files and run.finish(run.start()) == 0:
        # What is complete is whole.
        run.wrong += [finding.what for finding in verify(run.seen_url).findings]


ON_DISK = (
    killed_at_a_random_moment,
    killed_at_a_point,
    stopped_by_a_signal,
    two_at_once,
    disk_full,
    smaller_then_extended,
    corrupted,
)
IN_AN_OBJECT_STORE = (
    storage_fails_now_and_then,
    storage_fails_now_and_then_and_the_process_dies,
    two_at_once,
    smaller_then_extended,
    killed_at_a_random_moment,
)
ON_S3 = (
    killed_at_a_random_moment,
    killed_at_a_point,
    stopped_by_a_signal,
    two_at_once,
    smaller_then_extended,
    corrupted,
)
FAULTS: list[tuple[Callable[[Run], None], Store]] = [
    *((fault, "disk") for fault in ON_DISK),
    *((fault, "object store") for fault in IN_AN_OBJECT_STORE),
    *((fault, "S3") for fault in ON_S3),
]


def name_of(fault: Callable[[Run], None], store: Store) -> str:
    return f"{fault.__name__.replace('_', ' ')}, {store}"


# One run


def chaos(
    number: int, folder: Path, options: list[str], expected: dict[str, str]
) -> dict[str, Any]:
    """What came of run `number`; expected: sha256 of the undisturbed dataset's shards, and root."""
    rng = random.Random(number)
    fault, store = FAULTS[number % len(FAULTS)]
    run = Run(number, folder, options, rng, store)
    started = time.monotonic()
    with _reader(run, expected) if fault is not corrupted else nullcontext():
        for _ in range(rng.randint(1, 3) if fault is not corrupted else 1):
            fault(run)
        if fault is corrupted and storage.list_files(run.url_of("_factory"), recursive=True):
            run.finish(run.start("repair"))
        more = ["--extend"] if fault is smaller_then_extended else []
        code = run.ends(run.start(more=more), 0)
    wrong = run.wrong + ([] if code else _wrong(run, expected))
    return {
        "run": number,
        "code": code_version(),
        "fault": name_of(fault, store),
        "seconds": round(time.monotonic() - started, 2),
        "wrong": wrong,
        "notes": run.notes,
    }


def _wrong(run: Run, expected: dict[str, str]) -> list[str]:
    """Everything in which the dataset is not the undisturbed one."""
    found = verify(run.seen_url, "decode")
    wrong = [f"{finding.name}: {finding.what}" for finding in found.findings]
    root = json.loads(storage.read_text(run.url_of("_SUCCESS")))["root"]
    if root != expected["root"]:
        wrong.append(f"root {root}")
    there = shards_of(run)
    if there != {name: sha256 for name, sha256 in expected.items() if name != "root"}:
        wrong.append(f"shards {sorted(there)}")
    return wrong


def shards_of(run: Run) -> dict[str, str]:
    """sha256 of the visible files in data/, by name."""
    urls = storage.list_files(run.url_of("data"), recursive=True)
    return {storage.name_of(url): storage.sha256_of(url) for url in urls}


@contextmanager
def _reader(run: Run, expected: dict[str, str]) -> Iterator[None]:
    """Somebody who reads every shard that is visible, all the time."""
    ended = threading.Event()

    def read(name: str) -> int:
        """How many shards were read: one or, where there is none, none."""
        try:
            seen = storage.sha256_of(run.url_of(f"data/{name}"))
        except FileNotFoundError:
            return 0
        except OSError as error:
            run.wrong.append(f"{name} cannot be read: {error}")
            return 0
        if seen != expected[name]:
            run.wrong.append(f"torn read of {name}")
        return 1

    def read_on() -> None:
        num = 0
        # A server on loopback has other things to do.
        while not ended.wait(0.1 if run.store == "S3" else 0.01):
            num += sum(read(name) for name in expected.keys() - {"root"})
        run.notes.append(f"{num} shards read")

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        yield
    finally:
        ended.set()
        reader.join()


# Many runs


def prepare(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Tiny models, and an undisturbed dataset: the command's options, and what it gives."""
    options = tiny_options(folder)
    undisturbed = Run(-1, folder, options, random.Random(-1))
    _forkserver.set_forkserver_preload(
        [
            "factory.generation.repair",
            "factory.generation.local",
            "tests.chaos.flaky",
            "torch",
            "s3fs",
        ]
    )
    code = undisturbed.finish(undisturbed.start())
    assert code == 0, undisturbed.log.read_text()
    success = json.loads(storage.read_text(undisturbed.url_of("_SUCCESS")))
    return options, {**shards_of(undisturbed), "root": success["root"]}


@cache
def code_version() -> str:
    """Of all that a run tries, 12 hex digits: results of other code prove nothing of this one."""
    here = Path(__file__).parent
    files = [
        *(here.parents[1] / "factory").rglob("*.py"),
        *here.parent.glob("*.py"),
        *here.glob("*.py"),
    ]
    content = b"".join(file.read_bytes() for file in sorted(files))
    return hashlib.sha256(content).hexdigest()[:12]


def make_bucket() -> None:
    fsspec.filesystem("s3").mkdir(BUCKET)


def tiny_options(folder: Path) -> list[str]:
    """Of a command over models with random weights, saved below folder."""
    from tests import tiny

    models = tiny.save_models(folder / "models")
    keys = {
        "data.image_size": 16,
        **{f"train.{name}": value for name, value in tiny.TREE["train"].items()},
        **{f"fit.{name}": value for name, value in tiny.TREE["fit"].items()},
        **{f"models.{name}": value for name, value in models.items()},
        "generate.samples_per_shard": PER_SHARD,
        "generate.batch_size": 2,
        "generate.precision": "fp32",
        "generate.num_sampling_steps": 5,
        "generate.workers": "here",
    }
    return [word for key, value in keys.items() for word in ("--set", f"{key}={json.dumps(value)}")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("out/chaos.jsonl"))
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    lines = arguments.out.read_text().splitlines() if arguments.out.exists() else []
    done = [result for result in map(json.loads, lines) if result["code"] == code_version()]
    missing = sorted(set(range(arguments.runs)) - {result["run"] for result in done})
    from tests import s3

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with s3.server(), tempfile.TemporaryDirectory() as scratch:
        make_bucket()
        options, expected = prepare(Path(scratch, "undisturbed"))
        for number in missing:
            folder = Path(scratch, str(number))
            folder.mkdir()
            result = chaos(number, folder, options, expected)
            done.append(result)
            with arguments.out.open("a") as file:
                file.write(json.dumps(result) + "\n")
            if result["wrong"]:
                print(f"run {number}: {result}\n{(folder / 'log.txt').read_text()[-2000:]}")
            shutil.rmtree(folder)
            if len(done) % 50 == 0:
                print(f"{sum(not r['wrong'] for r in done)} of {len(done)} runs held", flush=True)
    print(table(done))
    sys.exit(any(result["wrong"] for result in done))


def table(results: Sequence[dict[str, Any]]) -> str:
    """Runs by fault, as Markdown."""
    by_fault: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_fault[result["fault"]].append(result)
    lines = ["| fault | runs | held | median seconds |", "|---|---|---|---|"]
    for fault, of_fault in sorted(by_fault.items()):
        held = sum(not result["wrong"] for result in of_fault)
        seconds = sorted(result["seconds"] for result in of_fault)[len(of_fault) // 2]
        lines.append(f"| {fault} | {len(of_fault)} | {held} | {seconds:.1f} |")
    held = sum(not result["wrong"] for result in results)
    return "\n".join([*lines, f"| **all** | **{len(results)}** | **{held}** | |"])


if __name__ == "__main__":
    main()
