"""A GPU made of Python: it carries real numbers and enforces the rules of one.

    with StandIn() as gpu:
        ...  # any code that says "cuda"
    gpu.waits, gpu.slow, gpu.live_bytes()

A tensor on it is a wrapper that reports cuda:0 and holds its numbers in a tensor of the CPU, so
results may be compared with those of a CPU. As on a GPU, an operation refuses tensors of two
devices (a CPU tensor without dimensions may stand for a number), fused optimisers refuse tensors
that lie otherwise than their parameters, and numpy refuses a tensor of the GPU. What a GPU would
allow and pay for is counted: whatever makes the host wait for it (`waits`), a foreach operation
that falls back to a launch for each tensor (`slow`), and the bytes that are alive (`live_bytes`).

What it cannot tell: speed, rounding of a GPU's own kernels, streams, limits of a kernel.
"""

import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

CUDA = torch.device("cuda", 0)
aten = torch.ops.aten

_COPIES = {aten._to_copy.default, aten.copy_.default}
_READS = {aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default}
_SIZES = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten.bincount.default,
    aten._unique2.default,
    aten.unique_consecutive.default,
    aten.repeat_interleave.Tensor,
}
"""What these give has a size that only the device knows."""
_INDEXING = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}


class DeviceMixed(RuntimeError):
    """Raised where an operation is given tensors of the CPU and of the GPU."""


