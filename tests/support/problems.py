"""The types of problem that exist in code: what a service's table must hold."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from typing import TYPE_CHECKING

from audit_infra.http.problems import ProblemType

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def types_made_in(*packages: ModuleType) -> set[ProblemType]:
    """Every `ProblemType` of these packages. One that is made elsewhere than at the top of a module fails the test."""
    found: set[ProblemType] = set()
    for package in packages:
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            found |= {value for value in vars(module).values() if isinstance(value, ProblemType)}
            for scope in ast.walk(ast.parse(inspect.getsource(module))):
                if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                    made = [one for one in ast.walk(scope) if isinstance(one, ast.Call) and _makes_a_type(one)]
                    assert not made, f"{info.name}, line {made[0].lineno}: a type of problem belongs in the table"
    return found


def _makes_a_type(call: ast.Call) -> bool:
    return ast.unparse(call.func).rpartition(".")[2] == "ProblemType"


def described_in(document: Path) -> set[tuple[str, int]]:
    """Names and statuses of the table of problems in a Markdown file."""
    found = set()
    for line in document.read_text("utf-8").splitlines():
        if name := re.search(r"`urn:audit-log:problem:([a-z-]+)`", line):
            status = re.search(r"\| (\d{3}) \|", line)
            assert status, line
            found.add((name[1], int(status[1])))
    return found


__all__ = ["described_in", "types_made_in"]
