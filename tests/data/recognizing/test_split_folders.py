"""Claims about folders that say a split, and patterns that mean one split alone."""

import pytest

from factory.data.recognizing.split_folders import by_split, narrowed


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["train/images", "val/images"], ["train", "val"]),
        (["images/train2017", "images/val2017"], ["train2017", "val2017"]),
        (["set_train/a", "set_train/b", "set_test/c"], ["train", "train", "test"]),
        (["Data/Training Set", "Data/b. Testing Set"], ["Training", "Testing"]),
        (["TrainVal_images/train_images"], ["train"]),
        (["train_val/images", "TEST/images"], ["train_val", "TEST"]),
        (["traincrop", "valcrop", "testset"], ["train", "val", None]),
        (["trainer/a", "valley/b", "contest/c", "latest"], [None] * 4),
        (["train/1", "train/test/2"], ["train", "test"]),
    ],
)
def test_the_word_for_a_split_is_found_in_folders(
    folders: list[str], words: list[str | None]
) -> None:
    files = [f"{folder}/test_{i}.png" for i, folder in enumerate(folders)]
    found = {name: word for word, names in by_split(files).items() for name in names}
    assert [found.get(name) for name in files] == words


@pytest.mark.parametrize(
    ("keys", "images", "masks", "narrow"),
    [
        (
            ("**/*.jpg", "{dir}/{stem}_gt.png"),
            ["a/1.jpg", "a/2.jpg"],
            ["a/1_gt.png"],
            ("a/*.jpg", "a/{stem}_gt.png"),
        ),
        (
            ("**/*.jpg", "{dir}_gt/{stem}.png"),
            ["s/a/1.jpg", "s/b/2.jpg"],
            ["s/a_gt/1.png", "s/b_gt/2.png"],
            ("s/**/*.jpg", "s/{dir}_gt/{stem}.png"),
        ),
        (
            ("**/rgb/*.jpg", "{dir}/gt/{stem}.png"),
            ["s/a/rgb/1.jpg", "s/b/rgb/2.jpg"],
            ["s/a/gt/1.png", "s/b/gt/2.png"],
            ("s/**/rgb/*.jpg", "s/{dir}/gt/{stem}.png"),
        ),
        (
            ("x/**/*.jpg", "y/**/{stem}.png"),
            ["x/s/1.jpg", "x/s/2.jpg"],
            ["y/s/a/1.png", "y/s/b/2.png"],
            ("x/s/*.jpg", "y/s/**/{stem}.png"),
        ),
        (("*.jpg", "{stem}.png"), ["1.jpg"], ["1.png"], ("*.jpg", "{stem}.png")),
    ],
)
def test_patterns_begin_with_the_folders_that_files_have_in_common(
    keys: tuple[str, str], images: list[str], masks: list[str], narrow: tuple[str, str]
) -> None:
    found = narrowed({"images": keys[0], "masks": keys[1], "unpaired": "skip"}, images, masks)
    assert found == {"images": narrow[0], "masks": narrow[1]}
