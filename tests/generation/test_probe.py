"""Claims about factory.generation.probe: unlike hardware is refused, or its shards are known."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from factory.cli import main
from factory.config import Config, dump_config, load_config
from factory.errors import GenerationFailed, UnlikeHardware
from factory.generation import probe as probing
from factory.generation.command import check, environment, generate
from factory.generation.probe import join, probe
from factory.generation.recipe import load_models, make_plan
from factory.generation.repair import repair
from factory.generation.shard_maker import ShardMaker
from factory.generation.synthesizer import Synthesizer
from factory.shards.reading import read_receipts
from factory.shards.receipts import Hardware
from factory.shards.verification import verify
from tests.folders import contents
from tests.older import OLDER, factory, needs_older

HARDWARE = "_factory/hardware.json"
ALLOWED = ("--set", "generate.allow_unlike_hardware=true")


def maker(config: Config, **more: bool) -> ShardMaker:
    models = load_models(config)
    plan = make_plan(config, models)
    return ShardMaker(Synthesizer(models, plan), plan, config.generate.url, **more)


def begun(config: Config, tmp_path: Path) -> Path:
    """A dataset whose first shard was made by this process; its config lies beside it."""
    (tmp_path / "config.yaml").write_text(dump_config(config))
    check(config).start(dump_config(config), environment())
    made = maker(config)
    made.make(made.plan.shard(0))
    return Path(config.generate.url)


def hashes(file: str) -> list[str]:
    """Of the probe, then of the first shard, for a sampler of either kind of features."""
    found = []
    for sampler in ("sde_dpm_solver", "unipc"):
        config = load_config(file, [("generate.sampler", sampler)])
        models = load_models(config)
        plan = make_plan(config, models)
        synthesizer = Synthesizer(models, plan)
        shard = plan.encode(list(synthesizer.samples(plan.shard(0))))
        found += [probe(synthesizer, plan), hashlib.sha256(shard).hexdigest()]
    return found


@pytest.mark.slow
@needs_older
def test_a_probe_differs_where_shards_do_and_only_there(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    # As many pixels as the probe of a larger batch has.
    size = {"batch_size": 64, "samples_per_shard": 64, "num_sampling_steps": 3}
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(tiny_config(generate=size)))

    def process(threads: int, **variables: str) -> subprocess.Popen[str]:
        code = (
            "import sys, torch; from tests.generation import test_probe; "
            "torch.set_num_threads(int(sys.argv[2])); "
            "print(*test_probe.hashes(sys.argv[1]))"
        )
        return subprocess.Popen(
            [sys.executable, "-c", code, str(file), str(threads)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
            stdout=subprocess.PIPE,
            text=True,
        )

    others = [process(2, OMP_WAIT_POLICY="passive"), process(1, **OLDER)]
    here = hashes(str(file))
    alike, older = (each.communicate()[0].split() for each in others)
    assert len(here) == 4 and here == alike
    assert all(a != b for a, b in zip(here, older, strict=True))


@pytest.mark.slow
@needs_older
def test_a_dataset_is_not_resumed_on_another_processor_without_a_word(
    tiny_config: Callable[..., Config], tmp_path: Path, shards_made, capsys
) -> None:
    config = tiny_config(generate={"workers": "here", "num": 10})
    folder = begun(config, tmp_path)
    before = contents(folder)
    resume = ("generate", "--config", str(tmp_path / "config.yaml"))
    refused = factory(*resume, **OLDER)
    assert refused.returncode == 3
    capability = torch.backends.cpu.get_cpu_capability()
    both = f'cpu_capability: there "{capability}", here "DEFAULT"'
    assert both in refused.stderr
    assert "allow_unlike_hardware=true" in refused.stderr
    assert contents(folder) == before

    # With the flag, shards of both kinds can be told apart, and each kind repairs its own.
    mixed = factory(*resume, *ALLOWED, **OLDER)
    assert mixed.returncode == 0 and "other bytes come out" in mixed.stdout and both in mixed.stdout
    made_with = {i: r.made_with or {} for i, r in read_receipts(str(folder)).items()}
    kinds = {i: hardware["cpu_capability"] for i, hardware in made_with.items()}
    assert kinds == {0: capability, 1: "DEFAULT", 2: "DEFAULT"}
    whole = contents(folder)
    assert "2 of 3 shards: " in (folder / "README.md").read_text()
    assert main(["status", str(folder)]) == 0
    assert f"begun    on {socket.gethostname()}: cpu " in capsys.readouterr().out
    (folder / "data/train-00001.parquet").unlink()
    with pytest.raises(GenerationFailed) as caught:
        repair(str(folder))
    assert "cpu_capability DEFAULT" in capsys.readouterr().out
    assert f'cpu_capability: there "DEFAULT", here "{capability}"' in str(caught.value)
    mended = factory("repair", str(folder), *ALLOWED, **OLDER)
    assert mended.returncode == 0, mended.stderr
    assert contents(folder) == whole


def test_whoever_comes_first_decides_for_all_that_come_at_once(tmp_path: Path, tiny_config) -> None:
    ledger = check(tiny_config(generate={"workers": "here", "url": str(tmp_path)}))

    def claim(i: int) -> Hardware:
        return ledger.claim_hardware(Hardware(probe=str(i), made_with={}, host=f"host{i}"))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(claim, range(8)))
    assert len({hardware.probe for hardware in found}) == 1


@pytest.mark.slow
def test_other_versions_of_equal_bytes_are_told_and_go_on(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch
) -> None:
    config = tiny_config(generate={"workers": "here", "num": 10})
    begun(config, tmp_path)
    assert maker(config).joined.difference == ""
    monkeypatch.setattr(probing, "made_with", lambda *arguments: {"torch": "3.0"})
    made = maker(config)
    difference = made.joined.difference
    assert f'torch: there "{torch.__version__}", here "3.0"' in difference
    assert "the same bytes come out" in difference
    assert made.make(made.plan.shard(1)).made_with == {"torch": "3.0"}


@pytest.mark.slow
def test_unlike_hardware_of_the_same_name_is_refused_too(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch
) -> None:
    config = tiny_config(generate={"workers": "here", "num": 10})
    begun(config, tmp_path)
    monkeypatch.setattr(probing, "probe", lambda *arguments: "0" * 64)
    with pytest.raises(UnlikeHardware, match="the same by name"):
        maker(config)
    assert "other bytes" in maker(config, allow_unlike=True).joined.difference


@pytest.mark.slow
def test_a_dataset_from_before_the_probe_goes_on_and_is_whole(
    tiny_config: Callable[..., Config], tmp_path: Path, shards_made
) -> None:
    config = tiny_config(generate={"workers": "here", "num": 10})
    folder = begun(config, tmp_path)
    (folder / HARDWARE).unlink()
    receipt = folder / "_factory/shards/00000.json"
    fields = json.loads(receipt.read_bytes())
    del fields["made_with"]
    receipt.write_text(json.dumps(fields, indent=1) + "\n")
    generate(config)
    assert shards_made == [[1, 2]] and (folder / HARDWARE).exists()
    assert verify(str(folder), "decode").findings == []


@pytest.mark.slow
def test_where_the_first_hardware_is_lost_receipts_tell_what_shards_were_made_with(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch
) -> None:
    config = tiny_config(generate={"workers": "here", "num": 10})
    folder = begun(config, tmp_path)
    (folder / HARDWARE).unlink()
    before = contents(folder)
    monkeypatch.setattr(probing, "made_with", lambda *arguments: {"torch": "3.0"})
    with pytest.raises(UnlikeHardware) as caught:
        maker(config)
    both = f'torch: there "{torch.__version__}", here "3.0"'
    message = str(caught.value)
    assert f"{HARDWARE} is lost" in message and both in message
    assert "allow_unlike_hardware=true" in message
    assert contents(folder) == before
    assert both in maker(config, allow_unlike=True).joined.difference
    # The same by name goes on.
    monkeypatch.undo()
    (folder / HARDWARE).unlink()
    assert maker(config).joined.difference == ""
    assert contents(folder).keys() == {*before, HARDWARE}


@pytest.mark.slow
def test_damaged_hardware_is_told_before_anything_is_started(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = tiny_config(generate={"workers": "here", "num": 10})
    folder = begun(config, tmp_path)
    (folder / HARDWARE).write_bytes(b"{")
    process = factory("generate", "--config", str(tmp_path / "config.yaml"), "--dry-run")
    assert process.returncode == 2 and HARDWARE in process.stderr


def test_weights_that_are_broken_do_not_stop_the_probe(tiny_config) -> None:
    config = tiny_config(generate={"workers": "here", "num": 4})
    models = load_models(config)
    plan = make_plan(config, models)
    synthesizer = Synthesizer(models, plan)
    with torch.no_grad():
        next(synthesizer.unet.parameters()).fill_(float("nan"))
    # That no sample is finite is said by the shard that fails.
    assert len(probe(synthesizer, plan)) == 64


@pytest.mark.slow
def test_joining_twice_changes_nothing(tiny_config, tmp_path: Path) -> None:
    config = tiny_config(generate={"workers": "here", "num": 10})
    folder = begun(config, tmp_path)
    before = contents(folder)
    made = maker(config)
    assert join(made.ledger, made.batch_maker, False) == made.joined
    assert contents(folder) == before
