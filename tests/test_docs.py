"""Claims about the documentation: the site builds, its links lead somewhere, its examples run."""

import ast
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import factory
from factory import cli, storage
from factory.calibration import Calibration, ClassLines
from factory.config.loading import load_config, parse_override
from factory.data.classes.class_files import read_rules
from factory.data.classes.class_forms import parse_rules
from factory.labeling.heads import with_calibration
from factory.segmentation.folder import ONNX, NetworkConfig, network_files, onnx_bytes
from factory.segmentation.unet import UNet
from factory.shards.columns import COLUMNS
from factory.shards.tar_metadata import PLACES
from tests.documents import PAGES, ROOT, blocks, commands, save_pairs

DOCS = ROOT / "docs"
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
"""Elements for which a browser fetches something by itself, and the attribute that says what."""


class _Page(HTMLParser):
    """What a page has and asks for: names of its anchors, links, and what a browser loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if LOADED.get(tag) in found:
            self.loaded.append(found[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, _Page]:
    """The pages of the site, as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return {page: _Page(page.read_text()) for page in sorted(folder.rglob("*.html"))}


@pytest.mark.slow
def test_the_site_loads_nothing_from_other_hosts(site: dict[Path, _Page]) -> None:
    assert len(site) > 20
    loaded = {url for page in site.values() for url in page.loaded}
    assert loaded and not {url for url in loaded if urlsplit(url).netloc}