class OnGpu(torch.Tensor):
    """A tensor of cuda:0; `held` has its numbers."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "OnGpu":
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=CUDA,
        )
        tensor.held = held
        return tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert StandIn.active is not None, f"{func} of a tensor whose GPU is gone"
        return StandIn.active.run(func, args, kwargs or {})

    def __repr__(self) -> str:
        return f"OnGpu({tuple(self.shape)}, {self.dtype})"


class _Watched(TorchDispatchMode):
    """Brings every operation to the device, those that make a tensor on it among them."""

    def __init__(self, gpu: "StandIn") -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.gpu.run(func, args, kwargs or {})


class StandIn:
    """The device; there is at most one at a time."""

    active: "StandIn | None" = None

    def __init__(self, free_bytes: int = 80 * 2**30) -> None:
        self.free_bytes = free_bytes
        self.waits: Counter[str] = Counter()
        """What made the host wait, and the product's line that did."""
        self.slow: Counter[str] = Counter()
        self.peak_bytes = 0
        self.memory_fraction = 1.0
        self.bf16 = True
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self._reported_bytes = 0
        self._pinned: dict[int, StorageWeakRef] = {}

    def __enter__(self) -> "StandIn":
        # It reads torch.cuda when it is imported, so it is before anything is put in its place; it
        # takes seconds, which tests without a stand-in need not wait for.
        import torch._dynamo

        self._undo = ExitStack()
        for name, value in self._torch_cuda().items():
            self._undo.enter_context(patch.object(torch.cuda, name, value))
        self._undo.enter_context(patch.object(torch.Tensor, "backward", _backward))
        self._undo.enter_context(_modules_move_by_swapping())
        StandIn.active = self
        self._undo.enter_context(_Watched(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self._undo.close()
        StandIn.active = None

    def _torch_cuda(self) -> dict[str, Any]:
        def set_fraction(fraction: float, device: Any = None) -> None:
            self.memory_fraction = fraction

        return {
            "_lazy_init": lambda: None,
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "current_device": lambda: 0,
            "synchronize": lambda device=None: self._wait("synchronize"),
            "mem_get_info": lambda device=None: (self.free_bytes, self.free_bytes),
            "is_bf16_supported": lambda including_emulation=True: self.bf16 or including_emulation,
            "set_per_process_memory_fraction": set_fraction,
        }

    def live_bytes(self) -> int:
        """Of all tensors on the device that something still holds."""
        self._alive = {k: v for k, v in self._alive.items() if not v[0].expired()}
        self._reported_bytes = sum(num for _, num in self._alive.values())
        return self._reported_bytes

    def forget_peak(self) -> None:
        """Has `peak_bytes` begin again at what is alive."""
        self.peak_bytes = self.live_bytes()

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """One operation, by the device's rules."""
        if torch.is_inference_mode_enabled() and func._can_decompose():
            # There, operations that are made of others arrive whole.
            with _Watched(self):
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        if func in _COPIES:
            return self._copy(func, args, kwargs)
        tensors = list(_tensors((*args, *kwargs.values())))
        here = any(isinstance(tensor, OnGpu) for tensor in tensors)
        if here:
            self._check(func, args, tensors)
        asked = kwargs.get("device")
        on_gpu = here if asked is None else torch.device(asked).type == "cuda"
        if asked is not None:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        pins = kwargs.get("pin_memory", False)
        kwargs = {key: value for key, value in kwargs.items() if key != "pin_memory"}
        found = func(*_held(args), **_held(kwargs))
        if pins:
            self._pin(found)
        return self._given_back(func, args, kwargs, found) if on_gpu else found

    def _check(self, func: Any, args: Any, tensors: Sequence[torch.Tensor]) -> None:
        """The rules for an operation of which at least one tensor is the GPU's."""
        if func is aten.is_pinned.default:
            return
        if func in _READS or func in _SIZES:
            self._wait(func._schema.name)
        elif func in _INDEXING:
            for index in args[1]:
                if index is not None and not isinstance(index, OnGpu):
                    self._wait("an index from the CPU")
                elif index is not None and index.dtype in (torch.bool, torch.uint8):
                    self._wait("an index by a mask")
        elif strangers := [t for t in tensors if not isinstance(t, OnGpu) and t.dim() > 0]:
            raise DeviceMixed(
                f"{func}: tensors of cuda:0 and of the CPU, of shape {tuple(strangers[0].shape)}, "
                f"at {_where()}"
            )
        lists = [part for part in args if _is_list(part)]
        if func._schema.name.startswith("aten::_fused_adam") and not _lie_alike(lists):
            raise RuntimeError(
                "params, grads, exp_avgs, and exp_avg_sqs must have same dtype, device, and layout"
            )
        if func._schema.name.startswith("aten::_foreach") and not _lie_alike(lists):
            self.slow[f"{func._schema.name} at {_where()}"] += 1

    def _wait(self, what: str) -> None:
        self.waits[f"{what} at {_where()}"] += 1

    def _copy(self, func: Any, args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
        in_place = func is aten.copy_.default
        source = args[1] if in_place else args[0]
        non_blocking = kwargs.get("non_blocking", in_place and len(args) > 2 and args[2])
        asked = kwargs.get("device")
        here = isinstance(source, OnGpu)
        if in_place:
            there = isinstance(args[0], OnGpu)
        else:
            there = here if asked is None else torch.device(asked).type == "cuda"
        if here and not there:
            self._wait("a copy to the CPU")
        number = in_place and source.dim() == 0
        if there and not here and not number and not (non_blocking and self._is_pinned(source)):
            # The driver copies from memory that is not pinned while the host stands by.
            self._wait("a copy from memory that is not pinned")
        if in_place:
            _held(args[0]).copy_(_held(source))
            return args[0]
        kept = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking")}
        copied = func(_held(source), **kept)
        return self._wrapped(copied) if there else copied

    def _given_back(self, func: Any, args: Any, kwargs: Any, found: Any) -> Any:
        returns = func._schema.returns
        if not any(part.alias_info and part.alias_info.is_write for part in returns):
            if isinstance(found, torch.Tensor):
                return self._wrapped(found)
            return tree_map_only(torch.Tensor, self._wrapped, found)
        # What is written to is given back itself, not as another tensor.
        written = [
            args[i] if i < len(args) else kwargs[argument.name]
            for i, argument in enumerate(func._schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        return written[0] if len(returns) == 1 else tuple(written)

    def _wrapped(self, held: torch.Tensor) -> OnGpu:
        storage = held.untyped_storage()
        known = self._alive.get(storage._cdata)
        if known is None or known[0].expired():
            self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
            self._reported_bytes += storage.nbytes()
            if self._reported_bytes > self.peak_bytes:
                # Or so it seems: what has died since is still counted.
                self.peak_bytes = max(self.peak_bytes, self.live_bytes())
        # A view of an ordinary tensor is one, in inference mode too.
        with torch.inference_mode(held.is_inference()):
            return OnGpu(held)

    def _pin(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        self._pinned[storage._cdata] = StorageWeakRef(storage)

    def _is_pinned(self, tensor: torch.Tensor) -> bool:
        known = self._pinned.get(tensor.untyped_storage()._cdata)
        return known is not None and not known.expired()


def _held(value: Any) -> Any:
    """The same arguments for the CPU; quicker than torch's own tree of values."""
    if isinstance(value, OnGpu):
        return value.held
    if type(value) in (tuple, list):
        return type(value)(map(_held, value))
    return {key: _held(v) for key, v in value.items()} if type(value) is dict else value


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Among arguments, and lists of them."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(v, torch.Tensor) for v in value)


def _lie_alike(lists: Sequence[Sequence[torch.Tensor]]) -> bool:
    """Whether tensors of equal rank at equal positions have equal strides, but for sizes of one."""
    pairs = [(x, y) for other in lists[1:] for x, y in zip(lists[0], other, strict=False)]
    return all(
        size == 1 or one == another
        for x, y in pairs
        if x.dim() == y.dim()
        for size, one, another in zip(x.shape, x.stride(), y.stride(), strict=True)
    )


def _where() -> str:
    """The product's own line that is being run."""
    frames = [f for f in traceback.extract_stack() if "/factory/" in f.filename]
    if not frames:
        return "the test"
    return f"{frames[-1].filename.rpartition('/factory/')[2]}:{frames[-1].lineno}"


@torch.no_grad()
def _backward(loss: torch.Tensor) -> None:
    """The gradients of a scalar, node by node: torch's own engine asks a GPU for its streams."""
    assert loss.grad_fn is not None
    awaited: Counter[Any] = Counter()
    seen, ahead = {loss.grad_fn}, [loss.grad_fn]
    while ahead:
        followers = [node for node, _ in ahead.pop().next_functions if node is not None]
        awaited.update(followers)
        new = set(followers) - seen
        seen |= new
        ahead.extend(new)
    arrived: dict[Any, dict[int, torch.Tensor]] = {loss.grad_fn: {0: torch.ones_like(loss)}}
    ready = [loss.grad_fn]
    while ready:
        node = ready.pop()
        outputs = arrived.pop(node, {})
        gradients = node(*(outputs.get(i) for i in range(len(node._input_metadata))))
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        for (follower, index), gradient in zip(node.next_functions, gradients, strict=False):
            if follower is None:
                continue
            if gradient is not None:
                # Where the operation forward has broadcast or cast.
                like = follower._input_metadata[index]
                gradient = gradient.sum_to_size(like.shape).to(like.dtype)
                there = arrived.setdefault(follower, {})
                there[index] = there[index] + gradient if index in there else gradient
            awaited[follower] -= 1
            if not awaited[follower]:
                ready.append(follower)


@contextmanager
def _modules_move_by_swapping() -> Iterator[None]:
    """A module that moves to another device keeps its parameters, as with a real GPU: torch would
    make new ones of tensors of another class."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)
