"""Claims about the names of mask files."""

import pytest

from factory.errors import DamagedShard
from factory.shards import mask_files


@pytest.mark.parametrize(
    ("names", "shared", "shared_with_endings"),
    [
        (["a.jpg", "b.jpg", "sub/a.jpg"], [], []),
        (["a.jpg", "a.png"], ["masks/a.png"], []),
        (["a.jpg", "a.png/x.jpg", "a.png/y.jpg"], ["masks/a.png"], []),
        (["a.jpg", "a.png/x/y.jpg"], ["masks/a.png"], []),
        (["s/a.jpg", "s/a.jpg.png/b.jpg"], [], ["masks/s/a.jpg.png"]),
    ],
)
def test_masks_share_a_name_with_each_other_and_with_the_folders_of_others(
    names: list[str], shared: list[str], shared_with_endings: list[str]
) -> None:
    for with_ending, wanted in ((False, shared), (True, shared_with_endings)):
        paths = [mask_files.path_of(name, with_ending) for name in names]
        assert mask_files.shared(paths) == wanted


@pytest.mark.parametrize("name", ["/a.png", "../a.png", ".a.png", "", "sub/.a/b.png"])
def test_a_mask_has_no_name_that_is_hidden_or_leaves_its_folder(name: str) -> None:
    with pytest.raises(DamagedShard, match="none of a file below a folder"):
        mask_files.path_of(name, with_ending=False)


def test_a_mask_has_no_name_that_no_disk_takes() -> None:
    letters = "\N{LATIN SMALL LETTER E WITH ACUTE}" * 125
    name = f"sub/{letters}.png"
    assert mask_files.path_of(name, with_ending=False) == f"masks/{name}"
    with pytest.raises(DamagedShard, match="more than 255 bytes"):
        mask_files.path_of(name, with_ending=True)
