"""The project's own code, read once by all the tests that make claims about it."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@cache
def texts() -> dict[str, str]:
    """{'factory/data/items.py': its text} of every module of the package and every job."""
    paths = [path for folder in ("factory", "jobs") for path in (ROOT / folder).rglob("*.py")]
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted(paths)}


@cache
def trees() -> dict[str, ast.Module]:
    """{'factory/data/items.py': its syntax tree} of the same files."""
    return {name: ast.parse(text) for name, text in texts().items()}
