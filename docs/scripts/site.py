"""Hooks of the documentation's site: pages that are made from the program, and those of the root.

Pages in the root of the repository (SECURITY.md and others) are read where they lie; links to them
are rewritten, so that they work in the repository as on the site.
"""

import re
from pathlib import Path
from typing import Any

import cli_page
import columns_page
import config_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
MADE = {
    "reference/config.md": config_page.page,
    "reference/command-line.md": cli_page.page,
    "reference/columns.md": columns_page.page,
}
ROOT_PAGES = {
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/gpu.md": "measurements/gpu.md",
}
"""Paths from the root, and where they are on the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that do not lie in docs/."""
    for path, page in MADE.items():
        files.append(File.generated(config, path, content=page()))
    for source, path in ROOT_PAGES.items():
        text = (ROOT / source).read_text()
        files.append(File.generated(config, path, content=from_root(text, path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lets links that leave docs/ lead to the pages that stand for their targets."""
    up = "../" * page.file.src_uri.count("/")
    for source, path in ROOT_PAGES.items():
        markdown = re.sub(rf"\]\((?:\.\./)+{re.escape(source)}", f"]({up}{path}", markdown)
    return markdown


def from_root(text: str, path: str) -> str:
    """The text of a page of the root, with its links as they are from the page's new path."""
    up = "../" * path.count("/")
    text = re.sub(r"\]\(docs/", f"]({up}", text)
    for source, target in ROOT_PAGES.items():
        text = text.replace(f"]({source})", f"]({up}{target})")
    return text
