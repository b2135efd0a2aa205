"""Files that run code where they are read without care: all made here, in memory.

Each makes the folder CANARY when it goes off. `careless` is a reader that sets it off, so that a
test which sees no canary has seen a live artefact.
"""

import base64
import bz2
import gzip
import io
import json
import lzma
import marshal
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save as save_safetensors


@dataclass(frozen=True)
class Artefact:
    """A file's bytes, and who should never have read them."""

    name: str
    data: bytes
    careless: Callable[[bytes], object]


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.canary,)


def make_all(canary: Path) -> list[Artefact]:
    """Every artefact, each going off at canary."""
    bomb = Bomb(canary)
    return [
        *_pickles(bomb),
        *_checkpoints(bomb),
        *_arrays(bomb),
        *_tables(bomb),
        *_archives(bomb),
        *_programs(str(canary)),
        *_yamls(str(canary)),
        *_pictures(bomb),
    ]


def _pickles(bomb: Bomb) -> list[Artefact]:
    plain = pickle.dumps(bomb)
    return [
        Artefact("pickle of protocol 0", pickle.dumps(bomb, 0), pickle.loads),
        Artefact("pickle of protocol 2", pickle.dumps(bomb, 2), pickle.loads),
        Artefact("pickle of protocol 5", pickle.dumps(bomb, 5), pickle.loads),
        Artefact("pickle in a list", pickle.dumps([1, {"a": bomb}]), pickle.loads),
        Artefact("pickle in gzip", gzip.compress(plain), _then(gzip.decompress)),
        Artefact("pickle in bzip2", bz2.compress(plain), _then(bz2.decompress)),
        Artefact("pickle in xz", lzma.compress(plain), _then(lzma.decompress)),
        Artefact("pickle in base64", base64.b64encode(plain), _then(base64.b64decode)),
    ]


def _then(unpack: Callable[[bytes], bytes]) -> Callable[[bytes], object]:
    return lambda data: pickle.loads(unpack(data))


def _checkpoints(bomb: Bomb) -> list[Artefact]:
    weight = torch.zeros(4)
    tensors = save_safetensors({"conv_in.weight": weight})
    state = {"conv_in.weight": weight, "epoch": bomb}
    hidden = save_safetensors(
        {"conv_in.weight": weight}, metadata={"code": base64.b64encode(pickle.dumps(bomb)).decode()}
    )
    return [
        Artefact("checkpoint that is a bomb", _saved(bomb), _torch_load),
        Artefact("state dict with a bomb beside the tensors", _saved(state), _torch_load),
        Artefact(
            "state dict whose tensor is a bomb", _saved({"conv_in.weight": bomb}), _torch_load
        ),
        Artefact("checkpoint of the old kind", _saved(state, zipped=False), _torch_load),
        Artefact(
            "safetensors with a pickle behind",
            tensors + pickle.dumps(bomb),
            lambda data: pickle.loads(data[len(tensors) :]),
        ),
        Artefact("safetensors with a pickle in its metadata", hidden, _unpickle_safetensors),
    ]


def _saved(content: object, zipped: bool = True) -> bytes:
    sink = io.BytesIO()
    torch.save(content, sink, _use_new_zipfile_serialization=zipped)
    return sink.getvalue()


def _torch_load(data: bytes) -> object:
    return torch.load(io.BytesIO(data), weights_only=False)


def _unpickle_safetensors(data: bytes) -> object:
    (size,) = struct.unpack_from("<Q", data)
    return pickle.loads(base64.b64decode(json.loads(data[8 : 8 + size])["__metadata__"]["code"]))


def _arrays(bomb: Bomb) -> list[Artefact]:
    objects = np.array([bomb], object)
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, objects, allow_pickle=True)
    np.savez(npz, images=objects)
    return [
        Artefact("array of objects", npy.getvalue(), _load_array),
        Artefact("arrays of objects", npz.getvalue(), lambda data: _load_array(data)["images"]),
    ]


def _load_array(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data), allow_pickle=True)


