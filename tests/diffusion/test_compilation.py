"""Claims about factory.diffusion.compilation, with compilers that are quick."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from factory.diffusion import compilation
from factory.diffusion.compilation import CannotCompile, compiled, compiled_or_not


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
        monkeypatch.setattr(
            compilation.torch, "compile", lambda f, **how: original(f, backend=counted, **how)
        )
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


def test_training_goes_on_uncompiled_and_says_so_once(
    compiler: Callable[[Any], list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    compilations = compiler(broken)
    either = compiled_or_not(network)
    for _ in range(3):
        x = torch.randn(4)
        assert torch.equal(either(x), network(x))
    assert len(compilations) == 1
    told = capsys.readouterr().out
    assert told.count("no C++ compiler found") == 1 and "generate." not in told


def test_what_was_compiled_is_kept_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    compiled(network)
    assert compilation.os.environ["TORCHINDUCTOR_CACHE_DIR"].endswith(".cache/factory/inductor")
