"""The source `kind: parquet`: images, and perhaps masks, in the rows of Parquet files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from factory.classes import IGNORE_ID
from factory.data.classes.class_forms import Ignored
from factory.data.files import listing
from factory.data.sections import FileSection, HasMasks, LabelledSection
from factory.errors import Problems, UserError, counted, some
from factory.values import Url

if TYPE_CHECKING:
    import pyarrow as pa

    from factory.data.classes.class_rules import ClassRules
    from factory.data.items import Found, Item
    from factory.data.sharded.parquet_files import FileFacts
    from factory.data.sharded.parquet_schema import Columns
    from factory.data.sharded.shard_files import ShardFiles

_IGNORED = Ignored(ids=(IGNORE_ID,))
"""In masks that `factory generate` wrote, 255 is ignored whatever else is there."""


class ParquetSource(LabelledSection, FileSection):
    """Images, and perhaps masks, in the rows of Parquet files: datasets that `factory generate`
    wrote, and those of the Hugging Face Hub."""

    purpose: ClassVar[str] = "rows of Parquet files"
    has_masks: ClassVar[HasMasks] = "perhaps"
    brings_classes: ClassVar[bool] = True

    kind: Literal["parquet"] = "parquet"
    """The kind of source."""
    url: Url = Field(description="the folder of the .parquet files, or one of them")
    """The folder of the `.parquet` files, one of them, several (`train-{00000..00003}.parquet`), or
    a dataset of the Hugging Face Hub (`hf://datasets/owner/name`)."""
    split: str | None = None
    """Read only the files of this split, which their names or folders begin with: `train`,
    `validation`, `test`. Needed where there are files of several."""
    image_column: str | None = None
    """The column of the images; found by name and type if absent."""
    mask_column: str | None = None
    """The column of the masks; found by name and type if absent."""
    unpaired: Literal["refuse", "skip"] = "refuse"
    """What to do with rows whose image is empty, or whose mask where masks are asked for: skip
    leaves them out and reports them."""

    def find(self, labelled: bool, problems: Problems) -> "Found":
        """The rows, in the order of the files. See `factory.data.items.Source`."""
        from factory.data.items import Found
        from factory.data.sharded import parquet_files, parquet_rows, shard_files

        rules = self.read_rules(problems) if labelled else None
        shards = shard_files.find(self.url, ".parquet", self.split, problems)
        if shards is None:
            return Found(rules=rules)
        files = self._looked(shards, problems)
        columns = self._columns(shards, files, labelled, problems)
        if columns is None:
            return Found(rules=rules)
        if labelled and not self.names_classes:
            rules = self._own_rules(shards, files[0].schema, columns, problems)
        beside = any(file.may_lack_bytes or file.paths & {*columns.names} for file in files)
        rows = parquet_rows.Rows(shards.tree, columns, beside)
        names = parquet_files.row_names(shards.names, files)
        places = [
            (file, i)
            for file, about in zip(shards.names, files, strict=True)
            for i in range(about.num_rows)
        ]
        lacking = self._lacking(shards, columns, problems) if self.unpaired == "skip" else set()
        chosen, left_out = self.chosen_but(lacking, names, shards.tree, problems)
        notes = (
            f"{self.url}: {counted(len(left_out), 'row')} without an image"
            f"{' or a mask' if labelled else ''}: {some(left_out)}. They are left out.",
        )
        items = [parquet_rows.Row(names[i], rows, *places[i], self.reading) for i in chosen]
        return self.found(items, notes if left_out else (), problems, rules)

    def may_read(self, name: str) -> bool:
        """See `FileSection`."""
        return name.lower().endswith(".parquet")

    def _lacking(self, shards: "ShardFiles", columns: "Columns", problems: Problems) -> set[int]:
        """The numbers of rows, over all files, of which a cell is empty."""
        import numpy as np

        from factory.data.sharded import parquet_files

        found = []
        for name in shards.names:
            try:
                with problems.collected():
                    empty = [
                        parquet_files.empty_cells(shards.tree, name, column)
                        for column in columns.names
                    ]
                    found.append(np.any(empty, axis=0))
            except OSError as error:
                problems.add(listing.cannot_read(shards.tree.url_of(name), error))
        return set(np.flatnonzero(np.concatenate(found)).tolist()) if found else set()

    def versions(self, items: Sequence["Item"]) -> list[str]:
        """Size and time of each row's file, and of all pictures beside it if its cells may name
        some. Raises OSError."""
        from factory.data.sharded import parquet_rows

        return parquet_rows.versions(items)

    def _looked(self, shards: "ShardFiles", problems: Problems) -> list["FileFacts"]:
        """What is known of all files; nothing after a problem with any."""
        from factory.data.files.looking import looked
        from factory.data.sharded import parquet_files

        found = looked(parquet_files.look, shards.tree, shards.names, problems)
        return [] if None in found else [file for file in found if file is not None]

    def _columns(
        self,
        shards: "ShardFiles",
        files: Sequence["FileFacts"],
        labelled: bool,
        problems: Problems,
    ) -> "Columns | None":
        """The columns to read, which all files have; None after a problem."""
        from factory.data.sharded import parquet_schema

        found, before = None, len(problems.found)
        for name, file in zip(shards.names, files, strict=False):
            with problems.collected():
                columns = parquet_schema.find_columns(
                    file.schema,
                    found.image if found else self.image_column,
                    found.mask if found else self.mask_column,
                    labelled,
                    shards.tree.url_of(name),
                    file.paths,
                )
                found = found or columns
        if found is None or len(problems.found) > before:
            return None
        if not any(file.num_rows for file in files):
            problems.add(f"{self.url}: {counted(len(files), 'file')} without a row. Name another.")
            return None
        return found

    def _own_rules(
        self,
        shards: "ShardFiles",
        schema: "pa.Schema",
        columns: "Columns",
        problems: Problems,
    ) -> "ClassRules | None":
        """The classes that the files name; that they name none is a problem."""
        from factory.data.classes import class_forms
        from factory.data.sharded import parquet_schema

        assert columns.mask is not None
        url = shards.tree.url_of(shards.names[0])
        with problems.collected():
            form = parquet_schema.named_classes(schema, columns.mask)
            if form is not None:
                ignored = _IGNORED if parquet_schema.is_ours(schema) else None
                return self.of_kind(class_forms.parse_rules(form, url, self.ignore or ignored), url)
            beside = [name for name in shards.tree.names() if name.endswith("id2label.json")]
            hint = f" {some(list(map(shards.tree.url_of, beside)))} may be one." if beside else ""
            raise UserError(
                f"{url}: names no classes of the column {columns.mask}. Set `classes_url:` to a "
                f"file of their names, or `classes:` to the names.{hint}"
            )
        return None
