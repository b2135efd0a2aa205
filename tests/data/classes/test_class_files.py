"""Claims about factory.data.classes.class_files and class_forms: how people write classes."""

import json
import re
from pathlib import Path

import pytest

from factory.classes import distinct_colors
from factory.data.classes.class_files import read_rules
from factory.data.classes.class_forms import Ignored, parse_rules
from factory.data.classes.class_rules import NO_RULE, ClassRules, Rule
from factory.errors import UserError

NAMES = ("ground", "disc", "bar")
POSITIONS = (NO_RULE,) * 3
IDS = (Rule(ids=(0,)), Rule(ids=(1,)), Rule(ids=(2,)))
GAPS = (Rule(ids=(1,)), Rule(ids=(7,)), Rule(ids=(300,)))
COLORS = (
    Rule(colors=((0, 0, 0),)),
    Rule(colors=((250, 50, 83),)),
    Rule(colors=((51, 221, 255),)),
)
LABELMAP = (
    "# label:color_rgb:parts:actions\nground:0,0,0::\ndisc:250,50,83:head,tail:jump\n"
    "bar:51,221,255::\n"
)
YAML = """
classes:
  - {name: ground, ids: 1}
  - name: disc
    ids: [7]
  - {name: bar, ids: [300], color: "#ff8000"}
ignore: {ids: [0]}
"""

