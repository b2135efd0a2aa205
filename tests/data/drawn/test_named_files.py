"""Claims about files that are found by the names that annotations have for them."""

from factory.data.drawn.named_files import NamedFiles, leaves

FILES = NamedFiles(["a/1.png", "b/1.png", "b/c/2.png", "3.png", "\u00e4.png"])


def test_names_are_paths_or_end_as_they_do() -> None:
    assert FILES.find("a/1.png") == FILES.find("1.png", "a") == ["a/1.png"]
    assert FILES.find("/mnt/data/b/1.png") == FILES.find("..\\b\\1.png") == ["b/1.png"]
    assert FILES.find("2.png") == FILES.find("x/2.png") == ["b/c/2.png"]
    assert FILES.find("a\u0308.png") == ["\u00e4.png"]


def test_names_that_may_mean_several_files_or_none_find_as_many() -> None:
    assert FILES.find("1.png") == ["a/1.png", "b/1.png"]
    assert FILES.find("4.png") == FILES.find("") == FILES.find("..") == []


def test_names_that_lead_out_of_the_tree_are_known() -> None:
    assert leaves("../1.png") and leaves("a\\..\\..\\1.png") and leaves("../../1.png", "a")
    assert not leaves("../1.png", "a") and not leaves("a/../1.png")
