"""`hub`: the layout of `parquet` with a card, pushed to a dataset of the Hugging Face Hub."""

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from factory.classes import css_color
from factory.exporting.format import HUB_SPLITS, Summary
from factory.exporting.formats.parquet import ParquetFormat
from factory.shards import card
from factory.shards.layout import CARD


class HubFormat(ParquetFormat):
    """As `parquet`, and README.md with what the Hub reads: licence, task, splits, features."""

    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """See `Format`."""
        yield from super().last_files(summary)
        yield CARD, [self._card(summary).encode()]

    def _card(self, summary: Summary) -> str:
        classes = self.source.classes
        return card.TEMPLATES.get_template("export_card.md.j2").render(
            front=yaml.safe_dump(self._front(summary), sort_keys=False, allow_unicode=True),
            num={HUB_SPLITS[split]: num for split, num in summary.num.items()},
            columns=card.meanings(self.source.columns),
            is_drawn=self.source.manifest.plan.is_drawn,
            mask_column=self.source.mask_column,
            classes=[
                (name, css_color(color))
                for name, color in zip(classes.names, classes.palette, strict=True)
            ],
            run=self.source.manifest.plan.run,
            proof=self.source.proof,
        )

    def _front(self, summary: Summary) -> dict[str, Any]:
        """The front matter of the card, from which the Hub and `datasets` know the files."""
        is_drawn = self.source.manifest.plan.is_drawn
        num = sum(summary.num.values())
        # Without the bytes `datasets` would pass over the numbers, and not count what it loads.
        splits = [
            {"name": HUB_SPLITS[split], "num_bytes": summary.num_bytes[split], "num_examples": more}
            for split, more in summary.num.items()
            if more
        ]
        num_bytes = sum(summary.num_bytes.values())
        features = card.features(self.source.classes, self.source.columns)
        return {
            "license": self._license(),
            "pretty_name": "Synthetic image/mask pairs" if is_drawn else "Predicted masks",
            "task_categories": ["image-segmentation"],
            "task_ids": ["semantic-segmentation"],
            "annotations_creators": ["machine-generated"],
            "source_datasets": ["original"],
            **({"tags": ["synthetic"]} if is_drawn else {}),
            "size_categories": [card.size_category(num)],
            "configs": [
                {
                    "config_name": "default",
                    "data_files": [
                        {"split": each["name"], "path": f"data/{each['name']}-*.parquet"}
                        for each in splits
                    ],
                }
            ],
            "dataset_info": {
                "features": features,
                "splits": splits,
                "download_size": num_bytes,
                "dataset_size": num_bytes,
            },
        }

    def _license(self) -> str:
        """The licence that the dataset was made under."""
        config = yaml.safe_load(self.source.manifest.config_yaml)
        command = self.source.manifest.plan.command
        section = config.get(command) if isinstance(config, dict) else None
        found = section.get("license") if isinstance(section, dict) else None
        return found if isinstance(found, str) else "other"