FORMS = {
    "a JSON list": ("c.json", '["ground", "disc", "bar"]', POSITIONS),
    "a JSON object": ("c.json", '{"1": "disc", "0": "ground", "2": "bar"}', IDS),
    "gaps": ("c.json", '{"300": "bar", "1": "ground", "7": "disc"}', GAPS),
    "names before ids": ("c.json", '{"bar": 300, "ground": 1, "disc": 7}', GAPS),
    "a model's config": (
        "c.json",
        json.dumps({"x": 1, "id2label": {"1": "ground", "7": "disc", "300": "bar"},
                    "label2id": {"ground": 1, "disc": 7, "bar": 300}}),
        GAPS,
    ),
    "label2id alone": ("c.json", '{"label2id": {"ground": 1, "disc": 7, "bar": 300}}', GAPS),
    "objects": (
        "c.json",
        '[{"name": "ground", "ids": [1]}, {"name": "disc", "ids": 7}, {"name": "bar", "id": 300}]',
        GAPS,
    ),
    "names and objects": (
        "c.json",
        '["ground", {"name": "disc", "above": 100}, {"name": "bar", "above": 200.5}]',
        (NO_RULE, Rule(above=100), Rule(above=200.5)),
    ),
    "YAML": ("c.yaml", YAML, GAPS),
    "YAML of names": ("c.yaml", "- ground\n- disc\n- bar\n", POSITIONS),
    "YAML of ids": ("c.yml", "1: ground\n7: disc\n300: bar\n", GAPS),
    "a YAML list on one line": ("c.yaml", "[ground, disc, bar]", POSITIONS),
    "lines": ("c.txt", "ground\ndisc\nbar\n", POSITIONS),
    "lines with blanks": ("c.txt", "\ufeff\nground \r\n\r\n disc\r\nbar", POSITIONS),
    "numbered lines": ("c.txt", "7 disc\n1 ground\n300 bar\n", GAPS),
    "numbered lines with colons": ("c.txt", "1: ground\n7: disc\n300: bar\n", GAPS),
    "numbered lines with commas": ("c.txt", "1,ground\n7,disc\n300,bar\n", GAPS),
    "lines without an ending": ("names", "ground\ndisc\nbar\n", POSITIONS),
    "CVAT": ("labelmap.txt", LABELMAP, COLORS),
    "CVAT on Windows": ("labelmap.txt", "\ufeff" + LABELMAP.replace("\n", "\r\n"), COLORS),
    "colours in JSON": (
        "c.json",
        '[{"name": "ground", "colors": [0, 0, 0]}, {"name": "disc", "colors": [[250, 50, 83]]},'
        ' {"name": "bar", "colors": "#33ddff"}]',
        COLORS,
    ),
    "a table of colours": (
        "class_dict.csv", "name,r,g,b\nground,0,0,0\ndisc,250,50,83\nbar,51,221,255\n", COLORS,
    ),
    "a table with tabs": (
        "objectInfo.txt",
        "Idx\tRatio\tTrain\tName\n300\t0.1\t10\tbar\n1\t0.2\t3\tground\n7\t0.3\t3\tdisc\n",
        GAPS,
    ),
    "a table with semicolons": (
        "c.csv", "name;r;g;b\nground;0;0;0\ndisc;250;50;83\nbar;51;221;255\n", COLORS,
    ),
    "a table whose class is a number": ("c.csv", "class,name\n7,disc\n1,ground\n300,bar\n", GAPS),
    "a table of whole floats": ("c.csv", "id,name\n7.0,disc\n1.0,ground\n300.0,bar\n", GAPS),
    "a table of #RRGGBB": (
        "c.csv", "name,color\nground,#000000\ndisc,#fa3253\nbar,#33ddff\n", COLORS,
    ),
    "a table of colours in a cell": (
        "c.csv", 'rgb,class\n"(0, 0, 0)",ground\n"250,50,83",disc\n[51 221 255],bar\n', COLORS,
    ),
    "a number behind each name": ("c.txt", "disc 7\nground\t1\nbar: 300\n", GAPS),
    "a number behind each name in a table": ("c.csv", "disc,7\nground,1\nbar,300\n", GAPS),
    "a number behind each equals sign": ("c.txt", "disc=7\nground=1\nbar=300\n", GAPS),
    "CamVid's colours": (
        "label_colors.txt", "0 0 0\tground\n250 50 83\t\tdisc\n51 221 255\t\tbar\n", COLORS,
    ),
    "colours behind names": ("c.txt", "ground 0 0 0\ndisc 250,50,83\nbar\t51 221 255\n", COLORS),
    "comments": ("c.txt", "# our classes\nground\ndisc\nbar\n", POSITIONS),
    "quoted lines": ("c.txt", '"ground"\n"disc"\n"bar"\n', POSITIONS),
    "a list of YAML called .txt": ("c.txt", "- ground\n- disc\n- bar\n", POSITIONS),
    "JSON with tabs and a last comma": (
        "c.json", '{\n\t"1": "ground",\n\t"7": "disc",\n\t"300": "bar",\n}', GAPS,
    ),
    "CVAT with spaces": (
        "labelmap.txt", "ground:0, 0, 0::\ndisc:250, 50, 83::\nbar:51, 221, 255::\n", COLORS,
    ),
    "ultralytics": (
        "data.yaml", "path: x\ntrain: images/train\nnc: 3\nnames: [ground, disc, bar]\n", POSITIONS,
    ),
    "ultralytics, by number": (
        "data.yaml", "train: a\nval: b\nnames:\n  0: ground\n  1: disc\n  2: bar\n", IDS,
    ),
    "Cityscapes' labels": (
        "labels.json",
        '[{"id": 1, "trainId": 0, "name": "ground", "ignoreInEval": false},'
        ' {"id": 7, "name": "disc", "ignoreInEval": false},'
        ' {"id": 300, "name": "bar", "ignoreInEval": false},'
        ' {"id": -1, "name": "license plate", "ignoreInEval": true}]',
        GAPS,
    ),
    "nnU-Net": (
        "dataset.json",
        '{"channel_names": {"0": "R"}, "labels": {"ground": 1, "disc": 7, "bar": 300},'
        ' "numTraining": 3, "file_ending": ".png"}',
        GAPS,
    ),
    "nnU-Net of the first version": (
        "dataset.json",
        '{"name": "x", "modality": {"0": "R"}, "training": [],'
        ' "labels": {"1": "ground", "7": "disc", "300": "bar"}}',
        GAPS,
    ),
    "COCO": (
        "instances.json",
        '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "ground"},'
        ' {"id": 7, "name": "disc", "supercategory": "x"}, {"id": 300, "name": "bar"}]}',
        GAPS,
    ),
    "MMSegmentation": (
        "metainfo.json",
        '{"classes": ["ground", "disc", "bar"], "palette": [[0, 0, 0], [1, 1, 1], [2, 2, 2]]}',
        POSITIONS,
    ),
    "Mapillary": (
        "config.json",
        '{"version": 1.1, "labels": [{"name": "ground", "color": [1, 2, 3], "evaluate": true},'
        ' {"name": "disc", "color": [4, 5, 6]}, {"name": "bar", "color": [7, 8, 9]}]}',
        IDS,
    ),
    "Supervisely's values": (
        "obj_class_to_machine_color.json",
        '{"ground": [0, 0, 0], "disc": [1, 1, 1], "bar": [2, 2, 2]}',
        IDS,
    ),
    "Supervisely's colours": (
        "colors.json",
        '{"ground": [0, 0, 0], "disc": [250, 50, 83], "bar": [51, 221, 255]}',
        COLORS,
    ),
    "labelme": ("labels.txt", "__ignore__\nground\ndisc\nbar\n", POSITIONS),
    "CVAT with parts": (
        "labelmap.txt",
        "# label:color_rgb:parts:actions\nground:0,0,0::\ndisc:250,50,83:head,left hand:jump,run\n"
        "bar:51,221,255:a,b,c:\n",
        COLORS,
    ),
    "SegFormer": (
        "config.json",
        '{"architectures": ["SegformerForSemanticSegmentation"], "num_labels": 3,'
        ' "id2label": {"1": "ground", "7": "disc", "300": "bar"}, "depths": [1]}',
        GAPS,
    ),
    "a table of #RGB": ("c.csv", "name,hex\nground,#000\ndisc,#fa3253\nbar,#33ddff\n", COLORS),
    "a table without a header": (
        "c.csv", "ground,000000\ndisc,fa3253\nbar,33ddff\n", COLORS,
    ),
    "a table of colours that begin with #, without a header": (
        "c.csv", "#000000,ground\n#fa3253,disc\n#33ddff,bar\n", COLORS,
    ),
    "a table of 0x": ("c.txt", "0x000000 ground\n0xfa3253 disc\n0x33ddff bar\n", COLORS),
    "a table with spaces": (
        "c.txt", "name r g b\nground 0 0 0\ndisc 250 50 83\nbar 51 221 255\n", COLORS,
    ),
    "colours behind equals signs": (
        "c.txt", "ground = 0,0,0\ndisc = 250,50,83\nbar = 51,221,255\n", COLORS,
    ),
    "colours in brackets": (
        "c.csv", "ground,(0,0,0)\ndisc,(250,50,83)\nbar,(51,221,255)\n", COLORS,
    ),
    "a table of names": ("c.csv", "name,note\nground,a\ndisc,b\nbar,a\n", POSITIONS),
    "a column of names": ("c.csv", "label\nground\ndisc\nbar\n", POSITIONS),
    "a category beside each name": (
        "c.csv", "300,bar,thing\n1,ground,stuff\n7,disc,thing\n", GAPS,
    ),
    "colours as keys": (
        "c.json", '{"#000000": "ground", "#fa3253": "disc", "#33ddff": "bar"}', COLORS,
    ),
    "colours as keys without a mark": (
        "c.json", '{"000000": "ground", "fa3253": "disc", "33ddff": "bar"}', COLORS,
    ),
    "colours as values": (
        "c.yaml", "ground: '0x000000'\ndisc: '0xfa3253'\nbar: '#33DDFF'\n", COLORS,
    ),
    "numbers that begin with zeros": (
        "c.json", '{"000001": "ground", "000007": "disc", "000300": "bar"}', GAPS,
    ),
    "objects by their names": (
        "c.json",
        '{"ground": {"id": 1}, "disc": {"id": 7, "color": "#ff8000"}, "bar": {"id": 300}}',
        GAPS,
    ),
    "objects by their ids": (
        "c.json", '{"1": {"name": "ground"}, "7": {"name": "disc"}, "300": {"name": "bar"}}', GAPS,
    ),
    "objects of other keys": (
        "c.json",
        '[{"label": "ground", "value": 1, "note": "x"}, {"label": "disc", "value": 7},'
        ' {"label": "bar", "value": 300, "hex": "ff8000"}]',
        GAPS,
    ),
    "CVAT's labels": (
        "labels.json",
        '[{"name": "ground", "id": 31, "color": "#000000", "type": "any", "attributes": []},'
        ' {"name": "disc", "id": 32, "color": "#fa3253", "type": "mask", "attributes": []},'
        ' {"name": "bar", "id": 33, "color": "#33ddff", "type": "mask", "attributes": []}]',
        COLORS,
    ),
    "a table of values": (
        "_classes.csv", "Pixel Value, Class\n7, disc\n1, ground\n300, bar\n", GAPS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_each_form_that_people_have_gives_the_same_classes(form: str) -> None:
    file, text, rules = FORMS[form]
    found = read_rules(text, file)
    assert found.classes.names == NAMES and found.rules == rules


def test_what_other_tools_ignore_is_of_no_class() -> None:
    text = '{"labels": {"ground": 0, "disc": [1, 2], "ignore": 3}, "file_ending": ".png"}'
    found = read_rules(text, "dataset.json")
    assert found.classes.names == ("ground", "disc") and found.ignored.ids == (3,)
    assert found.rules == (Rule(ids=(0,)), Rule(ids=(1, 2)))


def test_values_of_supervisely_count_from_the_background() -> None:
    found = read_rules('{"cat": [1, 1, 1], "dog": [2, 2, 2]}', "obj_class_to_machine_color.json")
    assert found.classes.names == ("background", "cat", "dog") and found.are_positions


def test_labelmes_list_numbers_its_background_0() -> None:
    found = read_rules("__ignore__\n_background_\ncat\n", "labels.txt")
    assert found.classes.names == ("_background_", "cat") and found.are_positions


def test_the_colours_of_other_tools_show_the_classes() -> None:
    text = '{"classes": ["a", "b"], "palette": [[1, 2, 3], [4, 5, 6]]}'
    assert read_rules(text, "m.json").classes.palette == ((1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"labels": {"ground": 0, "whole": [1, 2], "core": [2]}}',
         "id 2 is claimed by class whole"),
        ('{"classes": [{"title": "cat", "shape": "bitmap"}], "tags": []}',
         'what values they have.*such as {"0": "background", "1": "cat"}'),
        ("names: [cell]\nnc: 1\n", "needs 2 to 255 classes, the background among them, got 1"),
    ],
)  # fmt: skip
def test_files_of_other_tools_that_do_not_tell_values_are_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_rules(text, "x.json" if text.startswith("{") else "data.yaml")


