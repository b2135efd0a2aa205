"""Config files that are none, or that YAML reads otherwise than they are meant."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.config import load_config
from tests.bad_inputs.cases import Case, case, put, table

FILE = "/run.yaml"
NO_YAML = "not readable as YAML"


def text(name: str, content: str | bytes, what: str, remedy: str) -> Case:
    return case(name, lambda folder: put(folder, "run.yaml", content), (FILE, what, remedy))


def keys(name: str, content: str, *problems: tuple[str, str]) -> Case:
    """Problems of keys: where, what."""
    lines = ((FILE, f": {where}: ", what) for where, what in problems)
    return case(name, lambda folder: put(folder, "run.yaml", content), *lines)


def laughs(levels: int = 9) -> str:
    """A few lines that stand for 10^9 strings."""
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    for i in range(1, levels):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]")
    return "\n".join(lines)


FILES = [
    text(
        "code that is applied", "a: !!python/object/apply:os.system ['touch owned']", NO_YAML, "tag"
    ),
    text("code that is named", "a: !!python/name:os.system", NO_YAML, "tag"),
    text("a module", "a: !!python/module:os", NO_YAML, "tag"),
    text("a tag of one's own", "generate: !mine {num: 1}", NO_YAML, "tag"),
    text("an open bracket", "generate: [", NO_YAML, "line 1"),
    text("a tab", "generate:\n\tnum: 5", NO_YAML, "line 2"),
    text("indented wrongly", "generate:\n  num: 5\n seed: 1", NO_YAML, "line 3"),
    text("two documents", "generate: {}\n---\ntrain: {}", NO_YAML, "line 2"),
    text("a null character", "generate: {license: 'a\0b'}", NO_YAML, "special characters"),
    text("binary", b"\xff\xfe\x00\x01", "not text in UTF-8", "is a YAML file"),
    text("a picture", b"\x89PNG\r\n\x1a\n", "not text in UTF-8", "is a YAML file"),
    text("a list", "[1, 2]", "expected sections", "such as `generate:`"),
    text("a word", "generate", "expected sections", "such as `generate:`"),
    text("a number", "5", "expected sections", "such as `generate:`"),
    text(
        "a key twice", "generate:\n  num: 5\n  num: 6", "line 3: key 'num' is given twice", "Keep"
    ),
    text("a section twice", "generate: {}\ngenerate: {}", "key 'generate' is given twice", "Keep"),
    text("a key twice in a list", "a: [{b: 1, b: 2}]", "key 'b' is given twice", "Keep"),
    text("a billion laughs", laughs(), "aliases", "Write"),
    text("an alias of itself", "generate: &g {num: *g}", "aliases", "Write"),
    text("nested without end", "a: " + "[" * 5000, "nested", "such as `generate:`"),
    text("mappings without end", "{a: " * 5000, "nested", "such as `generate:`"),
    text("far too large", "# " + "x" * 2_000_000, "bytes", "such as `generate:`"),
    case("a missing file", lambda folder: None, (FILE, "no such config file", "")),
    case(
        "a folder", lambda folder: (folder / "run.yaml").mkdir(), (FILE, "is a folder", "YAML file")
    ),
]

UNKNOWN = "unknown key. "
KEYS = [
    keys("a misspelt section", "generat: {}", ("generat", UNKNOWN + "Did you mean generate?")),
    keys("a misspelt key", "generate: {nun: 5}", ("generate.nun", "Did you mean generate.num?")),
    keys("a key of another section", "train: {sampler: ddim}", ("train.sampler", UNKNOWN)),
    keys("a key that is a number", "generate: {1: 2}", ("generate.1", "unknown key")),
    keys("a key that is nothing", "~: 2", ("None", "unknown key.")),
    keys("a key that is yes", "generate: {yes: 2}", ("generate.yes", "unknown key")),
    keys(
        "a section that is a number",
        "generate: 5",
        ("generate: is a section", "such as url and samples_per_shard"),
    ),
    keys(
        "a section that is a list", "train: [num_steps]", ("train: is a section", "such as url and")
    ),
    keys(
        "a folder for a source",
        "data: {test: /images}",
        ("data.test: is a section", "kind and url"),
    ),
    keys("on as a name", "data: {labelled: {kind: on}}", ("data.labelled.kind", "'toy', 'folder'")),
    keys("true as a name", "generate: {license: true}", ("generate.license", "Quote it")),
    keys("a list as a URL", "train: {url: [out]}", ("train.url", "must be a path or a URL")),
    keys(
        "a number as a name",
        "data: {labelled: {kind: pairs, url: a, classes_url: b, images: 7}}",
        ("data.labelled.images", "Quote it"),
    ),
    keys("yes as a number", "generate: {num: yes}", ("generate.num", "whole number >= 1")),
    keys("a list for a number", "generate: {num: [5]}", ("generate.num", "whole number >= 1")),
    keys("nothing for a number", "generate: {num: }", ("generate.num", "whole number >= 1")),
    keys("a word for a choice", "generate: {format: tar}", ("generate.format", "'parquet'")),
    keys("an octal", "generate: {num: 0100}", ("generate.num", "'0100'")),
    keys("a sexagesimal", "generate: {num: 1:30}", ("generate.num", "'1:30'")),
    keys("a hexadecimal", "generate: {num: 0x10}", ("generate.num", "'0x10'")),
    keys("a binary number", "generate: {seed: 0b11}", ("generate.seed", "valid integer")),
    keys("a merge key", "generate: {<<: {nun: 5}}", ("generate.nun", UNKNOWN)),
    keys(
        "five problems of five kinds",
        "generate: {num: 0, url: 'http://host/out'}\ntrain: {learning_rate: .nan, nun: 1}\nx: 1",
        ("generate.num", "'0'"),
        ("generate.url", "'http'"),
        ("train.learning_rate", "finite"),
        ("train.nun", UNKNOWN),
        ("x", UNKNOWN),
    ),
]


@table(FILES + KEYS)
def test_a_bad_config_stops_every_command(
    case: Case, refused: Callable[..., None], folder: Path
) -> None:
    case.make(folder)
    refused(case, "generate", "--dry-run", "--config", str(folder / "run.yaml"))
    assert not (folder / "owned").exists()


CONTRADICTIONS = (
    "train: {unet: {attention_levels: [9]}, batch_size: 10, num_workers: 3}\n"
    "fit: {timesteps: [5, 5]}\n"
    "generate: {min_actors: 9}\n"
    "data: {labelled: {kind: toy, num: 2, seed: 2}, test: {kind: toy, num: 2, seed: 3}}\n"
)
CONTRADICTED = {
    "train": (
        ("train.unet.attention_levels", "9 is not one of", ""),
        ("train.batch_size", "10 must be divis", "train.num_workers = 3"),
    ),
    "fit": (("fit.timesteps", "(5, 5)", "has a value twice"),),
    "generate": (("generate.min_actors", "must not be above", "generate.max_actors = 2"),),
}


@pytest.mark.parametrize("name", CONTRADICTED)
def test_contradictions_stop_the_command_that_reads_their_section(
    name: str, refused: Callable[..., None], folder: Path
) -> None:
    put(folder, "run.yaml", CONTRADICTIONS)
    own = ["--out=out", "--ddpm=toy"] if name == "fit" else []
    for more in ([], ["--dry-run"]):
        expected = case(name, os.fspath, *CONTRADICTED[name])
        refused(expected, name, "--config=run.yaml", *own, *more)


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "--max-actors=9", "--set=generate.cpus_per_actor=0.1"],
        ["fit", "--out=out", "--ddpm=toy", "--set=fit.timesteps=[5]"],
        ["evaluate"],
        ["inspect", "--set=data.unlabelled.num=2"],
        ["train", "--print-config"],
    ],
)
def test_contradictions_of_sections_that_a_command_does_not_read_do_not_stop_it(
    arguments: list[str], command: Callable[..., tuple[int, str, str]], folder: Path
) -> None:
    put(folder, "run.yaml", CONTRADICTIONS)
    name, *options = arguments
    code, out, err = command(name, "--dry-run", "--config=run.yaml", *options)
    assert (code, err) == (0, "") and out


OVERRIDES = {
    "generate.num": ("--set", "section.key=value"),
    "=5": ("--set", "section.key=value"),
    "generate..num=5": ("--set", "section.key=value"),
    "generate.num=[1": ("--set generate.num", "not YAML"),
    "generate.num=!!python/name:os.system": ("--set generate.num", "not YAML"),
    "generate.num=" + "[" * 5000: ("--set generate.num", "nested"),
    "generate.license=*base": ("--set generate.license", "aliases"),
    "generate.license=" + "x" * 300_000: ("--set generate.license", "bytes"),
    "a={b: 1, b: 2}": ("--set a=", "given twice"),
    "generate.nun=5": ("generate.nun", "Did you mean generate.num?"),
    "generate.num.x=5": ("generate.num", "whole number >= 1"),
    "generate=5": ("generate: is a section", "write keys below it"),
    "generate.license=7": ("generate.license", "Quote it"),
}


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda text: text[:30])
def test_a_bad_override_stops_every_command(
    override: str, refused: Callable[..., None], folder: Path
) -> None:
    where, what = OVERRIDES[override]
    refused(case(override, os.fspath, (where, what, "")), "train", "--dry-run", "--set", override)


@pytest.mark.parametrize(
    "word", ["no", "on", "off", "yes", "y", "1:30", "2020-01-01", "010", "0x10"]
)
def test_words_that_yaml_used_to_turn_into_something_else_are_kept(
    word: str, command: Callable[..., tuple[int, str, str]], folder: Path
) -> None:
    put(folder, "run.yaml", f"generate: {{license: {word}, compile: off}}\ntrain: {{seed: 1_0}}")
    code, out, err = command("generate", "--print-config", "--config", "run.yaml")
    assert (code, err) == (0, "")
    printed = load_config(str(put(folder, "printed.yaml", out)))
    assert printed.generate.license == word
    assert printed.generate.compile is False and printed.train.seed == 10
