"""Claims about the names of masks beside those of their images."""

import pytest

from factory.data.recognizing.name_words import decorations, mask_word


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("images_png", ""),
        ("masks_png", "masks"),
        ("5_Labels_all", "labels"),
        ("SegmentationClass", "segmentation"),
        ("photomask", "photomask"),
        ("unmasked", ""),
    ],
)
def test_a_word_of_a_name_says_mask(name: str, word: str) -> None:
    assert mask_word(name) == word


def test_words_that_many_names_have_and_that_say_no_mask_may_be_the_images_own() -> None:
    names = [f"{i}_{word}.png" for i in range(4) for word in ("sat", "mask", "dsm")]
    assert ("", "_sat") in decorations(names) and ("", "_dsm") in decorations(names)
    assert ("", "_mask") not in decorations(names)
    assert ("rgb-", "") in decorations([f"{w}-{i}.png" for i in range(4) for w in ("rgb", "gt")])
