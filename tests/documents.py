"""What tests ask of the documents: blocks of code, and folders such as those that they name."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from factory.data.toy import faces
from tests.drawings import draw_many

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of code of a page in a language; those of a shell have none."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", page.read_text(), re.M | re.S)
    return [
        re.sub(rf"^{indent}", "", code, flags=re.M) for indent, of, code in found if of == language
    ]


def commands(block: str, start: str = "") -> Iterator[list[str]]:
    """The words of each command of a block that starts so; lines that go on are joined."""
    for line in block.replace("\\\n", " ").splitlines():
        if line.strip() and line.startswith(start):
            yield shlex.split(line, comments=True)


def save_pairs(folder: Path, num: int, size: int, seed: int = 2) -> None:
    """Drawn faces as people have labelled images: images/, masks/ and classes.json."""
    for part, pictures in zip(("images", "masks"), draw_many(seed, num, size), strict=True):
        (folder / part).mkdir(parents=True)
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / part / f"{i}.png")
    (folder / "classes.json").write_text(json.dumps(faces.CLASSES))
