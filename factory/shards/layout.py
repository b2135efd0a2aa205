"""Names of a dataset's files, relative to its URL, and the content of those that hold its plan."""

import json
from typing import Any

from pydantic import BaseModel

from factory.shards.plan import Plan

LEDGER = "_factory"
RUN = f"{LEDGER}/run.json"
EXTENSIONS = f"{LEDGER}/extensions"
CONFIG = f"{LEDGER}/config.yaml"
ENVIRONMENT = f"{LEDGER}/env.json"
HARDWARE = f"{LEDGER}/hardware.json"
SOURCE = f"{LEDGER}/source.parquet"
"""The images that a dataset of labels is for; see `source_listing`."""
SHARDS = f"{LEDGER}/shards"
"""The folder of the receipts."""
MANIFEST = f"{LEDGER}/manifest.json"
SUCCESS = "_SUCCESS"
CARD = "README.md"
ID_TO_LABEL = "id2label.json"
LABEL_TO_ID = "label2id.json"
PALETTE = "palette.json"
SCORES = "scores.json"
"""How the masks compare to those of the source, of datasets that compare them."""
DESCRIPTIONS = (ID_TO_LABEL, LABEL_TO_ID, PALETTE, CARD)
"""Files for people and other programs; they follow from plan and receipts."""
REPORT = "report/index.html"
PROOF = "report/proof.json"
"""What `factory prove` found of the dataset."""


class Extension(BaseModel, frozen=True, extra="forbid"):
    """The content of a file in EXTENSIONS."""

    num: int
    """Samples in all after this extension."""


def receipt_name(shard: int) -> str:
    """The name of a shard's receipt."""
    return f"{SHARDS}/{shard:05d}.json"


def plan_files(plan: Plan) -> dict[str, bytes]:
    """The files that hold the plan, by name: the first plan and its extensions."""
    nums = [*plan.extended_from, plan.num]
    first = plan.model_copy(update={"num": nums[0], "extended_from": ()})
    files = {RUN: to_json(first.model_dump(mode="json"))}
    for i, num in enumerate(nums[1:], start=1):
        files[f"{EXTENSIONS}/{i:05d}.json"] = to_json(Extension(num=num).model_dump())
    return files


def to_json(content: Any) -> bytes:
    """JSON as the ledger's files hold it: indented, for people to read, too."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