def _tables(bomb: Bomb) -> list[Artefact]:
    data = pickle.dumps(bomb)
    names = ("ray.data.arrow_pickled_object", "arrow.py_extension_type", "ray.data.arrow_tensor_v2")
    schemas = [
        pa.schema(
            [pa.field("image", pa.large_binary(), metadata=_extension(name, data))], {"note": data}
        )
        for name in names
    ]
    ipc = pa.BufferOutputStream()
    with pa.ipc.new_file(ipc, schemas[1]) as writer:
        writer.write_table(_table(schemas[1], data))
    inside = _unpickle_inside(data)
    return [
        *(
            Artefact(f"Parquet with a column of {name}", _parquet(schema, data), inside)
            for name, schema in zip(names, schemas, strict=True)
        ),
        Artefact("Arrow file with a type of Python's", _bytes(ipc), inside),
    ]


def _extension(name: str, data: bytes) -> dict[str, bytes]:
    return {"ARROW:extension:name": name.encode(), "ARROW:extension:metadata": data}


def _table(schema: pa.Schema, data: bytes) -> pa.Table:
    return pa.Table.from_arrays([pa.array([data], pa.large_binary())], schema=schema)


def _parquet(schema: pa.Schema, data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(_table(schema, data), sink)
    return _bytes(sink)


def _bytes(sink: pa.BufferOutputStream) -> bytes:
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _unpickle_inside(payload: bytes) -> Callable[[bytes], object]:
    """Not by Arrow, whose types may refuse before they unpickle."""
    return lambda data: pickle.loads(data[data.index(payload) :])


def _archives(bomb: Bomb) -> list[Artefact]:
    data = pickle.dumps(bomb)
    escaping = tarfile.TarInfo(bomb.canary.lstrip("/"))
    escaping.type = tarfile.DIRTYPE
    return [
        *(
            Artefact(f"tar with a member of .{end}", _tar(f"000000000.{end}", data), _decode_tar)
            for end in ("pyd", "pkl", "pickle")
        ),
        Artefact("tar with a checkpoint", _tar("000000000.pth", _saved(bomb)), _decode_tar),
        Artefact("tar that leaves its folder", _tar_of(escaping, b""), _extract),
    ]


def _tar(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return _tar_of(info, data)


def _tar_of(info: tarfile.TarInfo, data: bytes) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def _decode_tar(data: bytes) -> None:
    """As the webdataset library does with `decode()`."""
    from webdataset.autodecode import basichandlers

    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            end = member.name.partition(".")[2]
            _torch_load(content.read()) if end == "pth" else basichandlers(end, content.read())


def _extract(data: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall("/", filter="fully_trusted")


def _programs(canary: str) -> list[Artefact]:
    text = f"import os\nos.mkdir({canary!r})\n"
    code = marshal.dumps(compile(text, "config.py", "exec"))
    return [
        Artefact("Python for a config", text.encode(), lambda data: exec(data.decode(), {})),
        Artefact("marshalled code", code, lambda data: exec(marshal.loads(data), {})),
        Artefact(
            "compiled module", bytes(16) + code, lambda data: exec(marshal.loads(data[16:]), {})
        ),
        Artefact(
            "expression for a number",
            f"__import__('os').mkdir({canary!r})".encode(),
            lambda data: eval(data.decode()),
        ),
    ]


def _yamls(canary: str) -> list[Artefact]:
    path = json.dumps(canary)
    texts = {
        "YAML that calls": f"generate: !!python/object/apply:os.mkdir [{path}]\n",
        "YAML that calls with names": (
            f"generate: !!python/object/apply:os.mkdir {{args: [{path}], kwds: {{mode: 448}}}}\n"
        ),
        "YAML that makes an object": (
            f"generate: !!python/object/new:os.mkdir\n  args: [{path}]\n"
        ),
        "YAML that calls in a key": f"? !!python/object/apply:os.mkdir [{path}]\n: 1\n",
    }
    return [Artefact(name, text.encode(), yaml.unsafe_load) for name, text in texts.items()]


def _pictures(bomb: Bomb) -> list[Artefact]:
    sink, note = io.BytesIO(), PngInfo()
    note.add_text("code", base64.b64encode(pickle.dumps(bomb)).decode())
    Image.new("L", (8, 8)).save(sink, "PNG", pnginfo=note)
    png = sink.getvalue()
    return [
        Artefact("PNG with a pickle in its text", png, _unpickle_text),
        Artefact(
            "PNG with a pickle behind",
            png + pickle.dumps(bomb),
            lambda data: pickle.loads(data[len(png) :]),
        ),
    ]


def _unpickle_text(data: bytes) -> object:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return pickle.loads(base64.b64decode(picture.info["code"]))
