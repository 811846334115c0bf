"""The interpreter of a code agent, from whose Python nothing of ours can be reached.

smolagents hands its interpreter the tool itself, whose attributes are the loaded model, its folder and ways to write
files; and a generator's frame gives away the interpreter's own list of allowed imports. Here code sees functions that
take and give plain values, and no names that lead from a value to what made it. It is still no sandbox: code may use
up time and memory.
"""

import ast
import re
import string
from collections.abc import Callable
from typing import Any

from smolagents import Tool
from smolagents.local_python_executor import CodeOutput, InterpreterError, LocalPythonExecutor

# Attributes of frames, generators, coroutines, tracebacks and errors; all that begins with an underscore.
_INSPECTS = re.compile(r"_|(gi|cr|ag|f|tb|co)_[a-z]+$|(obj|with_traceback|mro|format_map)$")
_PLAIN = (str, int, float, bool, type(None))


class CodeExecutor(LocalPythonExecutor):  # type: ignore[misc]  # smolagents' class is Any here
    """smolagents' own interpreter, for `CodeAgent(…, executor=CodeExecutor())`.

    Without its limit of 30 seconds, which doesn't stop the code: it waits for its end and throws the result away. A
    model on a CPU may need longer, and what runs in this thread can be stopped by Ctrl-C.
    """

    def __init__(self) -> None:
        super().__init__([], additional_functions={"getattr": _getattr, "setattr": _setattr}, timeout_seconds=None)

    def send_tools(self, tools: dict[str, Tool]) -> None:
        super().send_tools({name: _bare(tool) for name, tool in tools.items()})

    def __call__(self, code_action: str) -> CodeOutput:
        try:
            tree = ast.parse(code_action)
        except SyntaxError:
            return super().__call__(code_action)  # which says so in its own words
        for node in ast.walk(tree):
            _check(node)
        return super().__call__(code_action)


def _bare(tool: Tool) -> Callable[..., Any]:
    """A function that asks the tool, for plain values alone: an object of the code's own could look at who asks."""
    order = list(tool.inputs)

    def ask(*values: Any, **named: Any) -> Any:
        given = {**dict(zip(order, values, strict=False)), **named}
        if tool.name != "final_answer":
            for name, value in given.items():
                if not _plain(value):
                    raise InterpreterError(f"{tool.name}: {name} must be text or numbers, not {type(value).__name__}")
        return tool(**given)

    return ask


def _plain(value: Any) -> bool:
    """Text, numbers, lists and dicts of these; not a class of the code's own that is one of them too."""
    if type(value) is dict:
        return all(map(_plain, [*value, *value.values()]))
    return all(map(_plain, value)) if type(value) in (list, tuple) else type(value) in _PLAIN


def _check(node: ast.AST) -> None:
    if isinstance(node, ast.Attribute):
        _check_name(node.attr)
        if node.attr == "format":
            _check_format(node.value)
    elif isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            for name in alias.name.split("."):
                _check_name(name)


def _check_name(name: str) -> None:
    if _INSPECTS.match(name) and name != "__init__":
        raise InterpreterError(f"Forbidden access to attribute: {name}")


def _check_format(text: ast.expr) -> None:
    """Fields of a format may name attributes, which are then shown."""
    if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
        raise InterpreterError("Forbidden: format of a text that isn't written out. Use an f-string.")
    fields = [field for _, field, _, _ in string.Formatter().parse(text.value) if field]
    if any(mark in field for field in fields for mark in ".["):
        raise InterpreterError("Forbidden: a format whose field has an attribute or an index. Use an f-string.")


def _getattr(of: Any, name: str, *default: Any) -> Any:
    _check_name(str(name))
    if name == "format":
        raise InterpreterError("Forbidden access to attribute: format")
    return getattr(of, str(name), *default)


def _setattr(of: Any, name: str, value: Any) -> None:
    _check_name(str(name))
    setattr(of, str(name), value)