BLACK = '{"name": "background", "color": "#000000", "attributes": []}'


@pytest.mark.parametrize(
    "text",
    [
        '[{"name": "cat", "color": "#ff6037", "attributes": []}]',
        f'[{BLACK}, {{"name": "cat", "color": "#ff6037", "attributes": []}}]',
        '{"labels": [{"name": "cat", "id": 7, "color": "#ff6037", "attributes": []}]}',
        '{"classes": [{"title": "cat", "shape": "polygon", "color": "#FF6037"}], "tags": []}',
        '[{"value": "cat", "background": "#ff6037"}]',
    ],
)
def test_tools_that_draw_on_black_have_a_background_of_it(text: str) -> None:
    found = read_rules(text, "labels.json")
    assert found.classes.names == ("background", "cat")
    assert found.rules == (Rule(colors=((0, 0, 0),)), Rule(colors=((255, 96, 55),)))


@pytest.mark.parametrize(
    "text",
    [
        "id,name,color\n4,cat,#ff8000\n2,sky,#000009\n",
        "color,name,id\n#ff8000,cat,4\n#000009,sky,2\n",
        "r;g;b;id;name\n255;128;0;4;cat\n0;0;9;2;sky\n",
        "4,cat,255,128,0\n2,sky,0,0,9\n",
        "cat,255,128,0,4\nsky,0,0,9,5\n",
        "4,cat,0xff8000\n2,sky,0x000009\n",
        "label_id\tclass\trgb\n4\tcat\t255 128 0\n2\tsky\t0 0 9\n",
    ],
)
def test_columns_of_values_and_colours_may_stand_in_any_order(text: str) -> None:
    found = read_rules(text, "c.csv")
    colors = dict(zip(found.classes.names, found.shown, strict=True))
    assert colors == {"cat": (255, 128, 0), "sky": (0, 0, 9)}
    assert {rule.ids for rule in found.rules} in ({(2,), (4,)}, {(4,), (5,)})
    by_color = found.by_shown_colors
    assert by_color is not None and by_color.classes == found.classes
    assert by_color.class_of_color == {color: i for i, color in enumerate(found.shown)}


