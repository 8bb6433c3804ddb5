"""What the repository promises about itself."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tracked(*patterns: str) -> list[Path]:
    """Files under version control, as far as they exist."""
    try:
        listed = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "-z", *patterns], check=True, capture_output=True, text=True
        ).stdout.split("\0")
    except (FileNotFoundError, subprocess.CalledProcessError):
        listed = [str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.rglob(pattern)]
        listed = [name for name in listed if not name.startswith((".venv", "build", "dist"))]
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def test_the_readme_names_only_targets_and_commands_that_exist() -> None:
    """Every `make …` and `audit-log …` of the README works."""
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", readme, re.MULTILINE)) <= targets
    help_text = "".join(path.read_text() for path in tracked("infra/audit_cli/*.py"))
    for command in set(re.findall(r"`audit-log ([a-z-]+)", readme)):
        assert f"def {command}(" in help_text or f'name="{command}"' in help_text, command


def test_every_link_of_the_documents_leads_somewhere() -> None:
    """Relative links in Markdown point to files that exist."""
    for document in tracked("*.md", "docs/*.md", "docs/**/*.md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.relative_to(ROOT)} → {target}"


@pytest.mark.parametrize("path", tracked("*.py"), ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_small_and_say_why_they_exist(path: Path) -> None:
    """At most 400 lines, and a first line that answers what the module is for."""
    text = path.read_text()
    assert text.count("\n") <= 400
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "no docstring"


@pytest.mark.parametrize("path", tracked("tests/**/test_*.py"), ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_state_their_behaviour_and_never_sleep(path: Path) -> None:
    """Each test has a sentence; waiting is for a condition, looked at again inside a `while`."""
    tree = ast.parse(path.read_text())
    polled = {id(call) for loop in ast.walk(tree) if isinstance(loop, ast.While) for call in ast.walk(loop)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
        if isinstance(node, ast.Call) and id(node) not in polled:
            assert ast.unparse(node.func) not in ("time.sleep", "asyncio.sleep"), f"line {node.lineno} sleeps"


def test_nothing_is_set_that_loses_events() -> None:
    """The switches that make others lose data stay off everywhere."""
    for path in tracked("*.py", "*.sql", "*.yaml", "*.toml"):
        if path != Path(__file__):
            text = path.read_text()
            assert "input_format_allow_errors" not in text, path
            assert not re.search(r"enable.auto.commit.{0,4}[Tt]rue", text), path


def test_nothing_of_a_machine_is_committed() -> None:
    """No home folders, no registry addresses in the pinned requirements, no lock file with resolved addresses."""
    for path in tracked("requirements/*.txt", "pyproject.toml", "Makefile", ".ci/run"):
        text = path.read_text()
        assert not re.search(r"https?://(?!keepachangelog)", text), path
        assert "--index-url" not in text, path
    assert not tracked("uv.lock", "package-lock.json", "poetry.lock")
