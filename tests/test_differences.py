from factory.differences import differences, flatten


def test_every_value_that_differs_is_told_with_its_place() -> None:
    there = {"a": {"b": 1, "c": [1]}, "d": 2, "f": 1}
    here = {"a": {"b": 1, "c": [2]}, "e": None, "f": 1.0}
    assert differences(there, here) == [
        "a.c.0: there 1, here 2",
        "d: there 2, here nothing",
        "f: there 1, here 1.0",
        "e: there nothing, here null",
    ]
    assert differences(there, there) == []


def test_a_nested_value_is_flattened_to_its_dotted_places() -> None:
    assert flatten({"a": [1, {"b": 2}], "c": {}}) == {"a.0": 1, "a.1.b": 2, "c": {}}
