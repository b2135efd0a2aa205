"""Claims about the code's size and form, as CONTRIBUTING.md asks for them."""

import ast
from collections.abc import Iterator

from tests.sources import texts, trees

MAX_MODULE_LINES = 350
MAX_FUNCTION_LINES = 50


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yields all functions of a module, methods and nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def num_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Counts from the first decorator, or the line of the name, to the end."""
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return (function.end_lineno or first) - first + 1


def catches_everything(handler: ast.ExceptHandler) -> bool:
    """True of `except Exception`, `except BaseException`, and an except without a type."""
    caught = ast.walk(handler.type) if handler.type else [ast.Name("BaseException")]
    return any(isinstance(n, ast.Name) and n.id in ("Exception", "BaseException") for n in caught)


def hands_on(handler: ast.ExceptHandler) -> bool:
    """True if the handler ends by raising, or by giving the error to whoever waits for a future."""
    return isinstance(handler.body[-1], ast.Raise) or "set_exception(" in ast.unparse(handler)


def swallowing(tree: ast.Module) -> list[int]:
    """The lines of handlers that catch every exception and go on."""
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    return [h.lineno for h in handlers if catches_everything(h) and not hands_on(h)]


def test_a_module_is_read_in_one_sitting() -> None:
    sizes = {name: text.count("\n") for name, text in texts().items()}
    assert not {name: size for name, size in sizes.items() if size > MAX_MODULE_LINES}


def test_a_function_fits_on_a_screen() -> None:
    sizes = {f"{n}:{f.name}": num_lines(f) for n, tree in trees().items() for f in functions(tree)}
    assert not {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES}


def test_no_error_is_swallowed() -> None:
    assert not [f"{name}:{line}" for name, tree in trees().items() for line in swallowing(tree)]


def test_an_error_that_is_swallowed_is_seen() -> None:
    for caught in ("", " Exception", " (OSError, BaseException) as error"):
        assert swallowing(ast.parse(f"try: f()\nexcept{caught}: log()")) == [2]
    for kept in ("except OSError: log()", "except Exception as error: raise UserError from error"):
        assert not swallowing(ast.parse(f"try: f()\n{kept}"))
