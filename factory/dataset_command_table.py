"""The rows of the table of commands that take a dataset and no config."""

from typing import Any

from factory import commands, dataset_commands
from factory.command import Command, Options


def _option(about: str) -> dict[str, Any]:
    """A flag without a value that is not of a config."""
    return {"action": "store_const", "const": True, "help": about}


_DATASET: Options = {"url": {"help": "the dataset's folder or URL"}}
_LEVEL: Options = {
    "--level": {
        "choices": ("size", "hash", "decode"),
        "default": "hash",
        "help": "how closely shards are looked at",
    }
}
DATASET_COMMANDS = [
    Command(
        "report",
        "write report/index.html into a finished dataset",
        commands.report,
        {
            **_DATASET,
            "--num": {"default": "64", "help": "samples shown"},
            "--config": {
                "metavar": "FILE",
                "help": "compare with the unlabelled and labelled images of this config, and show "
                "what its probe, curve and evaluation found",
            },
        },
    ),
    Command(
        "export",
        "write a finished dataset as another tool reads it: folders, COCO, YOLO and others",
        commands.export,
        {
            **_DATASET,
            "--to": {
                "required": True,
                "metavar": "FORMAT",
                "help": "folder, imagefolder, coco, yolo, voc, cityscapes, parquet, webdataset "
                "or hub",
            },
            "--out": {"required": True, "metavar": "URL", "help": "an empty folder or URL"},
            "--val": {"metavar": "SHARE", "help": "the share for validation, by the pairs' keys"},
            "--keep": {"metavar": "SHARE", "help": "the share that is exported, by certainty"},
            "--min-expected-iou": {
                "metavar": "IOU",
                "help": "only masks of which this IoU is expected at least, such as 0.8",
            },
            "--split": {"metavar": "SPLIT", "help": "train or validation: that split alone"},
            "--polygons": _option("coco: polygons instead of runs of pixels"),
            "--instances": _option("coco: each connected region is an object of its own"),
            "--background": _option("coco, yolo: class 0 is a category, too, if it is background"),
            "--jpeg": _option("voc: images as JPEG, which loses detail, instead of PNG"),
            "--mask-column": {
                "metavar": "NAME",
                "help": "imagefolder, parquet, webdataset, hub: mask, label or annotation",
            },
            "--samples-per-shard": {
                "metavar": "NUM",
                "help": "parquet, webdataset, hub: pairs a file, instead of those of a shard",
            },
            "--shard-megabytes": {
                "metavar": "MB",
                "help": "parquet, webdataset, hub: what a file has at most, in 10^6 bytes",
            },
        },
    ),
    Command("status", "tell how far a dataset has come", dataset_commands.status, _DATASET),
    Command(
        "verify",
        "prove a dataset whole, or name every file that is not as it was written",
        dataset_commands.verify,
        {**_DATASET, **_LEVEL},
    ),
    Command(
        "repair",
        "make exactly the bad or missing files of a dataset again, byte for byte",
        dataset_commands.repair,
        {
            **_DATASET,
            **_LEVEL,
            "--config": {"metavar": "FILE", "help": "absent: the dataset's own config"},
            "--set": {
                "action": "append",
                "default": [],
                "metavar": "A.B=C",
                "help": "override a config key",
            },
        },
    ),
    Command(
        "gc",
        "delete what killed processes left behind, but no data",
        dataset_commands.gc,
        {**_DATASET, "--dry-run": {"action": "store_true", "help": "list, delete nothing"}},
    ),
]
