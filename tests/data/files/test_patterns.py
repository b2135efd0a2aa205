"""Claims about patterns: which names they mean, and what their placeholders stand for."""

import pytest

from factory.data.files.patterns import Names, parse_images, parse_masks


@pytest.mark.parametrize(
    ("pattern", "name", "stem", "dir"),
    [
        ("*.png", "a.b.png", "a.b", ""),
        ("*.png", "a.PNG", "a", ""),
        ("*_rgb.png", "a_1_rgb.png", "a_1", ""),
        ("x_*_rgb.png", "x_1_rgb.png", "1", ""),
        ("x_*-*_rgb.png", "x_1-2_rgb.png", "1-2", ""),
        ("*", "a.b.png", "a.b", ""),
        ("*.*", "a.b.png", "a.b", ""),
        ("x_*", "x_1.jpg", "1", ""),
        ("x_*.*", "x_1.jpg", "1", ""),
        ("**/*.png", "a.png", "a", ""),
        ("**/*.png", "b/c/a.png", "a", "b/c"),
        ("**/rgb/*.png", "b/c/rgb/a.png", "a", "b/c"),
        ("*/rgb/*.png", "b/rgb/a.png", "a", "b"),
        ("*/x/**/*.png", "b/x/c/d/a.png", "a", "b/x/c/d"),
        ("s_*/*.png", "s_1/a.png", "a", "s_1"),
        ("**/image.png", "b/image.png", "image", "b"),
        ("", "b/a.png", "a", "b"),
    ],
)
def test_a_pattern_of_images_means_a_name_by_its_stem_and_folders(
    pattern: str, name: str, stem: str, dir: str
) -> None:
    found = parse_images(pattern).match(name)
    file = name.rpartition("/")[2]
    folder = name.rpartition("/")[0]
    assert found == Names(stem, file.rpartition(".")[0], file, dir, folder)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*.png", "a.jpg"),
        ("*.png", "b/a.png"),
        ("*_rgb.png", "a_RGB.png"),
        ("*/a.png", "a.png"),
        ("*/*.png", "b/c/a.png"),
        ("**/rgb/*.png", "b/xrgb/a.png"),
        ("[ab].?*", "a.png"),
    ],
)
def test_a_pattern_means_no_other_names(pattern: str, name: str) -> None:
    assert parse_images(pattern).match(name) is None


def test_the_folder_above_all_files_of_a_pattern_has_no_wildcards() -> None:
    assert parse_images("./a//b/**/c/*.png").below == "a/b"
    assert parse_images("a/*.png").below == "a" and parse_images("*.png").below == ""
    assert parse_images("a/b/").below == "a/b" and parse_images(".").below == ""
    assert parse_masks("a/b/{dir}/c/{stem}.png").below == "a/b"
    assert parse_masks("a/b").below == "a/b" and parse_masks("{stem}.png").below == ""


IMAGE = Names("7", "7_rgb", "7_rgb.png", "c/d", "b/c/d")


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{stem}_mask.png", "7_mask.png"),
        ("{stem}_mask.png", "7_mask.PNG"),
        ("{stem}.*", "7.bmp"),
        ("{stem}_mask", "7_mask.png"),
        ("{stem}", "7.png"),
        ("{stem}_*", "7_a.b.png"),
        ("{name}.png", "7_rgb.png"),
        ("{file}.png", "7_rgb.png.png"),
        ("{dir}/{file}_mask.*", "c/d/7_rgb.png_mask.bmp"),
        ("{dir}/{stem}.png", "c/d/7.png"),
        ("{dir}/{stem}/{stem}.png", "c/d/7/7.png"),
        ("{dir}_masks/{stem}.png", "c/d_masks/7.png"),
        ("{stem:05}_*.png", "00007_x.png"),
        ("*/{stem:03}.png", "any/007.png"),
        ("**/{stem}.png", "7.png"),
        ("**/{stem}.png", "x/y/7.png"),
    ],
)
def test_a_mask_is_that_of_the_image_whose_names_it_holds(pattern: str, name: str) -> None:
    parsed = parse_masks(pattern)
    assert (parsed.key(IMAGE), "") in list(parsed.keys(name))
    assert "{" not in parsed.wanted(IMAGE)
    if "*" not in parsed.wanted(IMAGE):
        assert parsed.wanted(IMAGE).lower() == name.lower()


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{stem}_mask.png", "8_mask.png"),
        ("{stem}_mask.png", "7_mask.png.png"),
        ("{stem}.*", "7.a.png"),
        ("{dir}/{stem}.png", "c/7.png"),
        ("{stem}/{stem}.png", "7/8.png"),
        ("{stem:05}.png", "0007.png"),
        ("*/{stem}.png", "a/b/7.png"),
    ],
)
def test_a_mask_is_no_other_images(pattern: str, name: str) -> None:
    parsed = parse_masks(pattern)
    assert (parsed.key(IMAGE), "") not in list(parsed.keys(name))


def test_an_image_without_a_number_has_no_mask_with_leading_zeros() -> None:
    assert parse_masks("{stem:05}.png").key(IMAGE._replace(stem="a")) is None


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("/masks/{stem}.png", "without a slash before it"),
        ("{stem}**.png", r"\*\* stands for folders"),
        ("masks/**", r"\*\* stands for folders"),
        ("{stm}.png", r"\{stm\} is unknown. Known are \{stem\}, \{name\}, \{file\}, "),
        ("{dir:05}/{stem}.png", "is unknown"),
        ("{file:05}.png", "is unknown"),
        ("{stem.png", r"a \{ without its partner"),
        ("stem}.png", r"a \} without its partner"),
        ("{part:05}/{stem}.png", "is unknown"),
        ("{part}/{stem}_{part}.png", "has {part} more than once"),
        ("masks/{part}.png", "says of no mask which image it belongs to. Write {stem}"),
        ("masks/*.png", "says of no mask which image it belongs to"),
    ],
)
def test_a_pattern_of_masks_that_cannot_be_meant_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_masks(pattern)


def test_placeholders_in_a_pattern_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\{\} stand in `masks` alone. Write \*"):
        parse_images("{stem}.png")