@pytest.mark.slow
def test_every_link_of_the_site_leads_to_a_page_and_a_place_on_it(site: dict[Path, _Page]) -> None:
    lost = []
    for path, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if target not in site or (anchor and anchor not in site[target].anchors):
                lost.append(f"{path.name}: {link}")
    assert not lost


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_link_between_files_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    local = {urlsplit(link).path for link in links if not urlsplit(link).scheme}
    files = {(page.parent / path).resolve() for path in local if path}
    assert not {file for file in files if not file.exists()}


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The scripts that make pages and pictures."""
    monkeypatch.syspath_prepend(DOCS / "scripts")
    names = ("cli_page", "columns_page", "config_page", "speed_chart")
    return {name: import_module(name) for name in names}


def test_every_key_of_a_config_has_a_type_a_default_and_a_meaning(
    scripts: dict[str, ModuleType],
) -> None:
    page = scripts["config_page"].page()
    rows = [row.strip("|").split(" | ") for row in page.splitlines() if row.startswith("| `")]
    keys = {key.strip(" `"): (kind, default, meaning) for key, kind, default, meaning in rows}
    for key, (kind, _, meaning) in keys.items():
        assert kind.strip() and meaning.strip(), key
    of_sources = {"ignore"}
    sections = {name.partition(".")[0] for name in keys if "." in name} - of_sources
    assert sections == {
        name for name, tree in load_config(None).model_dump().items() if isinstance(tree, dict)
    }
    assert keys["train.num_steps"][1].strip(" `").isdigit()
    assert "whole number, 2 or more" in keys["fit.pixels_per_step"][0]
    assert "`parquet` or `webdataset`" in keys["generate.format"][0]


def test_a_type_that_has_no_words_stops_the_page(scripts: dict[str, ModuleType]) -> None:
    annotation = ast.parse("Sequence[Count]", mode="eval").body
    with pytest.raises(ValueError, match=r"no words for the type Sequence\[Count\]"):
        scripts["config_page"].words(annotation, "factory.config.fit")


def test_the_page_of_commands_has_every_flag(scripts: dict[str, ModuleType]) -> None:
    page = scripts["cli_page"].page()
    for command, parser in scripts["cli_page"].commands():
        part = page.partition(f"## factory {command}\n")[2].partition("\n## ")[0]
        flags = re.findall(r"--[a-z-]+", parser.format_usage())
        assert flags == [] or all(f"`{flag}" in part for flag in flags), command


def test_the_page_of_columns_has_every_column_of_a_shard(scripts: dict[str, ModuleType]) -> None:
    rows = [row for row in scripts["columns_page"].page().splitlines() if row.startswith("| `")]
    places = [column.name for column in PLACES]
    assert [row.split("`")[1] for row in rows] == [*(column.name for column in COLUMNS), *places]


def test_the_page_of_the_api_has_all_that_is_exported() -> None:
    page = (DOCS / "reference" / "api.md").read_text()
    listed = re.findall(r"^::: factory\.(\w+)$", page, re.M)
    assert sorted(listed) == [name for name in factory.__all__ if name != "__version__"]


def test_the_chart_shows_what_the_tables_say(scripts: dict[str, ModuleType]) -> None:
    chart = scripts["speed_chart"]
    assert chart.PICTURE.read_text() == chart.draw(chart.TABLES.read_text()), (
        "run docs/scripts/speed_chart.py"
    )


COMMANDS = [
    pytest.param(words, id=f"{page.stem}: {' '.join(words)}")
    for page in PAGES
    for block in blocks(page, "")
    for words in commands(block, "factory ")
]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_that_is_shown_is_one_and_its_keys_are_known(words: list[str]) -> None:
    args = cli.parser().parse_args(words[1:])
    load_config(None, [parse_override(text) for text in getattr(args, "set", [])])


FEWER = {
    'factory.train("my/images", "out/mine", image_size=64)': 'factory.load_ddpm("toy")',
    "factory.fit(ddpm, labelled)": "factory.fit(ddpm, labelled, num_members=2, num_steps=3)",
    'factory.generate(segmenter, 1000, "out/pairs",': (
        'factory.generate(segmenter, 2, "out/more", batch_size=2, num_sampling_steps=4,'
    ),
    "factory.sample(segmenter, 8, num_sampling_steps=10,": (
        "factory.sample(segmenter, 2, batch_size=2, num_sampling_steps=4,"
    ),
}
"""What is run in place of what takes long, a training of a DDPM among it."""


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_the_lines_of_python_on_the_pages_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    for name in ("labelled", "test"):
        save_pairs(Path("my") / name, 3, 32)
    (Path("my") / "labelled" / "classes.json").rename("my/classes.json")
    few = {"num_sampling_steps": 4, "batch_size": 2, "samples_per_shard": 10}
    toy = factory.load_segmenter("toy")
    lines = ClassLines(slope=0.8, intercepts=(0.2,) * len(toy.classes), error=0.1)
    calibration = Calibration(
        intercept=0, slope=1, error=0.1, wrong_above=None, num_images=20, classes=lines
    )
    calibrated = factory.Segmenter(toy.ddpm, with_calibration(toy.ensemble, calibration))
    calibrated.save("out/calibrated")
    for name, more in (("pairs", {}), ("tars", {"format": "webdataset", "val_fraction": 0.1})):
        factory.generate(calibrated, 20, f"out/{name}", workers="here", **few, **more)
    shutil.copytree("my/test/images", "my/images")
    _write_network(Path("out/run/segmenter/model"), toy.classes)
    for page in sorted((DOCS / "how-to").glob("*.md")):
        found: dict[str, Any] = {}
        for code in blocks(page, "python"):
            for shown, smaller in FEWER.items():
                code = code.replace(shown, smaller)
            exec(compile(code, page.name, "exec"), found)


def _write_network(folder: Path, classes: factory.Classes) -> None:
    """What `factory segment` leaves, with random weights."""
    config = NetworkConfig(
        image_size=32,
        num_channels=3,
        class_names=classes.names,
        palette=classes.palette,
        widths=(8, 16),
    )
    trained = factory.TrainedNetwork(UNet(3, len(classes), (8, 16)).eval(), config)
    files = {**network_files(trained, None, ""), ONNX: onnx_bytes(trained)}
    for name, data in files.items():
        storage.write(str(folder / name), data)


def test_all_classes_on_the_page_of_masks_are_read() -> None:
    page = DOCS / "how-to" / "masks-as-you-have-them.md"
    (forms,) = blocks(page, "json")
    rules = [read_rules(form, "classes.json") for form in forms.splitlines()]
    assert [len(each.classes) for each in rules] == [3, 3, 3, 2, 2, 3, 2]
    keys = [yaml.safe_load(key) for key in re.findall("`(classes: .*?)`", page.read_text())]
    assert len(keys) == 11 and all(parse_rules(key["classes"], "classes") for key in keys)
