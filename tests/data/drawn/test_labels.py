"""Claims about labels of shapes, and the classes that they become."""

from pathlib import Path

import pytest

from factory.classes import IGNORE_ID
from factory.data.classes.class_forms import parse_rules
from factory.data.classes.class_rules import Rule
from factory.data.drawn import labels
from factory.data.kinds.pairs import PairsSource
from factory.errors import UserError
from tests.data.inputs import problems_of


def test_labels_are_classes_behind_the_background() -> None:
    found = labels.of_labels(["car", "ground", "bus"], "ground", "here")
    assert found.classes.names == ("ground", "car", "bus")
    assert found.id_of == {"__ignore__": IGNORE_ID, "ground": 0, "car": 1, "bus": 2}


def test_labels_that_are_ignored_are_no_classes() -> None:
    found = labels.of_labels(["car", "bus"], "ground", "here", {"bus": 1}, Rule(labels=("bus",)))
    assert found.classes.names == ("ground", "car") and found.id_of["bus"] == IGNORE_ID
    with pytest.raises(UserError, match=r"`ignore` names the labels buss, but there are bus, car"):
        labels.of_labels(["car", "bus"], "ground", "here", {}, Rule(labels=("buss",)))
    with pytest.raises(UserError, match=r"`ignore: \{labels: \[\.\.\.\]\}`"):
        labels.of_labels(["car"], "ground", "here", {}, Rule(ids=(3,)))


def test_labels_of_shapes_that_are_not_listed_are_refused_or_ignored() -> None:
    with pytest.raises(UserError, match=r"the labels tram \(3 shapes\) are of no class"):
        labels.of_labels(["car"], "ground", "here", {"tram": 3})
    ignored = Rule(labels=("tram",))
    assert labels.of_labels(["car"], "ground", "here", {"tram": 3}, ignored).id_of["tram"] == 255


def test_without_labels_there_are_no_classes() -> None:
    with pytest.raises(UserError, match=r"here: has 0 labels.*Name the classes in `classes:`"):
        labels.of_labels([], "background", "here")


def test_the_names_of_labelmes_lists_mean_background_and_ignored() -> None:
    rules = parse_rules(["__ignore__", "car", "_background_"], "here")
    found = labels.of_rules(rules, {"car": 2, "_background_": 1, "__ignore__": 1}, "here")
    assert found.classes.names == ("_background_", "car")
    assert found.id_of == {"__ignore__": IGNORE_ID, "_background_": 0, "car": 1}


def test_a_class_with_labels_is_not_its_own_label() -> None:
    rules = parse_rules(["ground", {"name": "car", "labels": "auto"}], "here")
    assert labels.of_rules(rules, {"auto": 1}, "here").id_of["auto"] == 1
    with pytest.raises(UserError, match=r"the labels car \(3 shapes\) are of no class"):
        labels.of_rules(rules, {"car": 3}, "here")


def test_a_label_of_two_classes_is_refused() -> None:
    form = ["ground", {"name": "a", "labels": ["x"]}, {"name": "b", "labels": ["x"]}]
    with pytest.raises(UserError, match="label x is claimed by class a and by class b"):
        parse_rules(form, "here")


def test_ignored_values_are_refused_where_shapes_have_labels() -> None:
    rules = parse_rules({"classes": ["ground", "car"], "ignore": {"ids": [3]}}, "here")
    with pytest.raises(UserError, match=r"`ignore: \{labels: \[\.\.\.\]\}`"):
        labels.of_rules(rules, {}, "here")


def test_labels_are_refused_where_masks_have_values(tmp_path: Path) -> None:
    classes = [{"name": "ground"}, {"name": "car", "labels": ["auto"]}]
    source = PairsSource(url=str(tmp_path), classes=classes)
    message = problems_of(source)[0]
    assert "labels are those of shapes, but masks of kind pairs have values" in message
