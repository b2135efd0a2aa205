"""Names of files for images, whose names in their sources may have folders and any ending."""

from factory.suggesting.returned import stem_of


class Stems:
    """Names without endings, all of them different whatever their case, as some systems compare
    them."""

    def __init__(self) -> None:
        self._taken = set[str]()

    def new(self, name: str) -> str:
        """A name for the file of an image of this name in its source."""
        folders, _, file = name.rpartition("/")
        wanted = f"{folders}/{stem_of(file) or file}".strip("/").replace("/", "_")
        found, number = wanted, 1
        while found.lower() in self._taken:
            number += 1
            found = f"{wanted}-{number}"
        self._taken.add(found.lower())
        return found
