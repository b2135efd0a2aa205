"""Recipes: configs that ship with the package, each with what it is for in its first line."""

from pathlib import Path

from factory.errors import UserError

FOLDER = Path(__file__).parents[1] / "recipes"
"""The folder of the recipes: in the repository a link to configs/, in an installed package its
own."""


def recipe_file(name: str) -> str:
    """The YAML file of a recipe. Raises UserError, which lists all recipes, if there is none."""
    files = {file.stem: file for file in FOLDER.glob("*.yaml")}
    if name in files:
        return str(files[name])
    problem = f"{name!r} is no recipe. Name one of these" if name else "needs the name of a recipe"
    width = max(map(len, files))
    lines = [f"{stem.ljust(width)}  {_about(file)}" for stem, file in sorted(files.items())]
    raise UserError("\n".join([f"--recipe: {problem}:", *lines]))


def _about(file: Path) -> str:
    """The first line of a recipe, which says what it is for."""
    with file.open(encoding="utf-8") as lines:
        return next(lines).strip().lstrip("# ")
