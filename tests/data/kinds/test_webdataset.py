"""Claims about sources of kind webdataset: which members are pairs, and how tars are read."""

import gzip
import io
import tarfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from factory import storage
from factory.data import loading
from factory.data.kinds.webdataset import WebdatasetSource
from factory.data.sharded import tar_files
from factory.errors import Problems
from factory.png import encode_png
from factory.storage import ranged
from tests.data.inputs import encoded, flat, only_problem, problems_of
from tests.exporting import made

NAMES = ["ground", "thing", "other"]


def png(value: int) -> bytes:
    return encode_png(flat(value))


def mask(value: int) -> bytes:
    return encode_png(flat(value)[..., 0])


def tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def pairs_of(*keys: str, image: str = "png", mask_: str = "seg.png") -> dict[str, bytes]:
    """Images of grey 10, 11, ... and masks of 0, 1, 2, 0, ..."""
    found: dict[str, bytes] = {}
    for i, key in enumerate(keys):
        found |= {f"{key}.{image}": png(10 + i), f"{key}.{mask_}": mask(i % 3), f"{key}.cls": b"1"}
    return found


def write(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar(members))
    return path


def source(url: Path | str, **more: object) -> WebdatasetSource:
    return WebdatasetSource(url=str(url), **{"classes": NAMES, **more})  # type: ignore[arg-type]


def test_members_of_one_key_are_a_pair_in_the_order_of_the_tars(tmp_path: Path) -> None:
    write(tmp_path / "b.tar", pairs_of("x/3", "x/1"))
    write(tmp_path / "a.tar", pairs_of("2"))
    read = loading.read_labelled(source(tmp_path), 8)
    assert read.names == ("2", "x/3", "x/1")
    assert read.images[:, 0, 0, 0].tolist() == [10, 10, 11]
    assert read.masks[:, 0, 0].tolist() == [0, 0, 1]
    unlabelled = WebdatasetSource(url=str(tmp_path / "b.tar"), num=1)
    assert np.array_equal(loading.read_images(unlabelled, 8), read.images[1:2])


