"""Claims about orders: however starts, kills, damage, repairs and other runs interleave, the same
command ends with the same bytes.

What `chaos.py` does, faster: in this process, without Ray, with exact orders instead of chance.
The sampled pictures are kept from one run; packing, ledger, verification and repair are real.
`INTERLEAVINGS=2000 pytest tests/chaos/test_interleavings.py` is the long version.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.errors import Flaky, FlakyFailure
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from factory import faults, storage
from factory.config import Config, parse_config
from factory.errors import UserError
from factory.generation import command, local, repair
from factory.generation.frozen_models import SampledBatch
from factory.generation.recipe import Models, load_models, make_plan
from factory.generation.synthesizer import Synthesizer
from factory.shards import layout, manifest, reading
from factory.shards.ledger import Ledger
from factory.shards.leftovers import remove_leftovers
from factory.shards.measuring import measure
from factory.shards.plan import Plan, ShardSpec
from factory.shards.receipts import Circumstances, Receipt
from factory.shards.schema import Sample
from factory.shards.status import status
from factory.shards.verification import Verification, verify
from factory.storage import TEMPORARY, files
from tests import tiny
from tests.chaos import chaos
from tests.chaos.interleaving import Interleaving, Killed, Process
from tests.folders import contents

FEW = 25
EXAMPLES = int(os.environ.get("INTERLEAVINGS", FEW))
"""Of sequences of steps. Few are the same each time; more of them are others each time."""
STEPS = 8
PER_SHARD = 2
SIZES = (2, 4, 7)
"""Pairs. Whole shards but for the largest, so an extended dataset is that of the larger command."""
MOST_MOMENTS = 70
"""A little more than the largest command has."""


@dataclass
class World:
    """Models and the undisturbed datasets, by number of pairs."""

    folder: Path
    models: dict[str, str]
    shards: dict[str, bytes]
    """By name; a smaller dataset has the first ones."""
    roots: dict[int, str]

    def config(self, folder: Path, num: int, seed: int = 0) -> Config:
        generate = {
            "url": str(folder),
            "num": num,
            "seed": seed,
            "extend": True,
            "samples_per_shard": PER_SHARD,
            "batch_size": 2,
            "precision": "fp32",
            "num_sampling_steps": 5,
            "workers": "here",
        }
        return parse_config({**tiny.TREE, "models": self.models, "generate": generate})


class Kept:
    """Stands in for a Synthesizer: the samples that it made once."""

    def __init__(self, original: Synthesizer, plan: Plan) -> None:
        self.device = original.device
        self.kept = [sample for spec in plan.shards() for sample in original.samples(spec)]
        self.probed = original.probe()

    def probe(self) -> tuple[torch.Tensor, list[Sample]]:
        return self.probed

    def batches(self, spec: ShardSpec) -> Iterator[SampledBatch]:
        yield SampledBatch(self.kept[spec.start : spec.stop], num_redrawn=0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("interleavings")
    set_hypothesis_home_dir(folder / "hypothesis")
    made = World(folder, tiny.save_models(folder / "models"), {}, {})
    with pytest.MonkeyPatch.context() as patch:
        for num in SIZES:
            dataset = folder / str(num)
            made.roots[num] = command.generate(made.config(dataset, num)).root
        made.shards = {path.name: path.read_bytes() for path in (dataset / "data").iterdir()}
        models = load_models(made.config(dataset, num))
        _keep_models(patch, models, made.config(dataset, num))
        yield made


def _keep_models(patch: pytest.MonkeyPatch, models: Models, config: Config) -> None:
    """They and what they make are the same each time; one shard is made at a time; and nothing
    waits for a disk, which only the loss of power would tell."""
    plan = make_plan(config, models)
    kept = Kept(Synthesizer(models, plan), plan)
    for module in (command, repair, local):
        patch.setattr(module, "load_models", lambda config: models)
    patch.setattr(local, "batch_maker", lambda config, plan, models: kept)
    patch.setattr(local, "NUM_SLOTS", 1)
    patch.setattr(os, "fsync", lambda descriptor: None)


Command = tuple[str, Any]
DEATHS = st.none() | st.integers(1, MOST_MOMENTS)
GENERATE = st.tuples(st.just("generate"), st.sampled_from(SIZES))
LEVELS = st.sampled_from(["size", "hash", "decode"])
OTHERS = (
    st.tuples(st.just("verify"), LEVELS)
    | st.tuples(st.just("repair"), LEVELS)
    | st.tuples(st.sampled_from(["status", "gc"]), st.none())
)
COMPANY = st.lists(st.tuples(GENERATE | GENERATE | OTHERS, DEATHS), min_size=1, max_size=2)
TURNS = st.lists(st.integers(1, MOST_MOMENTS), min_size=1, max_size=5)

DATA = ("data", "shards")
"""Folders whose files can be mended before the dataset is finished."""
DAMAGE = st.sampled_from(["flip", "cut", "empty", "lose", "swap", "foreign"])
INDICES = st.integers(0, 100)
BITS = st.integers(0, 100_000)


class Interleavings(RuleBasedStateMachine):
    """One dataset and all that happens to it."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.folder = Path(tempfile.mkdtemp(dir=world.folder))
        self.dataset = self.folder / "dataset"
        self.url = str(self.dataset)
        self.damaged: set[str] = set()
        self.only_lost = True
        self.seen: dict[str, bytes] = {}
        self.held = 0
        self.complete = 0
        """Pairs of the largest command that has ended well."""

    # What the dataset holds.

    def files(self) -> dict[str, bytes]:
        """By name; without what killed processes leave."""
        found = contents(self.dataset)
        return {name: content for name, content in found.items() if not TEMPORARY.search(name)}

    def num(self) -> int:
        """Pairs that the dataset is to hold; 0 if there is none."""
        if not self.damaged and (self.dataset / layout.RUN).exists():
            self.held = reading.read_plan(self.url).num
        return self.held

    def settled(self) -> bool:
        """Whether all is finished, the last extension, too."""
        success = self.dataset / layout.SUCCESS
        return success.exists() and json.loads(success.read_bytes())["rows"] == self.num()

    # Rules.

    def resumable(self) -> bool:
        return not self.damaged or self.only_lost

    @precondition(resumable)
    @rule(num=st.sampled_from(SIZES), dies=DEATHS)
    def start(self, num: int, dies: int | None) -> None:
        """Also a resumption and an extension; killed or not."""
        self.run([Process(self.command("generate", max(num, self.num())), dies)], [], {num})

    @precondition(lambda self: not self.damaged)
    @rule(num=st.sampled_from(SIZES), dies=DEATHS, company=COMPANY, turns=TURNS)
    def start_in_company(
        self,
        num: int,
        dies: int | None,
        company: list[tuple[Command, int | None]],
        turns: list[int],
    ) -> None:
        there = self.num()
        commands: list[tuple[Command, int | None]] = [(("generate", num), dies), *company]
        commands = [
            ((name, max(what, there) if name == "generate" else what), dies)
            for (name, what), dies in commands
        ]
        nums = {what for (name, what), _ in commands if name == "generate"}
        processes = [Process(self.command(*command), dies) for command, dies in commands]
        self.run(processes, turns, nums)

    @precondition(lambda self: self.num() and not self.damaged)
    @rule(num=st.sampled_from(SIZES))
    def another_plan(self, num: int) -> None:
        before = contents(self.dataset)
        with pytest.raises(UserError, match="another plan"):
            command.generate(self.world.config(self.dataset, num, seed=1))
        assert contents(self.dataset) == before

    @precondition(lambda self: self.num() > SIZES[0] and not self.damaged)
    @rule()
    def a_smaller_one(self) -> None:
        before = contents(self.dataset)
        with pytest.raises(UserError, match="are asked for"):
            command.generate(self.world.config(self.dataset, SIZES[0]))
        assert contents(self.dataset) == before

    @precondition(lambda self: self.num() and not self.damaged)
    @rule(level=LEVELS)
    def look(self, level: Any) -> None:
        before = contents(self.dataset)
        found = verify(self.url, level)
        self.check_found(found, self.complete < self.num())
        assert status(self.url).finished == self.settled()
        assert found.findings or found.finished == self.settled()
        assert contents(self.dataset) == before

    @precondition(lambda self: self.num() and not self.damaged)
    @rule()
    def collect_leftovers(self) -> None:
        kept = self.files()
        remove_leftovers(self.url, older_than_seconds=0)
        assert contents(self.dataset) == kept

    @precondition(lambda self: self.num() and not self.damaged)
    @rule(how=DAMAGE, where=INDICES, bit=BITS, times=st.integers(1, 3))
    def damage(self, how: str, where: int, bit: int, times: int) -> None:
        """Shards and receipts; of a finished dataset one other file at most."""
        files, settled = self.files(), self.settled()
        repairable = sorted(n for n in files if Path(n).parent.name in DATA)
        if how == "foreign" and not settled:
            plan = reading.read_plan(self.url)
            repairable = [spec.path for spec in plan.shards()]
            repairable += [layout.receipt_name(spec.shard) for spec in plan.shards()]
        for i in range(times):
            names = sorted(files) if settled and not i else repairable
            if names:
                name = names[(where + i) % len(names)]
                self.damaged |= damage_file(self.dataset, name, repairable, how, bit)
        now = self.files()
        self.only_lost = how == "lose" and all(Path(n).parent.name in DATA for n in self.damaged)
        self.seen = {name: c for name, c in now.items() if name not in self.damaged}

    @precondition(lambda self: self.damaged)
    @rule(dies=DEATHS)
    def mend(self, dies: int | None) -> None:
        """Until it comes to its end."""
        process = Process(self.command("repair", "decode"), dies)
        self.run([process], [], set())
        if isinstance(process.outcome, Verification):
            self.damaged.clear()

    # How a step is run, and what came of it.

    def command(self, name: str, what: Any) -> Callable[[], Any]:
        commands: dict[str, Callable[[], Any]] = {
            "generate": lambda: command.generate(self.world.config(self.dataset, what)),
            "repair": lambda: repair.repair(self.url, what),
            "verify": lambda: verify(self.url, what),
            "status": lambda: status(self.url),
            "gc": lambda: remove_leftovers(self.url),
        }
        return commands[name]

    def run(self, processes: list[Process], turns: list[int], nums: set[int]) -> None:
        interleaving = Interleaving(self.dataset, self.check_visible)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(faults, "hit", interleaving)
            interleaving.run(processes, turns)
        # A smaller command may have died while it wrote the last files over a larger one's.
        doubtful = len(nums) > 1 and any(isinstance(each.outcome, Killed) for each in processes)
        finishing = doubtful or self.complete < max([self.num(), *nums])
        for process in processes:
            self.judge(process.outcome, nums, finishing)
        self.complete = 0 if doubtful else self.complete

    def judge(self, outcome: Any, nums: set[int], finishing: bool) -> None:
        """Raises what no command may raise."""
        if isinstance(outcome, manifest.Manifest):
            self.complete = max(self.complete, outcome.plan.num)
            self.damaged.clear()
        elif isinstance(outcome, Verification):
            self.check_found(outcome, finishing)
        elif isinstance(outcome, UserError):
            message = str(outcome)
            early = "holds no dataset" in message or "no such config file" in message
            raced = len(nums) > 1 and (
                "are asked for" in message or "another run extends" in message
            )
            if not early and not raced:
                raise outcome
        elif isinstance(outcome, BaseException) and not isinstance(outcome, Killed):
            raise outcome

    def check_found(self, found: Verification, finishing: bool) -> None:
        """Nothing; but where the last files were cut short, it may well say that they are."""
        wrong = [each for each in found.findings if not (finishing and each.name in REWRITTEN)]
        assert wrong == []

    # Invariants.

    def check_visible(self) -> None:
        """What a reader sees at any moment."""
        for path in (self.dataset / "data").glob("train-*"):
            if f"data/{path.name}" not in self.damaged:
                assert path.read_bytes() == self.world.shards[path.name], f"{path.name} is torn"
        for receipt in (self.dataset / layout.SHARDS).glob("*.json"):
            shard = f"data/train-{receipt.stem}.parquet"
            known = {shard, f"{layout.SHARDS}/{receipt.name}"} & self.damaged
            assert known or (self.dataset / shard).exists(), f"{shard} comes after its receipt"

    @invariant()
    def shards_are_whole(self) -> None:
        self.check_visible()

    @invariant()
    def nothing_is_lost_or_foreign(self) -> None:
        now = self.files()
        assert self.seen.keys() <= now.keys()
        changed = {name for name, content in self.seen.items() if now[name] != content}
        assert changed <= REWRITTEN, f"{sorted(changed)} were replaced"
        assert all(ours(name) for name in now)
        self.seen = {name: now[name] for name in now.keys() - self.damaged}

    @invariant()
    def what_is_finished_stays_finished(self) -> None:
        if self.complete and not self.damaged:
            assert reading.read_manifest(self.url).rows >= self.complete

    @invariant()
    def success_means_all_is_there(self) -> None:
        if self.damaged or not (self.dataset / layout.SUCCESS).exists():
            return
        manifest = reading.read_manifest(self.url)
        assert manifest.root == self.world.roots[manifest.rows]
        names = {*manifest.files, *(receipt.path for receipt in manifest.receipts)}
        assert names <= self.files().keys()
        self.check_found(verify(self.url), self.complete < self.num())

    def teardown(self) -> None:
        """The same command, undisturbed, ends with the bytes of an undisturbed run."""
        if sys.exc_info()[0] is None:
            if self.damaged:
                self.mend(None)
            num = self.num() or SIZES[0]
            assert (
                command.generate(self.world.config(self.dataset, num)).root == self.world.roots[num]
            )
            wanted = dict(sorted(self.world.shards.items())[: -(-num // PER_SHARD)])
            assert {p.name: p.read_bytes() for p in self.dataset.glob("data/train*")} == wanted
            assert verify(self.url, "decode").findings == []
        shutil.rmtree(self.folder)


REWRITTEN = {"README.md", layout.MANIFEST, layout.SUCCESS}
"""Files that an extension writes anew."""


def ours(name: str) -> bool:
    folder, _, last = name.rpartition("/")
    if folder in ("data", layout.SHARDS, layout.EXTENSIONS):
        return last.removeprefix("train-")[:5].isdigit()
    small = {layout.RUN, layout.CONFIG, layout.ENVIRONMENT, layout.HARDWARE}
    small |= {layout.MANIFEST, layout.SUCCESS}
    return name in {*small, "README.md", "id2label.json", "label2id.json", "palette.json"}


def damage_file(dataset: Path, name: str, others: list[str], how: str, bit: int) -> set[str]:
    """Damages the file; the names of files that are not as they were."""
    path = dataset / name
    before = path.read_bytes() if path.exists() else None
    content = bytearray(before or b"")
    if how == "lose":
        path.unlink(missing_ok=True)
    elif how == "swap":
        other = others[bit % len(others)] if others else name
        theirs = (dataset / other).read_bytes() if (dataset / other).exists() else bytes(content)
        (dataset / other).write_bytes(content)
        path.write_bytes(theirs)
        return {name, other} if theirs != content else set()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        if content:
            content[bit // 8 % len(content)] ^= 1 << bit % 8
        damaged = {
            "flip": bytes(content),
            "cut": bytes(content[: len(content) // 2]),
            "empty": b"",
            "foreign": b"foreign",
        }
        path.write_bytes(damaged[how])
    return {name}


def explore(world: World, examples: int, shrinks: bool = True) -> None:
    """Raises what the shortest failing sequence of steps raises, with the steps in its notes."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        derandomize=EXAMPLES == FEW,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink] if shrinks else [Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    machine: Any = partial(Interleavings, world)
    run_state_machine_as_test(machine, settings=chosen)


@pytest.mark.timeout(0)
def test_whatever_is_interleaved_the_same_command_ends_with_the_same_bytes(world) -> None:
    explore(world, EXAMPLES)


def check(machine: Interleavings) -> None:
    """All claims, for a dataset that no command is working on."""
    for claim in (
        machine.shards_are_whole,
        machine.nothing_is_lost_or_foreign,
        machine.what_is_finished_stays_finished,
        machine.success_means_all_is_there,
        lambda: machine.num() and machine.look("hash"),
        machine.teardown,
    ):
        claim()


def test_an_extension_may_be_killed_at_each_of_its_moments(world) -> None:
    moments, killed = 0, True
    while killed:
        moments += 1
        machine = Interleavings(world)
        machine.start(4, None)
        extension = Process(machine.command("generate", 7), dies=moments)
        machine.run([extension], [], {7})
        killed = isinstance(extension.outcome, Killed)
        check(machine)
    assert moments > 30


def test_a_larger_run_may_start_and_end_at_each_moment_of_a_smaller_one(world) -> None:
    moments, met = 0, True
    while met:
        moments += 1
        machine = Interleavings(world)
        smaller, larger = (Process(machine.command("generate", num)) for num in (4, 7))
        machine.run([smaller, larger], [moments], {4, 7})
        met = smaller.moments >= moments
        check(machine)
    assert moments > 30


def test_of_two_plans_at_once_one_is_refused(world) -> None:
    for moment in range(1, 20):
        dataset = Interleavings(world).dataset
        processes = [
            Process(partial(command.generate, world.config(dataset, 4, seed))) for seed in (0, 1)
        ]
        interleaving = Interleaving(dataset, lambda: None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(faults, "hit", interleaving)
            interleaving.run(processes, [moment])
        refused, made = sorted((each.outcome for each in processes), key=_is_manifest)
        assert isinstance(refused, UserError) and "another plan" in str(refused)
        assert reading.read_manifest(str(dataset)) == made
        found = verify(str(dataset), "decode")
        assert (found.findings, found.finished) == ([], True)


def _is_manifest(outcome: Any) -> bool:
    return isinstance(outcome, manifest.Manifest)


def test_a_killed_process_leaves_its_temporary_file_until_it_is_collected(world) -> None:
    machine = Interleavings(world)
    machine.start(2, dies=3)
    left = list(contents(machine.dataset))
    assert len(left) == 1 and TEMPORARY.search(left[0])
    machine.start(2, None)
    assert left[0] in contents(machine.dataset)
    machine.collect_leftovers()
    machine.teardown()


publish = Ledger.publish


def receipt_first(
    ledger: Ledger,
    spec: ShardSpec,
    files: dict[str, bytes],
    circumstances: Circumstances,
    replace: bool,
) -> Receipt:
    content = {**measure(ledger.plan, spec, files), **asdict(circumstances)}
    ledger._publish_receipt(Receipt(**content))
    return publish(ledger, spec, files, circumstances, replace)


MUTANTS: dict[str, tuple[Any, str, Any, str]] = {
    "receipts come first": (Ledger, "publish", receipt_first, "comes after its receipt"),
    "files are replaced": (files, "write_new", storage.write, "were replaced"),
    "halves are visible": (files, "write_local", chaos._torn_write, "is torn"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_machine_notices_that(mutant, world, monkeypatch) -> None:
    module, name, changed, message = MUTANTS[mutant]
    monkeypatch.setattr(module, name, changed)
    # Threads are not always interleaved alike: where a sequence of steps that failed does not fail
    # again, hypothesis may tell that alone, and then it looks once more.
    for _ in range(5):
        with pytest.raises((AssertionError, Flaky)) as caught:
            explore(world, 100, shrinks=False)
        found = caught.value
        failures = found.exceptions if isinstance(found, FlakyFailure) else [found]
        if any(message in str(failure) for failure in failures):
            return
        assert isinstance(found, Flaky), found
    pytest.fail(f"nothing said {message!r} in five runs")
