"""The reference page of all config keys, made from the models that read a config."""

import ast
import inspect
import sys
import textwrap
from typing import Any, get_args

from factory.config.presets import preset_table
from factory.config.schema import Config
from factory.values import Section

WORDS = {
    "Count": "whole number, 1 or more",
    "Width": "whole number, 1 to 16,384",
    "Ordinal": "whole number, 0 or more",
    "Block": "whole number, 0 or more, or `middle`",
    "Seed": "whole number, 0 or more",
    "Number": "number",
    "Positive": "number above 0",
    "Parts": "list: part",
    "ClassForm": "classes, as a file has them",
    "Values": "list: whole number, 0 to 65,535",
    "Rgbs": 'list: colour, `[R, G, B]` or `"#ff8000"`',
    "Divisor": "whole number, 2 to 65,535",
    "SmallerIds": "`classes` or `objects`",
    "Fraction": "number from 0 to below 1",
    "Share": "number above 0 and below 1",
    "Url": "path or URL",
    "Folder": "folder on each machine",
    "ModelUrl": "path or URL, or `toy`",
    "Intensity": "`[low, high]` or `percentiles`",
    "PredictionType": "`epsilon` or `v_prediction`",
    "Frames": "`refuse` or `first`",
    "Exif": "`apply`, `ignore`, `apply_to_masks` or `apply_to_images`",
    "LayoutName": (
        "`voc`, `cityscapes`, `cityscapes-label-ids`, `celebamask-hq`, `dsb2018`, `camvid`, "
        "`camvid-32`, `ddpm-segmentation` or `loveda`"
    ),
    "Fit": "`crop`, `pad`, `stretch` or `tile`",
    "ImagesPattern": "folder or pattern of names",
    "ImagesPatterns": "folder, pattern of names, or list of these",
    "MasksPattern": "folder or pattern of names",
    "Labels": "list: label",
    "bool": "`true` or `false`",
    "str": "text",
    "int": "whole number",
    "float": "number",
}
"""How the types of keys are called; a type without a word here stops the build."""
BOUNDS = {"ge": "{} or more", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
INTRODUCTION = """\
# Config keys

A config is a YAML file of the sections below; `--set section.key=value` overrides one key, and
`factory COMMAND --config FILE --print-config` shows all of them as they are resolved. Unknown keys
are refused, with the nearest known one, and all problems are reported at once.

Counts may be written as `1000`, `1_000`, `1e6`, `10k` or `1M`. Paths are relative to the folder
that a command is started in; URLs are those of `s3://`, `gs://`, `az://`, `abfs://` and, for
models, `hf://owner/name`.

*This page is made from the program's own models when the site is built.*
"""
PRESETS = """\
## Presets

`preset: NAME` sets the size of the images, the network's shape and its training; keys that a config
names win over it. A size without a preset has the training of the nearest row that is not above it.
The time is that of all steps on one core of an AMD EPYC, in float32 (`benchmarks/presets.py`).

```text
{}
```
"""


def page() -> str:
    """The page in Markdown: a table for each section, and one for the keys beside them."""
    parts, beside = [], []
    for name, annotation, meaning in _fields(Config):
        sections = _sections_below(Config.model_fields[name].annotation)
        if sections:
            parts.append(_part(sections[0], name, "##"))
        else:
            beside.append(_row(Config, name, name, annotation, meaning))
    presets = PRESETS.format("\n".join(preset_table()))
    return "\n".join([INTRODUCTION, _HEAD, *beside, "", presets, *parts])


_HEAD = "| key | type | default | meaning |\n|---|---|---|---|"


def _part(section: type[Section], path: str, heading: str) -> str:
    """A section's table, and those of the sections that its keys hold."""
    kind = section.model_fields.get("kind")
    title = path if kind is None else f"A source of `kind: {kind.default}`"
    prefix = f"{path}." if kind is None else ""
    rows: list[str] = []
    within: dict[type[Section], str] = {}
    for name, annotation, meaning in _fields(section):
        rows.append(_row(section, name, f"{prefix}{name}", annotation, meaning))
        for below in _sections_below(section.model_fields[name].annotation):
            within.setdefault(below, f"{prefix}{name}")
    parts = [_part(below, at, "###") for below, at in within.items()]
    return "\n".join([f"{heading} {title}", "", _about(section), "", _HEAD, *rows, "", *parts])


def _about(section: type[Section]) -> str:
    return inspect.cleandoc(section.__doc__ or "")


def _row(section: type[Section], name: str, path: str, annotation: ast.expr, meaning: str) -> str:
    field = section.model_fields[name]
    below = _sections_below(field.annotation)
    kind = "a section, see below" if below else words(annotation, section.__module__)
    default = "required" if field.is_required() else _default(field.get_default())
    return f"| `{path}` | {kind} | {'' if below else default} | {' '.join(meaning.split())} |"


def _sections_below(annotation: Any) -> list[type[Section]]:
    """The sections that a key may hold."""
    found = []
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            found.append(kind)
        elif kind is not annotation:
            found += _sections_below(kind)
    return found


def _fields(section: type[Section]) -> list[tuple[str, ast.expr, str]]:
    """(name, annotation, docstring) of each key, those of base classes first."""
    found: dict[str, tuple[str, ast.expr, str]] = {}
    for kind in reversed(section.__mro__):
        if not (isinstance(kind, type) and issubclass(kind, Section)) or kind is Section:
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        assert isinstance(tree, ast.ClassDef)
        for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = (node.target.id, node.annotation, _docstring(after))
    return [each for name, each in found.items() if name in section.model_fields]


def _docstring(node: ast.stmt | None) -> str:
    """The text of a docstring below a key, empty if there is none."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return str(node.value.value)
    return ""


def words(annotation: ast.expr, module: str) -> str:
    """A type of a module as people say it: `Count | None` is a whole number, 1 or more."""

    def inner(part: ast.expr) -> str:
        return words(part, module)

    match annotation:
        case ast.Constant(value=None):
            return ""
        case ast.Constant(value=value):
            return f"`{value!s}`"
        case ast.Name(id=name):
            return WORDS[name]
        case ast.BinOp(left=left, right=right):
            return " or ".join(filter(None, [inner(left), inner(right)]))
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            return " or ".join(map(inner, getattr(values, "elts", [values])))
        case ast.Subscript(value=ast.Name(id="Mapping"), slice=ast.Tuple(elts=[_, value])):
            return f"names, each with a {inner(value)}"
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[first, *rest])):
            many = any(isinstance(each, ast.Constant) for each in rest)
            return f"{'list' if many else f'list of {len(rest) + 1}'}: {inner(first)}"
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[kind, *rules])):
            bounds = [bound for rule in rules for bound in _bounds(rule, module)]
            if any(bound.endswith(" or more") for bound in bounds):
                return ", ".join([inner(kind).removesuffix(", 1 or more"), *bounds])
            return ", ".join([inner(kind), *bounds])
    raise ValueError(f"no words for the type {ast.unparse(annotation)}; add them in {__file__}")


def _bounds(rule: ast.expr, module: str) -> list[str]:
    """What Field(ge=0, le=MAX) says of a number."""
    found = []
    for keyword in rule.keywords if isinstance(rule, ast.Call) else []:
        if keyword.arg in BOUNDS:
            name = ast.unparse(keyword.value)
            value = getattr(sys.modules[module], name, None) or ast.literal_eval(name)
            found.append(BOUNDS[keyword.arg].format(f"{value:,}"))
    return found


def _default(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"
