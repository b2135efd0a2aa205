"""The manifest, which sums up a finished dataset, and the files that follow from it."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from factory.shards.canonical import canonical
from factory.shards.card import dataset_card
from factory.shards.layout import (
    CARD,
    CONFIG,
    ENVIRONMENT,
    HARDWARE,
    ID_TO_LABEL,
    LABEL_TO_ID,
    PALETTE,
    SCORES,
    plan_files,
    receipt_name,
    to_json,
)
from factory.shards.plan import Plan
from factory.shards.receipts import (
    Receipt,
    Written,
    closest_of,
    fits,
    kinds,
    left_out,
    score_of,
    sizes_of_splits,
)


class Manifest(Written, frozen=True):
    """The whole dataset on one page: every other file of the ledger follows from it."""

    run_id: str
    rows: int
    bytes: int
    root: str
    """The sha256 over the receipts' content: equal roots, equal datasets."""
    plan: Plan
    config_yaml: str
    """The text of `_factory/config.yaml`."""
    env_json: str
    """The text of `_factory/env.json`."""
    hardware_json: str | None = None
    """The text of `_factory/hardware.json`; None if older code made the dataset."""
    files: dict[str, str]
    """The sha256 of every other file except shards and receipts, by name."""
    receipts: list[Receipt]

    @property
    def agrees_with_itself(self) -> bool:
        """True if its sums, its paths and the hashes of its texts are those of its own parts."""
        plan, receipts = self.plan, self.receipts
        return (
            self.root == root_of(receipts)
            and self.run_id == plan.run_id
            and self.rows == sum(receipt.rows for receipt in receipts) == plan.num
            and self.bytes == sum(receipt.num_bytes for receipt in receipts)
            and [receipt.paths for receipt in receipts] == [spec.paths for spec in plan.shards()]
            and all(self.files.get(name) == sha256(text) for name, text in _texts(self).items())
        )

    def holds(self, run_id: str) -> bool:
        """True if the manifest is of this run and has the receipts of its plan and no others."""
        plan, receipts = self.plan, self.receipts
        return (
            self.root == root_of(receipts)
            and plan.run_id == run_id
            and [receipt.shard for receipt in receipts] == list(range(plan.num_shards))
            and all(fits(receipt, plan) for receipt in receipts)
        )


def receipt_content(receipt: Receipt) -> bytes:
    """The content of a receipt's file."""
    return to_json(receipt.model_dump(mode="json"))


def manifest_content(manifest: Manifest) -> bytes:
    """The content of the manifest's file."""
    return to_json(manifest.model_dump(mode="json"))


def success_content(manifest: Manifest, content: bytes) -> bytes:
    """The content of `_SUCCESS` beside a manifest's file of this content."""
    return to_json(
        {
            "run_id": manifest.run_id,
            "rows": manifest.rows,
            "root": manifest.root,
            "manifest_sha256": sha256(content),
        }
    )


def known_files(manifest: Manifest) -> dict[str, bytes]:
    """The files that a manifest holds word for word, by name: plan, config, environment, hardware,
    and all receipts."""
    receipts = {receipt_name(each.shard): receipt_content(each) for each in manifest.receipts}
    return {**_texts(manifest), **receipts}


def _texts(manifest: Manifest) -> dict[str, bytes]:
    texts = {CONFIG: manifest.config_yaml, ENVIRONMENT: manifest.env_json}
    if manifest.hardware_json is not None:
        texts[HARDWARE] = manifest.hardware_json
    return {**plan_files(manifest.plan), **{name: text.encode() for name, text in texts.items()}}


def root_of(receipts: Sequence[Receipt]) -> str:
    """One hash over the content of the receipts, in order of their shards."""
    lines = "\n".join(canonical(receipt.content) for receipt in receipts)
    return sha256(lines.encode())


def sha256(content: bytes) -> str:
    """The sha256 as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def make_manifest(
    plan: Plan,
    receipts: Sequence[Receipt],
    texts: Mapping[str, str],
    descriptions: Mapping[str, bytes],
    hashes: Mapping[str, str],
) -> Manifest:
    """The manifest of a complete dataset.

    receipts: one a shard, in order. texts: CONFIG and ENVIRONMENT, and HARDWARE where there is one.
    descriptions: as `describe` returns them. hashes: the sha256 of other files, by name.
    """
    written = {name: text.encode() for name, text in texts.items()}
    files = {**plan_files(plan), **written, **descriptions}
    manifest = Manifest(
        run_id=plan.run_id,
        rows=sum(receipt.rows for receipt in receipts),
        bytes=sum(receipt.num_bytes for receipt in receipts),
        root=root_of(receipts),
        plan=plan,
        config_yaml=texts[CONFIG],
        env_json=texts[ENVIRONMENT],
        hardware_json=texts.get(HARDWARE),
        files={**{name: sha256(content) for name, content in files.items()}, **hashes},
        receipts=list(receipts),
    )
    assert manifest.rows == plan.num, (manifest.rows, plan.num)
    return manifest


def describe(
    plan: Plan, receipts: Sequence[Receipt], description: str, license: str
) -> dict[str, bytes]:
    """The files for people and other programs, by name: the card, the classes, their colours."""
    labels = plan.classes.id2label
    facts = {"num": str(plan.num), **plan.run, "made with": "; ".join(kinds(receipts))}
    if closest := closest_of(receipts):
        facts["nearest to a training image"] = (
            f"{closest[0].distance:.2f} of what is usual between two of these ({closest[0].key})"
        )
    if words := left_out(receipts):
        facts["drawn and left out"] = words
    scores: dict[str, bytes] = {}
    if (score := score_of(receipts)) is not None:
        facts |= {
            "mean IoU": f"{score.mean_iou:.4f}",
            "pixel accuracy": f"{score.pixel_accuracy:.4f}",
        }
        counts = {"num_images": plan.num, "num_pixels": score.num_pixels}
        scores[SCORES] = to_json({**counts, **score.as_json(plan.classes)})
    return {
        **scores,
        ID_TO_LABEL: to_json(labels),
        LABEL_TO_ID: to_json({label: int(i) for i, label in labels.items()}),
        PALETTE: to_json(plan.palette),
        CARD: dataset_card(
            plan.classes,
            plan.num,
            license,
            description,
            facts,
            plan.columns,
            plan.is_drawn,
            _command(plan),
            sizes_of_splits(plan, receipts),
            plan.has_metadata,
        ).encode(),
    }


def _command(plan: Plan) -> str:
    """The command that makes the pairs again, in the folder of the dataset.

    What was chosen by the hardware is named, so that others choose the same.
    """
    chosen = {"batch_size": "batch_size", "precision": "precision", "compile": "compiled"}
    settings = " ".join(
        f"--set {plan.command}.{key}={json.dumps(plan.recipe[name])}".replace('"', "")
        for key, name in chosen.items()
        if name in plan.recipe
    )
    num = f" --num {plan.num}" if plan.command == "generate" else ""
    return f"factory {plan.command} --config {CONFIG} --out ANOTHER_FOLDER{num} {settings}".rstrip()
