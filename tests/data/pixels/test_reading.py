"""Claims about factory.data.pixels.reading: the keys by which files are read."""

from factory.data.pixels.reading import DEFAULT_READING, Reading


def test_plans_and_caches_of_older_versions_know_files_by_the_same_keys() -> None:
    assert DEFAULT_READING.facts == {
        "intensity": None,
        "exif": "apply",
        "fit": "crop",
        "tile_size": None,
    }
    assert Reading(frames="first").facts == {**DEFAULT_READING.facts, "frames": "first"}