def test_colours_that_two_classes_are_shown_in_say_nothing_of_masks() -> None:
    found = read_rules("id,name,color\n0,sky,#00f\n1,cat,#00f\n", "c.csv")
    assert found.by_shown_colors is None


def test_words_of_six_letters_of_hexadecimal_numbers_are_names() -> None:
    found = read_rules('{"0": "facade", "1": "decade"}', "c.json")
    assert found.classes.names == ("facade", "decade")
    assert read_rules('{"facade": 1, "decade": 0}', "c.json").are_positions


def test_numbers_of_which_two_are_the_same_are_part_of_names() -> None:
    found = read_rules("zone 1\ntown 1\nroad 2\n", "c.txt")
    assert found.classes.names == ("zone 1", "town 1", "road 2") and found.rules == POSITIONS


def test_a_colour_beside_a_value_is_what_shows_the_class() -> None:
    for text in ("id,name,r,g,b\n4,cat,1,2,3\n2,sky,0,0,9\n", "4 cat 1 2 3\n2 sky 0 0 9\n"):
        found = read_rules(text, "c.csv")
        assert found.classes.names == ("sky", "cat")
        assert found.classes.palette == ((0, 0, 9), (1, 2, 3))
        assert found.rules == (Rule(ids=(2,)), Rule(ids=(4,)))


