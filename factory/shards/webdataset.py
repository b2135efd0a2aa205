"""One shard as a tar in WebDataset's convention: image.png, mask.png and json of each key."""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence

from factory.classes import Classes
from factory.images import encode_png
from factory.shards.schema import DamagedShard, Sample, from_fields, to_fields

_SUFFIXES = (".image.png", ".mask.png", ".json")


def encode(samples: Sequence[Sample], classes: Classes, run: Mapping[str, str]) -> bytes:
    """The shard's bytes, the same for the same samples; a tar has no place for classes and run.

    Raises DamagedShard where a mask holds an id beyond the classes, 255 aside.
    """
    del run
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            fields = to_fields(sample, len(classes))
            # As text: JSON readers, `datasets` among them, stumble over integers from 2^63 on.
            fields["seed"] = str(sample.seed)
            text = json.dumps(fields, sort_keys=True, allow_nan=False)
            _add(tar, f"{sample.key}.image.png", encode_png(sample.image))
            _add(tar, f"{sample.key}.mask.png", encode_png(sample.mask))
            _add(tar, f"{sample.key}.json", text.encode())
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    member.uname = member.gname = "factory"
    tar.addfile(member, io.BytesIO(data))


def iterate(data: bytes) -> Iterator[Sample]:
    """The samples in order, one in memory at a time; nothing is ever extracted.

    Raises DamagedShard where the bytes are torn or no tar of ours.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            members = _members(tar)
            for name, image_png in members:
                key = name.removesuffix(_SUFFIXES[0])
                (mask_name, mask_png), (json_name, text) = next(members), next(members)
                if [name, mask_name, json_name] != [key + suffix for suffix in _SUFFIXES]:
                    raise DamagedShard(f"members {name}, {mask_name}, {json_name} are no sample")
                fields = json.loads(text)
                if not isinstance(fields, dict) or fields.get("key") != key:
                    raise DamagedShard(f"{json_name} does not hold the fields of {key}")
                yield from_fields(fields, image_png, mask_png)
            end = data[tar.offset :]
    except StopIteration:
        raise DamagedShard("a tar whose last sample lacks members") from None
    except (
        tarfile.TarError,
        EOFError,
        json.JSONDecodeError,
        UnicodeDecodeError,
    ) as error:
        raise DamagedShard(f"not a whole tar shard ({error})") from None
    # tarfile takes a tar that was cut between two members, or a bad header, for the end.
    if len(end) < 2 * tarfile.BLOCKSIZE or any(end):
        raise DamagedShard("a tar without its end: cut off, or a member's header is damaged")


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in tar:
        file = tar.extractfile(member) if member.isreg() else None
        if file is None:
            raise DamagedShard(f"{member.name} is not a regular file")
        content = file.read()
        if len(content) != member.size:
            raise DamagedShard(f"{member.name} is cut off")
        yield member.name, content


def decode(data: bytes) -> list[Sample]:
    """All samples in order. Raises DamagedShard as `iterate` does."""
    return list(iterate(data))
