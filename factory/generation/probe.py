"""Holds the hardware of a process against what a dataset was begun with, before it makes a shard.

Names of processors and versions tell what differs, but not whether that changes a bit of a shard.
So a batch is made and its bytes are compared with those that the dataset's first process had.
"""

import hashlib
import socket
from dataclasses import dataclass

import torch

from factory.differences import differences
from factory.errors import UnlikeHardware, shown
from factory.generation.hardware import made_with
from factory.generation.synthesizer import Synthesizer
from factory.shards.layout import HARDWARE
from factory.shards.ledger import Ledger
from factory.shards.plan import Plan
from factory.shards.receipts import Hardware

_WAYS_OUT = (
    "Use hardware and versions as there, or start a dataset at another --out. To mix them, --set "
    "generate.allow_unlike_hardware=true: receipts tell what each shard was made with, and only "
    "the like can repair it."
)


@dataclass(frozen=True)
class Joined:
    """What a process makes shards with."""

    made_with: dict[str, str]
    difference: str
    """What of it is not as the dataset was begun with; empty where nothing is."""


def probe(synthesizer: Synthesizer, plan: Plan) -> str:
    """sha256 of a batch as it goes into shards, and of its numbers before they are rounded."""
    x_0, samples = synthesizer.probe()
    digest = hashlib.sha256(x_0.numpy().tobytes())
    digest.update(plan.encode(samples) if samples else b"")
    return digest.hexdigest()


def join(ledger: Ledger, synthesizer: Synthesizer, allow_unlike: bool) -> Joined:
    """What this process makes shards with, which is like what the dataset was begun with.

    The first to come decides that, create-only. Raises UnlikeHardware where the bytes of a probe
    differ, or where what the first one had is lost and receipts tell of something else, unless
    allow_unlike; UserError where the ledger is damaged; OSError from the storage.
    """
    mine = Hardware(
        probe=probe(synthesizer, ledger.plan),
        made_with=made_with(synthesizer.device.type, torch.get_num_threads()),
        host=socket.gethostname(),
    )
    unproven = _unproven(ledger, mine)
    if unproven and not allow_unlike:
        raise UnlikeHardware(f"{ledger.url}: {unproven}. {_WAYS_OUT}")
    first = ledger.claim_hardware(mine)
    if first.probe != mine.probe and not allow_unlike:
        raise UnlikeHardware(_refusal(ledger.url, first, mine))
    return Joined(mine.made_with, unproven or _difference(first, mine))


def _unproven(ledger: Ledger, mine: Hardware) -> str:
    """Why nothing tells whether shards of this process fit the published ones; empty where the
    dataset's first process tells it, and where they were made with the same by name."""
    before = ledger.unproven_hardware()
    if before is None or before == mine.made_with:
        return ""
    return (
        f"{HARDWARE} is lost, and shards were made with other hardware or versions than "
        f"{mine.host} has, which may give other bytes: "
        f"{'; '.join(differences(before, mine.made_with))}"
    )


def _difference(first: Hardware, mine: Hardware) -> str:
    if first.probe == mine.probe and first.made_with == mine.made_with:
        return ""
    bytes_are = "the same" if first.probe == mine.probe else "other"
    return (
        f"hardware or versions are not as on {shown(first.host)}, which began the dataset, "
        f"{bytes_are} bytes come out: {_told(first, mine)}"
    )


def _refusal(url: str, first: Hardware, mine: Hardware) -> str:
    return (
        f"{url}: {mine.host} rounds otherwise than {shown(first.host)}, which began the dataset: "
        f"its shards would hold other bytes ({_told(first, mine)}). {_WAYS_OUT}"
    )


def _told(first: Hardware, mine: Hardware) -> str:
    return "; ".join(differences(first.made_with, mine.made_with)) or "the same by name"
