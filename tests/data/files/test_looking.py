"""Claims about factory.data.files.looking."""

import time
from pathlib import Path

from factory.data.files import trees
from factory.data.files.looking import looked
from factory.data.files.trees import Tree
from factory.errors import Problems, UnreadableImage, UserError


def test_problems_come_in_the_order_of_the_files_whichever_thread_is_first(tmp_path: Path) -> None:
    names = [f"{i:03d}" for i in range(200)]
    errors = [UserError("a: b"), UnreadableImage("is bad"), OSError(5, "broken"), None]

    def look(tree: Tree, name: str) -> str:
        time.sleep((199 - int(name)) % 7 / 1000)
        if error := errors[int(name) % len(errors)]:
            raise error
        return name

    tree, problems = trees.open_tree(str(tmp_path)), Problems()
    found = looked(look, tree, names, problems)
    assert found == [name if int(name) % 4 == 3 else None for name in names]
    few = [
        f"{tmp_path}/000: a: b",
        f"{tmp_path}/001: is bad",
        f"{tmp_path}/002: cannot be read (broken).",
    ]
    assert [told.startswith(few[i % 3]) for i, told in enumerate(problems.found[:3])] == [True] * 3
    of_images = [told for told in problems.found if told.endswith(": is bad")]
    assert of_images == sorted(of_images) and len(problems.found) == 150
