"""Claims about factory.diffusion.compilation, with compilers that are quick."""

import fcntl
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from factory.diffusion import compilation
from factory.diffusion.compilation import (
    CompiledOrNot,
    cache_folder,
    compiled,
    compiled_alike,
    one_first,
)
from factory.errors import CannotCompile

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _kept_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled goes to a folder of the test, and is forgotten after it."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))


def network(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1


def broken(graph: Any, inputs: Any) -> Any:
    raise OSError("no C++ compiler found")


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[int]]:
    """Puts a backend in place of the real one; counts what it compiles."""

    def use(backend: Any) -> list[int]:
        compilations: list[int] = []

        def counted(graph: Any, inputs: Any) -> Any:
            compilations.append(len(inputs))
            return backend(graph, inputs)

        original = torch.compile

        def compile(f: Any, options: Any, **how: Any) -> Any:
            return original(f, backend=counted, **how)

        monkeypatch.setattr(torch, "compile", compile)
        torch.compiler.reset()
        return compilations

    return use


def test_a_compiled_network_says_the_same_and_is_compiled_once_a_shape(
    compiler: Callable[[Any], list[int]],
) -> None:
    compilations = compiler(lambda graph, inputs: graph.forward)
    fast = compiled(network)
    for _ in range(3):
        x = torch.randn(4)
        torch.testing.assert_close(fast(x), network(x))
    assert len(compilations) == 1


def test_a_process_may_meet_many_shapes(compiler: Callable[[Any], list[int]]) -> None:
    compilations = compiler(lambda graph, inputs: graph.forward)
    for num in range(2, 14):
        # As new synthesizers do: all of them share the network's code.
        assert compiled(network)(torch.ones(num)).shape == (num,)
    assert len(compilations) == 12


def test_more_shapes_than_torch_keeps_are_refused_as_any_failure_is(
    compiler: Callable[[Any], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(lambda graph, inputs: graph.forward)
    monkeypatch.setattr(compilation, "_MAX_SHAPES", 2)
    fast = compiled(network)
    with pytest.raises(CannotCompile, match=r"limit exceeded.*generate\.compile=false"):
        for num in range(2, 6):
            fast(torch.ones(num))


def test_where_it_cannot_be_compiled_the_reason_and_the_remedy_are_told(
    compiler: Callable[[Any], list[int]],
) -> None:
    compiler(broken)
    with pytest.raises(CannotCompile, match=r"no C\+\+ compiler.*generate\.compile=false"):
        compiled(network)(torch.randn(4))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.linear(x).sin())


def eager(**compilers: Any) -> Any:
    """A backend that runs the graphs forward and backward as they are."""
    # Torch's compiler takes seconds to import, which a run without slow tests need not wait for.
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    def as_it_is(graph: Any, inputs: Any) -> Any:
        return make_boxed_func(graph.forward)

    return aot_autograd(fw_compiler=as_it_is, **compilers)


def broken_on_the_way_back(graph: Any, inputs: Any) -> Any:
    return eager(bw_compiler=broken)(graph, inputs)


@pytest.mark.parametrize("backend", [broken, broken_on_the_way_back])
def test_training_goes_on_uncompiled_and_says_so_once_wherever_it_fails(
    backend: Any, compiler: Callable[[Any], list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    compilations, plain = compiler(backend), Net()
    either = CompiledOrNot(plain)
    for seed in range(3):
        x = torch.randn(2, 4)
        torch.manual_seed(seed)
        output = either(x)
        output.sum().backward()
        torch.manual_seed(seed)
        assert torch.equal(output, plain(x))
    assert len(compilations) == 1
    said = capsys.readouterr().out
    assert said.count("no C++ compiler found") == 1 and "generate." not in said


def test_a_network_that_trains_is_compiled_once_and_its_gradients_are_its_own(
    compiler: Callable[[Any], list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    compilations, plain = compiler(eager()), Net()
    fast = CompiledOrNot(plain)
    for seed in range(3):
        x = torch.randn(2, 4)
        gradients = []
        for one in (plain, fast):
            plain.zero_grad(set_to_none=True)
            torch.manual_seed(seed)
            one(x).square().sum().backward()
            gradients.append([parameter.grad for parameter in plain.parameters()])
        torch.testing.assert_close(*gradients)
    assert len(compilations) == 1
    assert "slower" not in capsys.readouterr().out


def test_a_compiled_network_may_be_distributed(
    compiler: Callable[[Any], list[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compilations = compiler(eager())
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1
    )
    try:
        distributed = nn.parallel.DistributedDataParallel(CompiledOrNot(Net()))
        for _ in range(3):
            distributed.zero_grad()
            distributed(torch.randn(2, 4)).square().sum().backward()
            assert all(parameter.grad is not None for parameter in distributed.parameters())
    finally:
        torch.distributed.destroy_process_group()
    assert len(compilations) == 1
    assert "slower" not in capsys.readouterr().out


def test_no_memory_left_is_no_reason_to_go_on_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(compilation, "compiled", lambda network: network)
    with pytest.raises(torch.OutOfMemoryError):
        CompiledOrNot(Full())(torch.ones(1))


def test_what_promises_equal_bytes_is_compiled_without_a_race_between_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []
    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **how: asked.append(how) or original(f, **how))
    compiled_alike(network)
    compiled(network)
    alike, left_alone = (how["options"] for how in asked)
    assert alike == {"deterministic": True, "compile_threads": torch.get_num_threads()}
    assert left_alone == {}


def test_what_was_compiled_is_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    compiled(network)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == f"{tmp_path}/.cache/factory/inductor"


def no_home(self: Path) -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("has_home", [False, True])
def test_without_a_home_to_write_to_it_is_kept_for_this_process_alone(
    has_home: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "no folder").touch()
    monkeypatch.setenv("HOME", f"{tmp_path}/no folder")
    if not has_home:
        monkeypatch.setattr(Path, "expanduser", no_home)
    compiled(network)
    folder = cache_folder()
    assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder)


def test_of_those_that_compile_at_once_one_goes_first_and_the_others_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []
    holds, go_on, late = threading.Event(), threading.Event(), threading.Semaphore(0)
    together = threading.Barrier(2, timeout=60)
    flock = fcntl.flock

    def lock(file: int, operation: int) -> None:
        if operation == fcntl.LOCK_SH:  # Who asks for it came second.
            late.release()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock)

    def first() -> None:
        with one_first():
            events.append("first")
            holds.set()
            assert go_on.wait(60)
            events.append("done")

    def other() -> None:
        with one_first():
            events.append("other")
            together.wait()

    with ThreadPoolExecutor(3) as processes:
        ends = [processes.submit(first)]
        assert holds.wait(60)
        ends += [processes.submit(other) for _ in range(2)]
        assert late.acquire(timeout=60) and late.acquire(timeout=60)
        assert not events[1:]
        go_on.set()
        for end in ends:
            end.result()
    assert events == ["first", "done", "other", "other"]
