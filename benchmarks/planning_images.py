"""What `factory label` does before its first shard: images a second that are read, hashed, checked.

Photographs of 1024x768 pixels on this machine, alone and beside masks, and small files in a store
that answers after a while, as distant ones do.
"""

import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from xml.sax.saxutils import escape

import measuring
import torch
from aiohttp import web
from measuring import Row, report, seconds
from PIL import Image

from factory.config import load_config
from factory.data.pixels import decoding
from factory.data.toy.drawing import draw
from factory.data.toy.faces import CLASSES
from factory.generation.label_listing import list_source
from factory.generation.recipe import load_models
from factory.png import encode_png

SIZE = 1024, 768
NUM_DIFFERENT = 16
ANSWER_SECONDS = 0.03
"""The time after which the store answers."""


def parser() -> ArgumentParser:
    """The command line's."""
    known = measuring.parser((__doc__ or "").partition("\n")[0])
    known.add_argument("--images", type=int, default=400, help="files of each kind")
    return known


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    num, runs = arguments.images, arguments.runs
    with tempfile.TemporaryDirectory() as folder:
        put_pairs(Path(folder), num)
        files = sorted(Path(folder, "images").iterdir())
        size = sum(file.stat().st_size for file in files) / len(files)
        images = {"kind": "folder", "url": f"{folder}/images"}
        pairs = {"kind": "pairs", "url": folder, "classes": list(CLASSES)}
        few = [file.read_bytes() for file in files[:NUM_DIFFERENT]]
        rows = [
            *rates("read, hashed and checked", num, runs, planning(images)),
            *rates("the same and decoded, beside masks", num, runs, planning(pairs)),
            *rates("decoded by one thread, for comparison", len(few), runs, decoding_all(few)),
        ]
    with store(num):
        far = {"kind": "folder", "url": "s3://bucket/photos"}
        rows += rates("of a store that answers after 30 ms", num, runs, planning(far))
    note = f"Photographs of {SIZE[0]}x{SIZE[1]} pixels as JPEG, {size / 1e3:,.0f} kB each."
    report("Planning of labels", rows, arguments.json, [note])


def rates(what: str, num: int, runs: int, work: Callable[[], object]) -> list[Row]:
    """Images a second, and the processor's time for each, by the medians of the runs after one that
    is not counted."""
    work()
    walls, times = [], []
    for _ in range(runs):
        before = time.process_time()
        walls.append(seconds(work))
        times.append(time.process_time() - before)
    return [
        Row(what, num / statistics.median(walls), None, "images/s"),
        Row(f"{what}: CPU time of an image", 1e3 * statistics.median(times) / num, None, "ms"),
    ]


def planning(source: Mapping[str, object]) -> Callable[[], object]:
    """Lists the images of a source for the toy models."""
    keys = [("models.ddpm_url", "toy"), ("models.ensemble_url", "toy"), ("label.source", source)]
    config = load_config(None, keys)
    models = load_models(config)
    return lambda: list_source(config, models, None)


def decoding_all(files: list[bytes]) -> Callable[[], object]:
    """Decodes files, one after the other."""
    return lambda: [decoding.decode_image(data) for data in files]


def put_pairs(folder: Path, num: int) -> None:
    """Writes drawn faces as photographs, and their masks."""
    for part in ("images", "masks"):
        (folder / part).mkdir()
    for i in range(num):
        image, mask = (Image.fromarray(each) for each in draw(0, i % NUM_DIFFERENT, 256))
        noise = Image.effect_noise(SIZE, 24).convert("RGB")
        photo = Image.blend(image.resize(SIZE), noise, 0.3)
        photo.save(folder / "images" / f"{i:06d}.jpg", quality=90)
        ids = mask.resize(SIZE, Image.Resampling.NEAREST)
        ids.save(folder / "masks" / f"{i:06d}.png")


@contextmanager
def store(num: int) -> Iterator[None]:
    """A store of so many small images in a process of its own, which s3fs finds."""
    mine, its = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(num, its), daemon=True)
    server.start()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{mine.recv()}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    yield
    server.terminate()


def serve(num: int, started: Connection) -> None:
    """Serves what s3fs asks for: a listing, and heads and contents of files."""
    data = encode_png(draw(0, 0, 64)[0])
    keys = [f"photos/{i:06d}.png" for i in range(num)]
    there = set(keys)

    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(ANSWER_SECONDS)
        key = request.path.removeprefix("/bucket").strip("/")
        if key in there:
            return web.Response(body=data, headers={"ETag": '"1"'})
        if key or "list-type" not in request.query:
            raise web.HTTPNotFound
        start = int(request.query.get("continuation-token", "0"))
        page = list(islice(keys, start, start + 1000))
        more = start + len(page) < num
        found = "".join(
            f"<Contents><Key>{escape(each)}</Key><Size>{len(data)}</Size><ETag>1</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for each in page
        )
        token = f"<NextContinuationToken>{start + len(page)}</NextContinuationToken>" * more
        text = (
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
            f"<KeyCount>{len(page)}</KeyCount>{found}</ListBucketResult>"
        )
        return web.Response(text=text, content_type="application/xml")

    async def run() -> None:
        runner = web.AppRunner(_app(answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        started.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


def _app(answer: Callable[[web.Request], object]) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)  # type: ignore[arg-type]
    return app


if __name__ == "__main__":
    main()
