"""Folders whose images and masks do not come together: all problems are named at once."""

import os
from collections.abc import Callable
from pathlib import Path

from tests.bad_inputs.cases import (
    IMAGE,
    MASK,
    Case,
    Problem,
    case,
    encoded,
    files,
    ids,
    noise,
    put,
    table,
)

CLASSES = ["background", "thing"]
DEEP = "[" * 100_000


def pairs(folder: Path, *names: str, classes: object = CLASSES) -> Path:
    put(folder, "classes.json", classes)
    for i, name in enumerate(names or ("a", "b")):
        put(folder, f"images/{name}.png", encoded(noise(seed=i)))
        put(folder, f"masks/{name}.png", MASK)
    return folder


def without_mask(folder: Path) -> None:
    (pairs(folder) / "masks/a.png").unlink()


def without_image(folder: Path) -> None:
    (pairs(folder) / "images/a.png").unlink()


def same_stem(part: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        put(pairs(folder), f"{part}/a.PNG", MASK if part == "masks" else IMAGE)

    return make


def other_case(folder: Path) -> None:
    (pairs(folder, "IMG") / "masks/IMG.png").rename(folder / "masks/img.png")


def hidden_masks(folder: Path) -> None:
    (pairs(folder, "a") / "masks/a.png").rename(folder / "masks/._a.png")


def no_masks_folder(folder: Path) -> None:
    pairs(folder, "a")
    (folder / "masks/a.png").unlink()
    (folder / "masks").rmdir()


def endless(folder: Path) -> None:
    """Links that lead round in circles, and no masks."""
    pairs(folder, "a")
    (folder / "images/round").symlink_to("../images")
    (folder / "masks/a.png").unlink()
    (folder / "masks/round").symlink_to("round")


def five_problems(folder: Path) -> None:
    pairs(folder, *"abcdef")
    (folder / "masks/a.png").unlink()
    (folder / "images/b.png").unlink()
    put(folder, "images/c.bmp", encoded(noise(), "BMP"))
    put(folder, "images/d.png", b"")
    put(folder, "masks/e.png", encoded(ids(value=9)))


CLASS_FILE = "/classes.json"
NAMED = [
    case(
        "an image without a mask",
        without_mask,
        ("/images/a.png", "has no mask a.png", "Add it, list the images to use in names_url"),
    ),
    case(
        "a mask without an image",
        without_image,
        ("/masks/a.png", "mask without an image", "Add the image, remove the mask"),
    ),
    case(
        "two images of one stem",
        same_stem("images"),
        ("/images/a.PNG, ", "have the same stem a", "Keep one"),
    ),
    case(
        "two masks of one stem",
        same_stem("masks"),
        ("/masks/a.PNG, ", "have the same stem a", "Keep one"),
    ),
    case(
        "a name in other case",
        other_case,
        ("/images/IMG.png", "has no mask IMG.png", "Did you mean img.png?"),
        ("/masks/img.png", "mask without an image", "remove the mask"),
    ),
    case(
        "masks that are hidden", hidden_masks, ("/masks", "no masks in it", "Put the masks there")
    ),
    case(
        "no folder of masks", no_masks_folder, ("/masks", "no such folder", "Put the masks there")
    ),
    case(
        "links that lead round in circles",
        endless,
        ("/masks", "no masks in it", "Put the masks there"),
    ),
    case(
        "five problems at once",
        five_problems,
        ("/images/a.png", "has no mask", "Add it"),
        ("/masks/b.png", "without an image", "remove"),
        ("/images/c.bmp, ", "same stem c", "Keep one"),
        ("/images/d.png", "empty", "Replace"),
        ("/masks/e.png", "ids 9", "Renumber"),
    ),
    case(
        "a file in place of the folder",
        lambda folder: put(folder.parent, folder.name, "x"),
        (CLASS_FILE, "cannot be read", "must be a file of class names"),
        ("/pairs", "is a file", "Name the folder"),
    ),
    case(
        "images in another folder",
        lambda folder: pairs(folder).joinpath("images").rename(folder / "photos"),
        ("/images", "no such folder", "set `images:` to the right one"),
    ),
]


def classes(name: str, content: object, what: str, remedy: str) -> Case:
    return case(
        f"classes: {name}",
        lambda folder: pairs(folder, classes=content),
        (CLASS_FILE, what, remedy),
    )


def no_classes(folder: Path) -> None:
    (pairs(folder) / "classes.json").unlink()


def folder_of_classes(folder: Path) -> None:
    no_classes(folder)
    (folder / "classes.json").mkdir()


TABLE = "is no object of ids and names, and no list of names"
FORM = 'Write {"0": "background"'
CLASSES_FILES = [
    classes("no JSON", '["background", "thing"', "not JSON", FORM),
    classes("no classes", "background, thing", TABLE, FORM),
    classes("empty", b"", "is empty", FORM),
    classes("binary", b"\xff\xfe\0", "cannot be read", "must be a file of"),
    classes("nested without end", DEEP, "recursion depth", "must be a file of"),
    classes("one id twice", {"a": 1, "b": 1}, "claimed by class a and by", "Keep it in"),
    classes("ignored pixels", {"0": "a", "255": "void"}, "void has the id 255", 'Leave "255" out'),
    classes("one in a model's config", {"id2label": {"0": "a"}, "x": 1}, "needs 2", FORM),
    classes("names for ids", {"a": "cat", "b": "dog"}, "whole numbers, each with", FORM),
    classes("no name", {"0": "a", "1": " "}, "id 1 has no name", FORM),
    classes("no names", ["", "a", ""], "id 0, 2 has no name", FORM),
    classes("an id twice", '{"0": "a", "0": "b"}', "occurs twice", 'Write {"0"'),
    classes("a name twice", ["a", "a"], "a is the name of several ids", "another name"),
    classes("only one", ["a"], "needs 2 to 255 classes", FORM),
    classes("too many", [str(i) for i in range(256)], "needs 2 to 255 classes", FORM),
    classes("none", [], "needs 2 to 255 classes", FORM),
    classes("names that are no text", [True, False], TABLE, FORM),
    classes("a number", 5, TABLE, FORM),
    case("classes: missing", no_classes, (CLASS_FILE, "No such file", "must be a file of")),
    case("classes: a folder", folder_of_classes, (CLASS_FILE, "Is a dir", "must be a file of")),
]


def names(name: str, content: object, *words: Problem) -> Case:
    return case(f"names: {name}", lambda folder: put(pairs(folder), "names.json", content), *words)


NAMES_FILE = "/names.json"
LIST = "must be a JSON list of image file names"
NAMES_FILES = [
    names(
        "a file that is not there", ["c.png"], (NAMES_FILE, "names c.png, which is not in", "end")
    ),
    names("a path out of the folder", ["../masks/a.png"], (NAMES_FILE, "which is not in", "names")),
    names("an absolute path", ["/etc/passwd"], (NAMES_FILE, "which is not in", "Names are file")),
    names("one twice", ["a.png", "a.png"], (NAMES_FILE, "names a.png 2 times", "Name it once")),
    names("several lists", {"x": ["a.png"]}, (NAMES_FILE, "holds the lists x", "Set names_key")),
    names("no names", [], (NAMES_FILE, "expected a list", "one or more file names")),
    names("numbers", [1], (NAMES_FILE, "expected a list", "one or more file names")),
    names("no JSON", "a.png", (NAMES_FILE, "cannot be read", LIST)),
    names("binary", b"\xff\xfe\0", (NAMES_FILE, "cannot be read", LIST)),
    names("nested without end", DEEP, (NAMES_FILE, "recursion depth", LIST)),
    names(
        "three strangers",
        ["x", "y", "a.png", "z"],
        (NAMES_FILE, "names x,", "file names", "The same is true of 2 others: y, z"),
    ),
]


def fit(folder: Path, **more: str) -> list[str]:
    source = {"kind": "pairs", "url": folder, "classes_url": folder / "classes.json", **more}
    text = ", ".join(f"{key}: {value}" for key, value in source.items())
    return [
        "fit",
        "--dry-run",
        "--out",
        "ensemble",
        "--ddpm=toy",
        f"--set=data.labelled={{{text}}}",
    ]


@table(NAMED + CLASSES_FILES)
def test_pairs_that_do_not_come_together_stop_a_fit(
    case: Case, refused: Callable[..., None], folder: Path
) -> None:
    case.make(folder / "pairs")
    refused(case, *fit(folder / "pairs"))


@table(NAMES_FILES)
def test_lists_of_names_that_lead_nowhere_stop_a_fit(
    case: Case, refused: Callable[..., None], folder: Path
) -> None:
    case.make(folder / "pairs")
    refused(case, *fit(folder / "pairs", names_url=f"{folder}/pairs/names.json"))


def loop(folder: Path) -> None:
    folder.mkdir()
    (folder / "round").symlink_to(".")


FOLDERS = [
    case("nothing", lambda folder: None, ("/photos", "no such folder", "Check the url")),
    case("an empty folder", os.mkdir, ("/photos", "no images in it", "Put the images there")),
    case(
        "a file",
        lambda folder: put(folder.parent, "photos", IMAGE),
        ("/photos", "is a file", "Name the folder"),
    ),
    case(
        "other formats",
        files(a_dcm=b"x", b_heic=b"x", c_txt=b"x"),
        ("/photos", "no images in it", ".png .jpg .jpeg .jfif .webp .bmp .tif"),
    ),
    case(
        "hidden files alone",
        lambda folder: put(folder, "._a.png", IMAGE),
        ("/photos", "no images in it", "Put the images there"),
    ),
    case("a link to itself", loop, ("/photos", "no images in it", "Put the images there")),
    case("pairs", pairs, ("/photos", "would read masks as images", "Use kind: pairs")),
]


@table(FOLDERS)
def test_folders_without_images_stop_a_training(
    case: Case, refused: Callable[..., None], folder: Path
) -> None:
    case.make(folder / "photos")
    source = f"{{kind: folder, url: {folder}/photos}}"
    arguments = "--out=run", "--set=preset=32px", f"--set=data.unlabelled={source}"
    refused(case, "train", "--dry-run", *arguments)


def evaluate(folder: Path) -> list[str]:
    """On the toy domain's models."""
    models = "--ddpm=toy", "--ensemble=toy"
    source = f"{{kind: pairs, url: {folder}, classes_url: {folder}/classes.json}}"
    return ["evaluate", "--dry-run", "--out", "scores", *models, f"--set=data.test={source}"]


def test_test_images_of_other_classes_stop_an_evaluation(
    refused: Callable[..., None], folder: Path
) -> None:
    words = "data.test", "not those that the ensemble was fitted on", "Name the matching ensemble"
    refused(case("other classes", pairs, words), *evaluate(pairs(folder / "pairs")))


def test_test_images_among_the_training_images_stop_an_evaluation(
    refused: Callable[..., None], folder: Path
) -> None:
    same = (
        "--set=data.labelled={kind: toy, num: 3, seed: 3}",
        "--set=data.test={kind: toy, num: 2, seed: 3}",
    )
    words = "data.test: all of its 2 images", "of data.labelled, too (toy-3-0", "Name another place"
    refused(case("overlap", pairs, words), "evaluate", "--dry-run", "--out", "scores", *same)


def test_a_folder_cannot_label(refused: Callable[..., None], folder: Path) -> None:
    put(folder, "photos/a.png", IMAGE)
    words = "/photos", "kind folder has no masks", "Use kind: pairs"
    refused(
        case("no masks", pairs, words),
        "fit",
        "--dry-run",
        "--out=ensemble",
        "--ddpm=toy",
        f"--set=data.labelled={{kind: folder, url: {folder}/photos}}",
    )
