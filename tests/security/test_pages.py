"""Claims about the report and the card: they show any text as text, and load nothing."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from factory import report
from factory.classes import Classes
from factory.shards.card import dataset_card, escape_markdown

HOSTILE = {
    "a picture": "<img src=x onerror=alert(1)>",
    "the end of a script": "</script><script>alert(2)</script>",
    "the end of the style": "</style></title><svg onload=alert(3)>",
    "the end of an attribute": '"><iframe src="https://evil.example/a">',
    "the other end of an attribute": "' onmouseover='alert(4)",
    "the end of a comment": "--><b>",
    "an entity": "&lt;b&gt; &#60;b&#62;",
    "a Markdown picture": "![x](https://evil.example/b.png)",
    "a Markdown link": "[click](javascript:alert(5))",
    "a Markdown reference": "[a]: https://evil.example/c",
    "an autolink": "<https://evil.example/d>",
    "a bare link": "https://evil.example/e",
    "a bare link in capitals": "HTTP://evil.example/f",
    "a bare domain": "www.evil.example",
    "a table cell": "a | b | c",
    "a code fence": "```\n# title",
    "front matter": "x\n---\nlicense: mit\n---\n# title",
    "the end of a YAML document": "...\n---\nlicense: mit",
    "a YAML tag": "!!python/object/apply:os.system [id]",
    "a YAML mapping": "{license: mit}",
    "a YAML key": "mit\ntags: [evil]",
    "a template": "{{ 7 * 7 }} ${7 * 7} {description} {0}",
    "control characters": "a\x00\x1b[31m\u202eb",
}


class Page(HTMLParser):
    """Tags with their attributes, and the text in between."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def write(make_dataset: Callable[..., str], tmp_path: Path) -> Callable[[str], tuple[str, str]]:
    """Report and card of a dataset that says a text wherever it can say one."""

    def make(text: str) -> tuple[str, str]:
        url = make_dataset(
            license=text,
            description=text,
            class_names=[text, f"{text} too", *(f"class {i}" for i in range(10))],
            palette=[(0, 0, 0)] * 12,
            recipe={text: text},
        )
        folder = Path(url) / "_factory"
        (folder / "config.yaml").write_text(text)
        (folder / "env.json").write_text(json.dumps({text: text}))
        page = Path(report.write_report(url)).read_text()
        return page, (Path(url) / "README.md").read_text()

    return make


@pytest.mark.parametrize("name", HOSTILE)
def test_a_report_of_hostile_text_shows_it_as_text(
    name: str, write: Callable[[str], tuple[str, str]]
) -> None:
    page = Page(write(HOSTILE[name])[0])
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "iframe", "link", "object", "embed", "base", "form", "a", "b"}
    for tag, attrs in page.tags:
        assert not any(attr.startswith("on") for attr in attrs), (tag, attrs)
        assert not {"href", "action", "srcset", "data", "formaction"} & attrs.keys()
        assert str(attrs.get("src", "data:")).startswith("data:")
        assert "url(" not in str(attrs.get("style"))
    assert HOSTILE[name].split("\n")[0] in "".join(page.text)


def test_a_report_forbids_the_browser_to_reach_for_anything(
    write: Callable[[str], tuple[str, str]],
) -> None:
    page, _ = write(HOSTILE["a picture"])
    head = page[: page.index("</head>")]
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', head)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules.pop("default-src") == "'none'"
    assert rules.pop("img-src") == "data:"
    assert rules.pop("style-src") == "'unsafe-inline'"
    assert set(rules.values()) <= {"'none'"}
    # It stands before all that it is to govern.
    assert head.index("Content-Security-Policy") < min(head.index("<title"), head.index("<style"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_cards_front_matter_holds_hostile_text_as_text(
    name: str, write: Callable[[str], tuple[str, str]]
) -> None:
    text = HOSTILE[name]
    _, card = write(text)
    lines = card.split("\n")
    assert lines[0] == "---"
    end = lines.index("---", 1)
    front = yaml.safe_load("\n".join(lines[1:end]))
    assert set(front) == {
        "license", "pretty_name", "task_categories", "task_ids", "annotations_creators",
        "source_datasets", "tags", "size_categories", "configs", "dataset_info"
    }  # fmt: skip
    assert front["license"] == text and front["tags"] == ["synthetic"]
    labels = next(f for f in front["dataset_info"]["features"] if f["name"] == "labels")
    assert labels["list"]["class_label"]["names"]["0"] == text


def body(text: str, format: str) -> str:
    """Returns the front matter of a card that holds a text wherever it can hold one."""
    classes = Classes.named(["background", text, f"{text} too"])
    card = dataset_card(classes, 5, text, text, {text: text, "format": format})
    return re.split(r"^---$", card, maxsplit=2, flags=re.MULTILINE)[2]


def marks(markdown: str) -> list[list[str]]:
    """Per line, what Markdown or HTML would act on."""
    pattern = r"(?<!\\)[|`*_\[\]!#<>~]|(?:https?|ftp):|www\."
    return [re.findall(pattern, line, flags=re.IGNORECASE) for line in markdown.split("\n")]


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_cards_body_of_hostile_text_has_the_marks_of_any_other(name: str, format: str) -> None:
    assert marks(body(HOSTILE[name], format)) == marks(body("calm", format))


def test_the_marks_of_hostile_text_would_be_seen() -> None:
    text = "<b> | [a](https://b) www.c \\| \\[d"
    assert marks(text) == [["<", ">", "|", "[", "]", "https:", "www."]]
    assert marks(escape_markdown(text)) == [[]]
