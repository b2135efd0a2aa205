"""The source `kind: webdataset`: images, and perhaps masks, in tars."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from factory import storage
from factory.classes import IGNORE_ID
from factory.data.classes import class_files
from factory.data.classes.class_forms import Ignored
from factory.data.files import listing
from factory.data.sections import FileSection, HasMasks, LabelledSection
from factory.errors import Problems, counted, some
from factory.values import Url

if TYPE_CHECKING:
    from factory.data.classes.class_rules import ClassRules
    from factory.data.items import Found, Item
    from factory.data.sharded.shard_files import ShardFiles
    from factory.data.sharded.tar_endings import Endings
    from factory.data.sharded.tar_samples import TarIndex, TarSample


class WebdatasetSource(LabelledSection, FileSection):
    """Images, and perhaps masks, in tars, where files of one name but for the ending belong
    together: `0001.jpg` and `0001.seg.png`. They are read in place."""

    purpose: ClassVar[str] = "tars of images"
    has_masks: ClassVar[HasMasks] = "perhaps"
    brings_classes: ClassVar[bool] = True

    kind: Literal["webdataset"] = "webdataset"
    """The kind of source."""
    url: Url = Field(description="the folder of the .tar files, or one of them")
    """The folder of the `.tar` files, one of them, or several (`train-{00000..00009}.tar`)."""
    split: str | None = None
    """Read only the files of this split, which their names or folders begin with: `train`,
    `validation`, `test`. Needed where there are files of several."""
    image_ending: str | tuple[str, ...] | None = None
    """The ending of the images' names, from their first dot on, such as `jpg`, or several (`[jpg,
    png]`), of which the first that a sample has is its image; found if absent."""
    mask_ending: str | tuple[str, ...] | None = None
    """The ending of the masks' names, from their first dot on, such as `seg.png`, or several; found
    if absent."""
    unpaired: Literal["refuse", "skip"] = "refuse"
    """What to do with samples that have an image or a mask alone, where masks are asked for: skip
    leaves them out and reports them."""

    def find(self, labelled: bool, problems: Problems) -> "Found":
        """The samples, in the order of the files. See `factory.data.items.Source`."""
        from factory.data.items import Found
        from factory.data.sharded import shard_files

        rules = self.read_rules(problems) if labelled else None
        shards = shard_files.find(self.url, ".tar", self.split, problems)
        if shards is None:
            return Found(rules=rules)
        if labelled and not self.names_classes:
            rules = self._own_rules(shards, problems)
        tars = self._indexed(shards, problems)
        if self._has_other_masks(tars, problems):
            return Found(rules=rules)
        endings = self._endings(tars, labelled, problems) if tars else None
        items, notes = self._items(shards, tars, endings, problems) if endings else ([], ())
        if endings and self.names_url is None:
            notes += self._unused(tars, endings) + self._not_plain(tars)
        return self.found(items, notes, problems, rules)

    def may_read(self, name: str) -> bool:
        """See `FileSection`."""
        return name.lower().endswith(".tar")

    def _unused(self, tars: Sequence["TarIndex"], endings: "Endings") -> tuple[str, ...]:
        """A sentence on samples that are left out as their pictures end otherwise."""
        from factory.data.sharded import tar_samples

        if not (left := tar_samples.unused(tars, endings)):
            return ()
        listed = some([f"{num:,} .{ending}" for ending, num in left.most_common()], 12)
        return (
            f"{self.url}: only {_ends(endings.image)} is read. Samples without one are not used, "
            f"which hold {listed}. Name all endings of images in `image_ending:`, such as "
            "`[jpg, png]`.",
        )

    def _not_plain(self, tars: Sequence["TarIndex"]) -> tuple[str, ...]:
        """A sentence on members that are no files of their own, and so are not read."""
        if not (names := [name for tar in tars for name in tar.not_plain]):
            return ()
        return (
            f"{self.url}: {counted(len(names), 'member')} of tars not read, as links and files "
            f"with holes are: {some(names)}. To use them, pack the files themselves, as by `tar "
            "--dereference --hard-dereference`.",
        )

    def versions(self, items: Sequence["Item"]) -> list[str]:
        """Size and time of each sample's tar, and the place in it. Raises OSError."""
        from factory.data.sharded import tar_samples

        return tar_samples.versions(items)

    def _own_rules(self, shards: "ShardFiles", problems: Problems) -> "ClassRules | None":
        """The classes of a dataset that `factory generate` wrote; of others nothing tells them,
        which is a problem."""
        if shards.classes is None:
            problems.add(
                f"{self.url}: tars name no classes. Set `classes_url:` to a file of their names, "
                "or `classes:` to the names."
            )
            return None
        url = shards.tree.url_of(shards.classes)
        try:
            with problems.collected():
                ignored = self.ignore or Ignored(ids=(IGNORE_ID,))
                return self.of_kind(
                    class_files.read_rules(storage.read_text(url), url, ignored), url
                )
        except UnicodeDecodeError:
            problems.add(f"{url}: is no text in UTF-8. Restore it, or set `classes:`.")
        except OSError as error:
            problems.add(listing.cannot_read(url, error))
        return None

    def _indexed(self, shards: "ShardFiles", problems: Problems) -> list["TarIndex"]:
        """What lies in the tars; nothing after a problem with any."""
        from factory.data.files.looking import looked
        from factory.data.sharded import tar_samples

        found = looked(tar_samples.index, shards.tree, shards.names, problems)
        return [] if None in found else [tar for tar in found if tar is not None]

    def _has_other_masks(self, tars: Sequence["TarIndex"], problems: Problems) -> bool:
        """True after a problem: masks that folders or words tell from images, and not endings."""
        from factory.data.sharded import tar_samples

        told = ""
        if folders := tar_samples.folders_of_masks(tars):
            holds = "holds" if len(folders) == 1 else "hold"
            told = f"{some(folders)} {holds} masks of the images in other folders"
        elif self.names_url is None and (keys := tar_samples.keys_of_masks(tars)):
            are = "is a mask" if len(keys) == 1 else "are masks"
            told = f"{some(keys)} {are} of images that are called alike"
        if told:
            problems.add(
                f"{self.url}: by the names, {told}, but in tars only the endings of a sample's "
                "files tell masks from images. Unpack them (`tar xf`) or pack them as a .zip, and "
                "name that with kind: pairs."
            )
        return bool(told)

    def _endings(
        self, tars: Sequence["TarIndex"], labelled: bool, problems: Problems
    ) -> "Endings | None":
        """The endings of images and masks; None after a problem."""
        from factory.data.sharded import tar_endings

        forms = sum((tar.forms for tar in tars), Counter[tuple[str, ...]]())
        with problems.collected():
            return tar_endings.find_endings(
                forms, _several(self.image_ending), _several(self.mask_ending), labelled, self.url
            )
        return None

    def _items(
        self,
        shards: "ShardFiles",
        tars: Sequence["TarIndex"],
        endings: "Endings",
        problems: Problems,
    ) -> "tuple[list[TarSample], tuple[str, ...]]":
        """The samples to use, and notes on those that are left out; that one has no partner is a
        problem where it is not to be left out."""
        from factory.data.sharded import tar_samples
        from factory.data.sharded.tar_files import TarFiles

        samples = tar_samples.samples(tars, TarFiles(shards.tree), endings, self.reading)
        names = [sample.name for sample in samples]
        if endings.mask is None:
            return [samples[i] for i in self.chosen(names, shards.tree, problems)], ()
        without = {i for i, sample in enumerate(samples) if sample.mask_member is None}
        left_out = without if self.unpaired == "skip" else set()
        chosen, lacking = self.chosen_but(left_out, names, shards.tree, problems)
        lacking += [names[i] for i in chosen if i in without]
        stray = tar_samples.stray(tars, endings) if self.names_url is None else []
        items = [samples[i] for i in chosen if i not in without]
        return items, self._without_partner(endings, lacking, stray, problems)

    def _without_partner(
        self,
        endings: "Endings",
        lacking: Sequence[str],
        stray: Sequence[str],
        problems: Problems,
    ) -> tuple[str, ...]:
        """Notes on images without a mask, and on masks without an image; both are problems unless
        they are to be left out."""
        told = [
            f"{self.url}: {counted(len(names), part)} without {other} {_ends(ends)}: {some(names)}."
            for names, part, other, ends in (
                (lacking, "image", "a mask", endings.mask or ()),
                (stray, "mask", "an image", endings.image),
            )
            if names
        ]
        if self.unpaired == "skip":
            return tuple(f"{line} They are left out." for line in told)
        for line in told:
            problems.add(
                f"{line} Pack what is missing, leave them out with `unpaired: skip`, or list the "
                "images to use in names_url."
            )
        return ()


def _several(ending: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The endings that are named; None if there is none."""
    return (ending,) if isinstance(ending, str) else ending or None


def _ends(endings: Sequence[str]) -> str:
    """Endings in messages."""
    return " or ".join(f".{ending}" for ending in endings)
