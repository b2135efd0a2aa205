"""Claims about JSON that is read element by element."""

import json
from typing import Any

import pytest

from factory.data.drawn import json_parts


def test_lists_come_by_element_and_all_else_whole() -> None:
    content: dict[str, Any] = {"a": [1, {"b": [2]}], "c": {"d": []}, "e": [], "f": None, "g": [[3]]}
    for indent in (None, 1):
        text = " " + json.dumps(content, indent=indent) + "\n"
        found = list(json_parts.parts(text))
        values = [(key, value) for key, value, _ in found]
        assert values == [("a", 1), ("a", {"b": [2]}), ("c", {"d": []}), ("f", None), ("g", [3])]
        assert all(json_parts.value_at(text, start) == value for _, value, start in found)
    assert not list(json_parts.parts("{}"))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a"', '{"a":', '{"a":[1 2]}', '{"a":1 "b":2}'])
def test_what_is_no_json_raises_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        list(json_parts.parts(text))