@pytest.mark.parametrize(
    "text, message",
    [
        ("key\tnote\n1\tground\n2\tdisc\n", "is a table of the columns key, note.*name and id"),
        ("nr,what\n0,ground\n1,disc\n", "is a table of the columns nr, what.*name and id"),
        ("1\t0.5\tground\n2\t0.1\tdisc\n", "has columns, of which nothing says which is which"),
        ("ground\tearth\ndisc\tround\n", "has columns, of which nothing says which is which"),
        (
            "image,label\na.png,cat\nb.png,dog\n",
            "has columns, of which nothing says which is which",
        ),
        ("0,ground,0,1\n1,disc,0,2\n", "has columns, of which nothing says which is which"),
        ("0,ground,earth\n1,disc,round\n", "has columns, of which nothing says which is which"),
        ("0,1,2,3,ground\n4,5,6,7,disc\n", "has columns, of which nothing says which is which"),
        ("id,name,value\n0,ground,3\n1,disc,9\n", "values in the columns id, value, which differ"),
        ("what,tone\nground,#000000\ndisc,#fa3253\n", "is a table of the columns what, tone"),
    ],
)
def test_columns_of_which_nothing_is_known_are_no_names(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_rules(text, "c.csv" if text.startswith("image") else "c.txt")


def test_ids_and_colours_to_ignore_come_with_the_file_and_with_the_section() -> None:
    found = read_rules(YAML, "c.yaml", Ignored(ids=(9, 0)))
    assert found.ignored.ids == (0, 9)


def test_a_class_is_shown_in_its_colour_else_in_that_of_its_masks_else_in_a_distinct_one() -> None:
    assert read_rules(LABELMAP, "labelmap.txt").classes.palette == (
        (0, 0, 0), (250, 50, 83), (51, 221, 255)
    )  # fmt: skip
    assert read_rules(YAML, "c.yaml").classes.palette == (*distinct_colors(3)[:2], (255, 128, 0))


def test_255_classes_are_the_most() -> None:
    assert len(parse_rules([f"c{i}" for i in range(255)], "classes").classes) == 255


CONTRADICTIONS: list[tuple[object, str]] = [
    ([{"name": "a", "ids": [3]}, {"name": "b", "ids": [3]}],
     "id 3 is claimed by class a and by class b"),
    ([{"name": "a", "colors": [[1, 2, 3]]}, {"name": "b", "colors": [[1, 2, 3]]}],
     r"colour \(1, 2, 3\) is claimed by class a and by class b"),
    ([{"name": "a", "above": 3}, {"name": "b", "above": 3.0}],
     "above 3.0 is claimed by class a and by class b"),
    ({"a": 0, "b": 0}, "id 0 is claimed by class a and by class b"),
    ({"classes": ["a", "b"], "ignore": {"ids": [1]}}, "class b has no ids .* id 1.* to ignore"),
    ({"classes": [{"name": "a", "ids": [4]}, "b"], "ignore": {"ids": 4}},
     "id 4 is claimed by class a and by ignore"),
    ([{"name": "a", "ids": [1]}, {"name": "b"}], "class b has no ids .* id 1.* to class a"),
    ([{"name": "a", "colors": [[0, 0, 0]]}, "b"], "class b without colors"),
    ([{"name": "a", "colors": [[0, 0, 0]]}, {"name": "b", "ids": [1]}],
     "class a named by colors, class b by ids"),
    ([{"name": "a", "colors": [[0, 0, 0]]}, {"name": "b", "above": 1}],
     "class a named by colors, class b by ids or above"),
    (["a", "b", {"name": "c", "above": 1}], "class a, class b without a rule"),
    (["a", "b", "a"], r"a is the name of several ids \(0/2\)"),
    ([{"name": "a", "color": 3}, "b"], "class 0: color: .*got 3"),
    ([{"name": "a", "colours": 3}, "b"], "unknown key colours. Did you mean colors"),
    ([{"ids": 3}, "b"], "class 0: has no name"),
    ([{"name": "a", "ids": [70000]}, "b"], "ids: .* less than or equal to 65535, got 70000"),
    ([{"name": "a", "ids": [-40000]}, "b"], "ids: .* or equal to -32768, got -40000"),
    ([{"name": "a", "ids": ["1"]}, "b"], "ids: .* valid integer, got '1'"),
    ([{"name": "a", "colors": [[1, 2]]}, "b"], "colors"),
    ([{"name": 1}, "b"], "name: .* valid string, got 1"),
    ({"classes": ["a", "b"], "colour": 1}, "has colour beside classes"),
    ({"classes": ["a", "b"], "ignore": 3}, "ignore: must be an object of ids, colors"),
    ({"classes": ["a", "b"], "ids_divided_by": 1}, "ids_divided_by: .* or equal to 2, got 1"),
    ({"classes": ["a", "b"], "smaller_ids": "classes"}, "Set ids_divided_by, or leave it out"),
    ({"classes": ["a", {"name": "b", "above": 0}], "ids_divided_by": 256},
     "ids_divided_by is for masks whose classes have ids alone"),
    ({"0": "a", "255": "void"}, 'Leave "255" out'),
    ({"0": "a", "b": "c"}, "ids must be whole numbers"),
    ({"0": "a", "1": 2}, "ids must be whole numbers"),
    ({"a": ["x"], "b": ["y"]}, "If a, b holds the classes"),
    ({"0": "#ff0000", "1": "#00ff00"}, "has colours beside #ff0000, #00ff00 and no names"),
    ({"#ff0000": 0, "#00ff00": 1}, "has colours beside 0, 1 and no names"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "said"), CONTRADICTIONS)
def test_what_cannot_stand_together_is_refused_naming_both(content: object, said: str) -> None:
    with pytest.raises(UserError, match=said) as refusal:
        parse_rules(content, "classes.json")
    assert str(refusal.value).startswith("classes.json: ")


def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(UserError) as refusal:
        parse_rules([{"name": "a", "ids": [1, 5]}, "b", {"name": "c", "ids": [5]}], "x")
    assert [line.partition(" is claimed")[0] for line in refusal.value.problems] == [
        "x: id 5",
        "x: class b has no ids and would be its position, the id 1, which belongs to class a. "
        "Give it ids of its own, or leave it out.",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"0": "a", "1": "b", "1": "c"}', "twice"),
        ('["only one"]', "2 to 255"),
        ("[]", "2 to 255"),
        ("{}", "2 to 255"),
        ('["a", 1]', "list of names"),
        ('"a"', "list of names"),
        ("null", "list of names"),
        ("names: yes", "ids must be whole numbers"),
        ("<html>\n<body>", "list of names"),
        ('["a", "b"', "not JSON"),
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("a:1,2,3::\nb:::\n", "class b has no colour"),
        ("- a\n- &x b\n- *x\n", "aliases"),
        (json.dumps([f"c{i}" for i in range(256)]), "2 to 255"),
    ],
)
def test_bad_class_files_are_refused_with_their_place(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as refusal:
        read_rules(text, "s3://bucket/classes.json")
    assert "s3://bucket/classes.json" in str(refusal.value)


def test_classes_of_a_models_own_folder_are_read(tmp_path: Path) -> None:
    config = {"model_type": "segformer", "id2label": {"0": "a", "1": "b"}, "num_channels": 3}
    assert read_rules(json.dumps(config), "config.json").classes.names == ("a", "b")


def test_ids_in_their_order_are_masks_of_class_ids() -> None:
    assert read_rules('{"0": "a", "1": "b"}', "c.json").are_positions
    assert ClassRules.of_positions(read_rules("a\nb", "c.txt").classes).are_positions
    assert not read_rules('{"1": "a", "2": "b"}', "c.json").are_positions


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"colors": ["blackish"]}, "colors: is no color: write [R, G, B], each 0..255, or"),
        ({"color": [1, 2]}, "color: is no color: write [R, G, B], each 0..255, or"),
        ({"colors": [[1, 2, 300]]}, "colors: input should be less than or equal to 255, got 300"),
        ({"colors": 5}, "colors: input should be a list, got 5"),
        ({"ids": "200"}, "ids: is a text: write a number, or a list of numbers, got '200'"),
    ],
)
def test_a_rule_that_is_no_color_or_number_is_told_as_it_should_be_written(
    rule: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        parse_rules([{"name": "ground"}, {"name": "cat", **rule}], "classes.json")
