"""The source `kind: labelme`: images, and labelme's JSONs of which their masks are drawn."""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from factory.data.drawn.section import DrawnSection
from factory.data.files import listing
from factory.errors import Problems, counted, some
from factory.values import Url

if TYPE_CHECKING:
    from factory.data.drawn.labelme import JsonFacts
    from factory.data.files.trees import Tree
    from factory.data.items import Found


class LabelmeSource(DrawnSection):
    """Images, and labelme's JSONs, one an image, beside them or in another folder. Shapes are drawn
    as labelme does, later ones on earlier ones."""

    purpose: ClassVar[str] = "labelme's JSONs"

    kind: Literal["labelme"] = "labelme"
    """The kind of source."""
    url: Url = Field(description="the folder of the images and JSONs, or a .zip archive")
    """The folder above the images and the JSONs, or a `.zip` archive of it."""
    unannotated: Literal["refuse", "skip", "background"] = "refuse"
    """What to do with images without a JSON: skip leaves them out, background says that nothing is
    in them."""
    unpaired: Literal["refuse", "skip"] = "refuse"
    """What to do with JSONs whose image is not there, or that may be of several: skip leaves them
    out and reports them."""

    def find(self, labelled: bool, problems: Problems) -> "Found":
        """The images of the JSONs. See `factory.data.items.Source`."""
        from factory.data.items import Found

        tree = listing.open_tree(self.url, problems)
        every = listing.list_folder(tree, "", problems) if tree else None
        if tree is None or every is None:
            return Found()
        jsons = [name for name in every.others if name.lower().endswith(".json")]
        if not labelled:
            # Others have their image beside them.
            stems = {posixpath.splitext(name)[0] for name in every.read}
            jsons = [name for name in jsons if posixpath.splitext(name)[0] not in stems]
        before = len(problems.found)
        found = self._looked(tree, jsons, problems)
        json_of, notes = self._paired(found, every.read, problems)
        if labelled and not found and len(problems.found) == before:
            problems.add(f"{self.url}: holds no JSON of labelme. Name their folder in `url:`.")
        if len(problems.found) > before:
            return Found()
        return self._found(tree, every.read, json_of, labelled, problems, notes)

    def _found(
        self,
        tree: "Tree",
        images: Sequence[str],
        json_of: "Mapping[str, JsonFacts]",
        labelled: bool,
        problems: Problems,
        notes: tuple[str, ...],
    ) -> "Found":
        """The items of images, of those that lie in a JSON too."""
        from factory.data.drawn.items import DrawnItem
        from factory.data.drawn.labelme import EmbeddedItem, LabelmeDrawing
        from factory.data.items import Found

        names = sorted({*images, *json_of})
        if labelled and self.unannotated == "skip":
            names = [name for name in names if name in json_of]
        chosen = [names[i] for i in self.chosen(names, tree, problems)]
        embedded = {name for name, about in json_of.items() if about.path == name}
        kinds = {name: EmbeddedItem if name in embedded else DrawnItem for name in chosen}
        if not labelled:
            items = [kinds[name](name, tree, name, self.reading) for name in chosen]
            return self.found(items, notes, problems)
        lacking = [name for name in chosen if name not in json_of]
        if lacking and self.unannotated == "refuse":
            problems.add(
                f"{self.url}: {counted(len(lacking), 'image')} without a JSON of labelme: "
                f"{some(lacking, 12)}. Leave them out with `unannotated: skip`; if nothing is in "
                "them, set `unannotated: background`."
            )
        abouts = [json_of[name] for name in chosen if name in json_of]
        counts = sum((Counter(about.labels) for about in abouts), Counter[str]())
        labels = self.label_ids(sorted(counts), counts, problems)
        if labels is None:
            return Found()
        drawings = {
            name: LabelmeDrawing(tree, json_of[name].path, labels.id_of)
            if name in json_of
            else LabelmeDrawing(tree, name, None)
            for name in chosen
        }
        items = [kinds[n](n, tree, n, self.reading, drawings[n]) for n in chosen]
        num_thin = sum(about.num_thin for about in abouts)
        thin = f"{counted(num_thin, 'line or point', 'lines and points')} drawn 10 pixels wide"
        notes += (f"{thin}, as labelme draws them.",) if num_thin else ()
        return self.found(items, notes, problems, labels.rules)

    def _looked(self, tree: "Tree", names: Sequence[str], problems: Problems) -> list["JsonFacts"]:
        """What is known of labelme's JSONs."""
        from factory.data.drawn import labelme
        from factory.data.files.looking import looked

        found = looked(labelme.look, tree, names, problems)
        return [facts for facts in found if facts is not None]

    def _paired(
        self,
        jsons: "Sequence[JsonFacts]",
        images: Sequence[str],
        problems: Problems,
    ) -> "tuple[dict[str, JsonFacts], tuple[str, ...]]":
        """Name of an image, or of the JSON that holds it -> its JSON; and notes on JSONs that are
        left out. What has no image, and images of several JSONs, are problems."""
        from factory.data.drawn.named_files import NamedFiles

        files, stems = NamedFiles(images), NamedFiles(posixpath.splitext(n)[0] for n in images)
        with_stem: dict[str, list[str]] = defaultdict(list)
        for name in images:
            with_stem[posixpath.splitext(name)[0]].append(name)
        found: dict[str, JsonFacts] = {}
        missing, twice = [], []
        for about in jsons:
            meant = files.find(about.image_path, posixpath.dirname(about.path))
            if len(meant) != 1:
                same = stems.find(posixpath.splitext(about.path)[0])
                meant = [name for stem in same for name in with_stem[stem]]
            if len(meant) != 1 and about.has_image:
                meant = [about.path]
            if len(meant) != 1:
                missing.append(f"{about.path} ({about.image_path or 'no imagePath'})")
            elif found.setdefault(meant[0], about) is not about:
                twice.append(f"{about.path} and {found[meant[0]].path}")
        told = (
            f"{self.url}: holds no image, or several, for {counted(len(missing), 'JSON')}: "
            f"{some(missing, 12)}."
        )
        skip = self.unpaired == "skip"
        if missing and not skip:
            problems.add(
                f"{told} Put them beside the JSONs, name the folder above both in `url:`, or leave "
                "these out with `unpaired: skip`."
            )
        if twice:
            problems.add(
                f"{self.url}: several JSONs are of one image: {some(twice)}. Keep one of them."
            )
        return found, (f"{told} They are left out.",) if missing and skip else ()
