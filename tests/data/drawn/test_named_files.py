"""Claims about files that are found by the names that annotations have for them."""

from factory.data.drawn.named_files import NamedFiles

FILES = NamedFiles(["a/1.png", "b/1.png", "b/c/2.png", "3.png", "\u00e4.png"])


def test_names_are_paths_or_end_as_they_do() -> None:
    assert FILES.find("a/1.png") == FILES.find("1.png", "a") == ["a/1.png"]
    assert FILES.find("/mnt/data/b/1.png") == FILES.find("..\\b\\1.png") == ["b/1.png"]
    assert FILES.find("2.png") == FILES.find("x/2.png") == ["b/c/2.png"]
    assert FILES.find("a\u0308.png") == ["\u00e4.png"]


def test_names_that_may_mean_several_files_or_none_find_as_many() -> None:
    assert FILES.find("1.png") == ["a/1.png", "b/1.png"]
    assert FILES.find("4.png") == FILES.find("") == FILES.find("..") == []


def test_a_name_counts_from_its_folder_then_from_the_root_and_never_leads_out() -> None:
    assert FILES.find("../1.png", "b/c") == ["b/1.png"] and FILES.find("3.png", "b") == ["3.png"]
    assert FILES.find("../../../3.png", "a") == ["3.png"], "which is a file of the tree"


def test_a_url_names_what_follows_its_host() -> None:
    assert FILES.find("https://host/x/b/1.png?size=2#top") == ["b/1.png"]
    assert FILES.find("s3://bucket/%C3%A4.png") == ["\u00e4.png"]
    assert FILES.find("http://[host/b/1.png") == ["b/1.png"], "though it is no URL"
