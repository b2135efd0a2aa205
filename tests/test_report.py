import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from factory import storage
from factory.classes import Classes
from factory.data.toy import drawing, faces
from factory.errors import UserError
from factory.page_parts import MAX_STORED_PIXELS, PANE_PIXELS
from factory.pictures import colorize, overlay
from factory.report import _figure, write_report
from factory.shards.ledger import Ledger
from factory.shards.plan import Plan
from factory.shards.receipts import Circumstances
from factory.shards.schema import Sample, sample_key

SIZE = 16
HOSTILE = "<img src=x onerror=alert(1)>"
CONFIG = f"url: '\"><script src=//evil.example/x.js></script>{HOSTILE}'\n"


class Page(HTMLParser):
    """Tags with their attributes, and the text in between."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]


def draw(index: int) -> Sample:
    image, mask = drawing.draw(7, index, SIZE)
    uncertainty = float(np.float32(np.random.default_rng(index).random()))
    return Sample(sample_key(index), image, mask, index, uncertainty, "abc")


Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(
        format: Literal["parquet", "webdataset"] = "parquet", num: int = 10, finish: bool = True
    ) -> str:
        url = str(tmp_path / "faces & <b>")
        names = (*faces.CLASSES[:-1], HOSTILE)
        plan = Plan(
            num=num,
            samples_per_shard=3,
            format=format,
            class_names=names,
            palette=faces.PALETTE,
            recipe={"seed": 0, HOSTILE: HOSTILE},
        )
        Ledger(url, plan).start(CONFIG, {"torch": HOSTILE})
        for spec in plan.shards():
            data = plan.encode([draw(i) for i in range(spec.start, spec.stop)])
            made_with = {"gpu": HOSTILE, "torch": str(spec.shard % 2)}
            circumstances = Circumstances(seconds=2.0, host=HOSTILE, made_with=made_with)
            Ledger(url, plan).publish(spec, {spec.path: data}, circumstances)
        if finish:
            Ledger(url, plan).finish("A test.", "cc0-1.0")
        return url

    return make


def read(url: str) -> tuple[str, Page]:
    html = storage.read_text(url)
    return html, Page(html)


def pictures(page: Page) -> list[np.ndarray[Any, Any]]:
    found = []
    for picture in page.all("img"):
        if not str(picture["alt"]).startswith("image, mask, overlay"):
            continue
        head, data = str(picture["src"]).split(",")
        assert head == "data:image/png;base64"
        found.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))))
    return found


def keys(html: str) -> list[str]:
    return re.findall(r"<figcaption><code>(\d+)</code>", html)


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_every_picture_shows_the_pixels_of_its_sample(make: Make, format: str) -> None:
    url = make(format)
    page_url = write_report(url)
    assert page_url == f"{url}/report/index.html"
    html, page = read(page_url)
    shown = keys(html)
    assert sorted(shown) == [sample_key(i) for i in range(10)]
    classes = Plan.model_validate_json(storage.read_bytes(f"{url}/_factory/run.json")).classes
    for key, strip in zip(shown, pictures(page), strict=True):
        sample = draw(int(key))
        image, mask, blended = np.split(strip, 3, axis=1)
        assert np.array_equal(image, sample.image)
        assert np.array_equal(mask, colorize(sample.mask, classes))
        assert np.array_equal(blended, overlay(sample.image, sample.mask, classes))


@pytest.mark.parametrize("shape", [(4096, 16), (16, 4096), (2048, 2048)])
def test_pictures_are_bounded_in_width_and_height(shape: tuple[int, int]) -> None:
    image, mask = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    sample = Sample(sample_key(0), image, mask, 0, 0.0, "abc")
    figure = _figure(sample, Classes.named(["a"]), True)
    assert max(figure.width, figure.height) == PANE_PIXELS
    stored = Image.open(io.BytesIO(base64.b64decode(figure.picture)))
    assert max(stored.size) == MAX_STORED_PIXELS


def test_most_certain_samples_come_first_under_their_own_uncertainty(make: Make) -> None:
    html, _ = read(write_report(make()))
    values = [float(value) for value in re.findall(r"</code><span>([\d.]+)</span>", html)]
    assert values == sorted(values) and len(set(values)) > 1
    assert values == [round(draw(int(key)).uncertainty, 4) for key in keys(html)]


def test_fewer_samples_than_pairs_are_spread_over_the_shards(make: Make) -> None:
    html, page = read(write_report(make(num=30), num_samples=5))
    shards = {int(key) // 3 for key in keys(html)}
    assert len(keys(html)) == len(shards) == 5
    assert min(shards) < 3 and max(shards) > 6
    assert "5 of 30 pairs, taken evenly from 5 of 10 shards, most certain first" in page.text


def test_the_page_reaches_for_nothing_outside_itself(make: Make) -> None:
    html, page = read(write_report(make()))
    assert not {"script", "link", "iframe", "object", "embed", "base", "form", "a"} & {
        tag for tag, _ in page.tags
    }
    for tag, attrs in page.tags:
        assert not any(name.startswith("on") for name in attrs), (tag, attrs)
        assert not {"href", "srcset", "action", "data"} & attrs.keys(), (tag, attrs)
        assert tag == "img" or "src" not in attrs
        assert "url(" not in (attrs.get("style") or "")
    css = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in css and "@import" not in css
    policy = next(m for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_text_of_the_dataset_is_shown_as_text(make: Make) -> None:
    html, page = read(write_report(make()))
    assert HOSTILE not in html and "<script" not in html
    assert len(page.all("figure")) == 10
    assert CONFIG in page.text
    # Twice as a class, in the recipe as name and value, among the versions, in the config.
    assert page.text.count(HOSTILE) >= 6
    assert "<h1>faces &amp; &lt;b&gt;</h1>" in html


def test_class_shares_are_those_of_all_pixels_and_sum_to_100(make: Make) -> None:
    html, _ = read(write_report(make(), num_samples=2))
    shares = [float(text) for text in re.findall(r'class="share">([\d.]+) %', html)]
    assert sum(shares) == pytest.approx(100, abs=1e-9)
    masks = np.stack([draw(i).mask for i in range(10)])
    exact = 100 * np.bincount(masks.reshape(-1), minlength=len(faces.CLASSES)) / masks.size
    np.testing.assert_allclose(shares, exact, atol=0.01)


def test_throughput_is_pairs_per_second_of_an_actor(make: Make) -> None:
    _, page = read(write_report(make()))
    assert "1.25 pairs per actor-second" in page.text  # 10 pairs in 4 shards of 2 s


def test_what_shards_were_made_with_is_told_kind_by_kind(make: Make) -> None:
    _, page = read(write_report(make()))
    for number in (0, 1):
        assert f"2 of 4 shards: gpu {HOSTILE}, torch {number}" in page.text


def test_a_second_report_replaces_the_first(make: Make) -> None:
    url = make()
    assert len(keys(read(write_report(url))[0])) == 10
    assert len(keys(read(write_report(url, num_samples=1))[0])) == 1


def test_lost_notes_stop_no_report(make: Make, tmp_path: Path) -> None:
    url = make()
    (tmp_path / "faces & <b>" / "_factory" / "config.yaml").unlink()
    (tmp_path / "faces & <b>" / "_factory" / "env.json").write_bytes(b"\xff[")
    _, page = read(write_report(url))
    assert page.text.count("not recorded") == 2


def test_an_unfinished_dataset_is_refused(make: Make) -> None:
    url = make(finish=False)
    with pytest.raises(UserError, match="unfinished"):
        write_report(url)
    assert not storage.exists(f"{url}/report")


def test_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no dataset"):
        write_report(str(tmp_path))
