"""Compares a process's hardware with what a dataset was begun with, before it makes a shard.

Names of processors and versions tell what differs, but not whether that changes a bit of a shard.
So a batch is made and its bytes are compared with those that the dataset's first process had.
"""

import hashlib
import socket
from dataclasses import dataclass

import torch

from factory.differences import differences
from factory.errors import UnlikeHardware, shown
from factory.generation.frozen_models import BatchMaker
from factory.generation.hardware import made_with
from factory.shards.layout import HARDWARE
from factory.shards.ledger import Ledger
from factory.shards.plan import Plan
from factory.shards.receipts import Hardware

_WAYS_OUT = (
    "Use hardware and versions as there, or start a dataset at another --out. To mix them, --set "
    "{}.allow_unlike_hardware=true: receipts tell what each shard was made with, and only "
    "the like can repair it."
)


@dataclass(frozen=True)
class Joined:
    """The hardware and library versions that a process makes shards with."""

    made_with: dict[str, str]
    difference: str
    """The difference from what the dataset was begun with; empty if there is none."""


def probe(batch_maker: BatchMaker, plan: Plan) -> str:
    """Returns the sha256 of a batch as it goes into shards, and of its numbers before rounding."""
    numbers, samples = batch_maker.probe()
    digest = hashlib.sha256(numbers.numpy().tobytes())
    digest.update(plan.encode(samples) if samples else b"")
    return digest.hexdigest()


def join(ledger: Ledger, batch_maker: BatchMaker, allow_unlike: bool) -> Joined:
    """Returns what this process makes shards with, if it is like what the dataset was begun with.

    The first process to join decides that, create-only. Raises UnlikeHardware if the bytes of a
    probe differ, or if what the first one had is lost and receipts tell of something else, unless
    allow_unlike; UserError if the ledger is damaged; OSError from the storage.
    """
    mine = Hardware(
        probe=probe(batch_maker, ledger.plan),
        made_with=made_with(batch_maker.device.type, torch.get_num_threads()),
        host=socket.gethostname(),
    )
    unknown = _unknown(ledger, mine)
    if unknown and not allow_unlike:
        raise UnlikeHardware(f"{ledger.url}: {unknown}. {_ways_out(ledger)}")
    first = ledger.claim_hardware(mine)
    if first.probe != mine.probe and not allow_unlike:
        raise UnlikeHardware(_refusal_message(ledger, first, mine))
    return Joined(mine.made_with, unknown or _difference(first, mine))


def _unknown(ledger: Ledger, mine: Hardware) -> str:
    """Returns why it cannot be known whether shards of this process fit the published ones; empty
    if the hardware of the dataset's first process is known, or has the same names."""
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
        f"{bytes_are} bytes come out: {_differences(first, mine)}"
    )


def _ways_out(ledger: Ledger) -> str:
    return _WAYS_OUT.format(ledger.plan.command)


def _refusal_message(ledger: Ledger, first: Hardware, mine: Hardware) -> str:
    return (
        f"{ledger.url}: {mine.host} rounds otherwise than {shown(first.host)}, which began the "
        f"dataset: its shards would hold other bytes ({_differences(first, mine)}). "
        f"{_ways_out(ledger)}"
    )


def _differences(first: Hardware, mine: Hardware) -> str:
    return "; ".join(differences(first.made_with, mine.made_with)) or "the same by name"