@pytest.mark.parametrize("start", ["./", "././", "/", "../", "./x/./"])
def test_what_means_nothing_in_the_names_of_members_is_no_part_of_them(
    start: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.tar", pairs_of(f"{start}a", f"{start}b"))
    read = loading.read_labelled(source(tmp_path), 8)
    assert [name.rpartition("/")[2] for name in read.names] == ["a", "b"]
    assert not any("." in name for name in read.names)


def test_members_of_macos_belong_to_those_of_other_systems(tmp_path: Path) -> None:
    image, label = (unicodedata.normalize(form, "ä") for form in ("NFD", "NFC"))
    write(
        tmp_path / "a.tar", {f"{image}.jpg": encoded(flat(10), "JPEG"), f"{label}.seg.png": mask(1)}
    )
    assert loading.read_labelled(source(tmp_path), 8).names == ("ä",)


def test_a_tar_that_is_packed_as_a_whole_under_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(gzip.compress(tar(pairs_of("a"))))
    assert "a.tar: is packed as a whole" in only_problem(source(tmp_path))


def test_keys_that_several_tars_have_are_told_apart_by_the_tar(tmp_path: Path) -> None:
    for name in ("train-0.tar", "train-1.tar"):
        write(tmp_path / name, pairs_of("0"))
    read = loading.read_labelled(source(f"{tmp_path}/train-{{0..1}}.tar"), 8)
    assert read.names == ("train-0.tar/0", "train-1.tar/0")


def test_our_own_dataset_is_read_with_its_classes_and_keys(tmp_path: Path) -> None:
    url = str(tmp_path / "out")
    samples = made.write(url, num=7, size=(12, 12), format="webdataset")
    read = loading.read_labelled(WebdatasetSource(url=url), 12)
    assert np.array_equal(read.images, np.stack([sample.image for sample in samples]))
    assert np.array_equal(read.masks, np.stack([sample.mask for sample in samples]))
    assert read.classes.names == made.NAMES and read.names[6] == "000000006"


def test_classes_of_our_own_dataset_that_are_no_text_are_named(tmp_path: Path) -> None:
    url = str(tmp_path / "out")
    made.write(url, num=2, size=(12, 12), format="webdataset")
    (tmp_path / "out/id2label.json").write_bytes(b"\xff")
    assert "id2label.json: is no text in UTF-8" in only_problem(WebdatasetSource(url=url))


def test_no_ending_that_is_named_is_one_that_is_found(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", pairs_of("0", "1"))
    read = loading.read_labelled(source(tmp_path, image_ending=[], mask_ending=[]), 8)
    assert read.names == ("0", "1")


@pytest.mark.parametrize(
    ("image", "mask_"),
    [
        *(("jpg", "png"), ("jpg", "seg.png"), ("png", "mask.png"), ("image.png", "label.png")),
        *(("img.png", "ann.png"), ("image.png", "segmap.png")),
    ],
)
def test_the_usual_endings_are_found(tmp_path: Path, image: str, mask_: str) -> None:
    members = {f"0.{image}": encoded(flat(90), "JPEG" if image == "jpg" else "PNG")}
    path = write(tmp_path / "a.tar", {**members, f"0.{mask_}": mask(2), "0.json": b"{}"})
    read = loading.read_labelled(source(path), 8)
    assert read.masks[0, 0, 0] == 2 and abs(int(read.images[0, 0, 0, 0]) - 90) < 3
    assert len(loading.read_images(source(path), 8)) == 1


def test_endings_that_may_both_be_meant_are_refused_and_one_can_be_named(tmp_path: Path) -> None:
    more = {f"{i}.{ending}": mask(2) for i in range(2) for ending in ("mask.png", "edges.png")}
    path = write(tmp_path / "a.tar", {**pairs_of("0", "1"), **more})
    message = only_problem(source(path))
    assert ".seg.png, .mask.png may be the masks among 2 .png, 2 .seg.png" in message
    assert "Set `mask_ending:`" in message
    for ending in (".mask.png", "mask.png"):
        assert loading.read_labelled(source(path, mask_ending=ending), 8).masks[0, 0, 0] == 2
    named = source(path, image_ending="edges.png", mask_ending="seg.png")
    assert loading.read_labelled(named, 8).images[0, 0, 0, 0] == 2


def test_endings_that_are_missing_are_refused_with_those_that_occur(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", {"0.png": png(1), "0.webp": png(1), "0.txt": b""})
    found = problems_of(source(path, mask_ending=".seg.png"))
    assert any("nothing in it ends with .seg.png, but 1 .png, 1 .webp, 1 .txt" in p for p in found)
    assert any(".png, .webp may be the images" in p for p in found)
    assert "no masks among 1 .png" in only_problem(source(path, image_ending="png"))
    both = source(path, image_ending="png", mask_ending="png")
    assert "both .png" in only_problem(both)
    empty = write(tmp_path / "b.tar", {})
    assert "no images among no files" in only_problem(source(empty), labelled=False)


def test_images_and_masks_without_a_partner_are_named(tmp_path: Path) -> None:
    members = {**pairs_of("0", "1"), "2.png": png(1), "3.seg.png": mask(1)}
    path = write(tmp_path / "a.tar", members)
    found = problems_of(source(path))
    assert "1 image without a mask .seg.png: 2. Pack what is missing, leave them out" in found[0]
    assert "1 mask without an image .png: 3." in found[1]
    read = loading.read_labelled(source(path, unpaired="skip"), 8)
    assert read.names == ("0", "1")
    assert [note.partition(": ")[2] for note in read.notes[:2]] == [
        "1 image without a mask .seg.png: 2. They are left out.",
        "1 mask without an image .png: 3. They are left out.",
    ]
    (tmp_path / "names.txt").write_text("0\n1\n")
    listed = source(path, names_url=str(tmp_path / "names.txt"))
    assert loading.read_labelled(listed, 8).names == ("0", "1"), "as the message advises"


def test_tars_name_no_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", pairs_of("0"))
    message = only_problem(WebdatasetSource(url=str(path)))
    assert "tars name no classes. Set `classes_url:`" in message


def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        for _ in range(2):
            file.addfile(tarfile.TarInfo("0.png"))
    assert "holds 0.png more than once" in only_problem(source(path), labelled=False)


def test_links_are_told_and_hidden_files_and_folders_are_passed_over(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        for name, kind in [
            *[("./d", tarfile.DIRTYPE), ("1.png", tarfile.SYMTYPE), ("2.png", tarfile.LNKTYPE)],
            *[("1.json", tarfile.SYMTYPE), ("._3.png", tarfile.LNKTYPE)],
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
        for name in ("./d/0.png", "._0.png", "__MACOSX/0.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png(5))
            file.addfile(info, io.BytesIO(png(5)))
    found = source(path).find(labelled=False, problems=Problems())
    assert [item.name for item in found.items] == ["d/0"]
    (note,) = found.notes
    assert "2 members of tars not read, as links and files with holes are: 1.png, 2.png." in note


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (lambda data, end: data[: end - 700], "so it is cut off"),
        (lambda data, end: data[: end - 512 - 1], "so it is cut off"),
        (lambda data, end: data[:end], "its end mark is missing, so it is cut off"),
        (lambda data, end: data[: end + 100], "its end mark is missing, so it is cut off"),
        (lambda data, end: data[:end] + b"x" * 512, "so a member's header is damaged"),
        (lambda data, end: b"no tar" * 200, "is no whole tar"),
        (lambda data, end: b"", "is no whole tar"),
    ],
)
def test_tars_that_are_cut_or_damaged_are_all_named(tmp_path: Path, cut: object, said: str) -> None:
    whole = tar({f"{i}.png": png(i) for i in range(3)})
    end = 3 * 512 + sum(-(-len(png(i)) // 512) * 512 for i in range(3))
    assert whole[end - 512 : end].strip(b"\0") and not whole[end:].strip(b"\0")
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).write_bytes(cut(whole, end))  # type: ignore[operator]
    (tmp_path / "c.tar").write_bytes(whole)
    found = problems_of(source(tmp_path), labelled=False)
    assert len(found) == 1 and said in found[0] and "1 other: b.tar." in found[0]
    assert "Pack or download it again, or remove it." in found[0]
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).unlink()
    assert len(loading.read_images(source(tmp_path), 8)) == 3, "as the message advises"


def test_packed_tars_are_refused_with_what_unpacks_them(tmp_path: Path) -> None:
    write(tmp_path / "a.tar.gz", {})
    message = only_problem(source(tmp_path / "a.tar.gz"), labelled=False)
    assert "as by `gunzip`, and name the .tar files in `url:`." in message
    assert "a.tar.gz must be read" in only_problem(source(tmp_path), labelled=False)
    write(tmp_path / "b.tar", pairs_of("0"))
    assert "or name the others in `url:`" in only_problem(source(tmp_path), labelled=False)
    assert len(loading.read_images(source(tmp_path / "b.tar"), 8)) == 1


def test_names_of_any_length_and_form_are_read(tmp_path: Path) -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"{form}.tar"
        with tarfile.open(path, "w", format=form) as file:
            for name in (f"{'ä' * 120}/0.png", "1.png"):
                info = tarfile.TarInfo(name)
                info.size = len(png(5))
                file.addfile(info, io.BytesIO(png(5)))
        assert loading.load(source(path), 8, labelled=False).names == (f"{'ä' * 120}/0", "1")


def test_tars_of_a_store_are_read_a_few_times_in_large_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    pictures = {f"{i:03}.png": encode_png(rng.integers(0, 255, (40, 40, 3), np.uint8))
                for i in range(60)}  # fmt: skip
    monkeypatch.setattr(tar_files, "_READ_AHEAD", 2**15)
    url, data = "memory://webdataset/a.tar", tar(pictures)
    storage.write(url, data)
    ranges = []
    original = storage.read_range

    def read_range(url: str, start: int, stop: int) -> bytes:
        ranges.append((start, stop))
        return original(url, start, stop)

    for module in (storage, ranged):
        monkeypatch.setattr(module, "read_range", read_range)
    read = loading.load(source(url), 40, labelled=False)
    assert len(read.images) == 60 and not read.problems
    num_parts = -(-len(data) // 2**15)
    assert len(ranges) <= 2 * num_parts + 3, "once for the headers, and once for the images"


def test_versions_change_with_the_tar(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", pairs_of("0", "1"))
    found = source(path).find(labelled=False, problems=Problems())
    before = source(path).versions(found.items)
    assert len(set(before)) == 2 and source(path).versions([]) == []
    write(path, pairs_of("1", "0"))
    assert not set(source(path).versions(found.items)) & set(before)


def test_samples_whose_pictures_end_otherwise_are_told(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", {"a.jpg": encoded(flat(1), "JPEG"), "b.png": png(2), "c.png": png(3)})
    loaded = loading.load(source(tmp_path, image_ending="jpg"), 8, labelled=False)
    assert loaded.names == ("a",)
    told = "only .jpg is read. Samples without one are not used, which hold 2 .png. Name all"
    assert told in loaded.notes[0]


MIXED: dict[str, list[tuple[str, str, int]]] = {
    "JPEG and PNG": [("jpg", "seg.png", 0), ("png", "seg.png", 1), ("JPG", "seg.png", 2)],
    "masks of two formats": [("jpg", "mask.png", 0), ("png", "mask.tif", 1)],
    "named as images": [("image.webp", "label.png", 2), ("image.png", "label.png", 1)],
}


@pytest.mark.parametrize("case", MIXED)
def test_images_of_several_endings_are_read_where_no_sample_has_two(
    tmp_path: Path, case: str
) -> None:
    forms = {"jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "png": "PNG"}
    members = {}
    for i, (image, mask_, value) in enumerate(MIXED[case]):
        form = forms[image.rpartition(".")[2].lower()]
        members[f"{i}.{image}"] = encoded(flat(10 * i), form)
        label = flat(value)[..., 0]
        members[f"{i}.{mask_}"] = encoded(label, forms[mask_.rpartition(".")[2]])
    path = write(tmp_path / "a.tar", members)
    read = loading.read_labelled(source(path), 8)
    assert read.masks[:, 0, 0].tolist() == [value for *_, value in MIXED[case]]
    assert [round(int(v) / 10) for v in read.images[:, 0, 0, 0]] == list(range(len(read)))
    assert len(loading.read_images(source(path), 8)) == len(read)


def test_images_alone_may_be_jpegs_and_pngs(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", {"a.jpg": encoded(flat(1), "JPEG"), "b.png": png(20)})
    assert loading.read_images(source(path), 8)[:, 0, 0, 0].tolist() == [1, 20]
    assert "no masks among 1 .jpg, 1 .png" in only_problem(source(path))


def test_of_several_endings_that_are_named_the_first_that_a_sample_has_is_read(
    tmp_path: Path,
) -> None:
    members = {"a.jpg": encoded(flat(1), "JPEG"), "a.webp": encoded(flat(90), "WEBP")}
    path = write(tmp_path / "a.tar", {**members, "b.webp": encoded(flat(50), "WEBP")})
    assert ".jpg, .webp may be the images" in only_problem(source(path), labelled=False)
    images = loading.read_images(source(path, image_ending=("webp", ".jpg")), 8)
    assert images[:, 0, 0, 0].tolist() == [90, 50]
    images = loading.read_images(source(path, image_ending=["jpg", "webp"]), 8)
    assert images[:, 0, 0, 0].tolist() == [1, 50]


def test_the_first_so_many_samples_are_counted_without_those_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", {"0.png": png(1), **pairs_of("1", "2", "3")})
    read = loading.read_labelled(source(path, unpaired="skip", num=2), 8)
    assert read.names == ("1", "2")


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("in_one", [True, False])
def test_masks_in_a_folder_of_their_own_are_not_read_as_images(
    tmp_path: Path, labelled: bool, in_one: bool
) -> None:
    images = {f"images/{i}.png": png(i) for i in range(3)}
    masks = {f"masks/{i}.png": mask(i) for i in range(3)}
    if in_one:
        (tmp_path / "data.tar").write_bytes(tar(images | masks))
    else:
        (tmp_path / "images.tar").write_bytes(tar(images))
        (tmp_path / "masks.tar").write_bytes(tar(masks))
    problem = only_problem(WebdatasetSource(url=str(tmp_path), classes=NAMES), labelled=labelled)
    assert "masks of the images in other folders" in problem and "kind: pairs" in problem


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("of_image", ["{}_img", "{}", "image-{}"])
@pytest.mark.parametrize("of_mask", ["{}_mask", "gt-{}"])
def test_masks_that_a_word_tells_from_images_are_not_read_as_images(
    tmp_path: Path, labelled: bool, of_image: str, of_mask: str
) -> None:
    members = {f"{of_image.format(i)}.png": png(i) for i in range(3)}
    members |= {f"{of_mask.format(i)}.png": mask(i) for i in range(3)}
    (tmp_path / "data.tar").write_bytes(tar(members))
    problem = only_problem(WebdatasetSource(url=str(tmp_path), classes=NAMES), labelled=labelled)
    assert "masks of images that are called alike" in problem and "kind: pairs" in problem


def test_masks_may_lie_in_folders_that_say_so_if_their_images_do_too(tmp_path: Path) -> None:
    members = {f"segmentation/{i}.png": png(i) for i in range(3)}
    members |= {f"segmentation/{i}.seg.png": mask(i) for i in range(3)}
    (tmp_path / "masks.tar").write_bytes(tar(members))
    found = loading.read_labelled(WebdatasetSource(url=str(tmp_path), classes=NAMES), 8)
    assert len(found) == 3
