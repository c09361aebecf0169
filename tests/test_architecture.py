"""Rules of the code base that are not left to memory: who may import whom, how long things are, and what has to exist."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import logging
import os
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.utils.module_loading import import_string

from tests.processes import ROOT

PRODUCT = ("oxy", "sessions_app", "simulator")
MODULE_LINES, FUNCTION_LINES, FUNCTION_MEDIAN = 450, 60, 10

#: What a part may import of ours, itself apart; the longest prefix counts. Parts that are not named are faces or wiring.
MAY_IMPORT: dict[str, set[str]] = {
    # The pure ones: values in, values out.
    "sessions_app.lifecycle": set(),
    "sessions_app.reasons": set(),
    "sessions_app.qr": set(),
    "sessions_app.engine.events": set(),
    "sessions_app.hosting.backoff": set(),
    "sessions_app.vault.keys": set(),
    "sessions_app.launch": set(),
    # Those that know nothing of sessions.
    "sessions_app.broadcast": set(),
    "sessions_app.channel_layer": {"sessions_app.channel_listener"},
    "sessions_app.channel_listener": set(),
    "simulator": set(),
    # The process around the library, and the host that owns it.
    "sessions_app.engine": set(),
    "sessions_app.vault": {"sessions_app.models", "sessions_app.querysets"},
    "sessions_app.hosting": {
        "oxy",
        "sessions_app.broadcast",
        "sessions_app.engine.events",
        "sessions_app.engine.pipe",
        "sessions_app.engine.spool",
        "sessions_app.engine.store_lock",
        "sessions_app.lifecycle",
        "sessions_app.models",
        "sessions_app.qr",
        "sessions_app.reasons",
        "sessions_app.vault",
    },
    "sessions_app.numbers": set(),
    "sessions_app.models": {
        "sessions_app.numbers",
        "sessions_app.broadcast",
        "sessions_app.lifecycle",
        "sessions_app.querysets",
        "sessions_app.reasons",
        "sessions_app.vault.crypto",
        "sessions_app.webhooks",
    },
    "sessions_app.querysets": {"sessions_app.lifecycle", "sessions_app.models", "sessions_app.reasons"},
}
STANDARD_LIBRARY_ONLY = {
    "sessions_app.lifecycle",
    "sessions_app.reasons",
    "sessions_app.engine.events",
    "sessions_app.hosting.backoff",
    "sessions_app.vault.keys",
    "sessions_app.launch",
}
#: What people and programs see calls model verbs; what hosts do is none of its business.
FACES = (
    "admin",
    "admin_people",
    "admin_rows",
    "api",
    "charts",
    "consumers",
    "forms",
    "overview",
    "panels",
    "people",
    "routing",
    "sign_in",
    "templatetags",
    "urls",
    "views",
    "words",
)
NOT_FOR_FACES = ("sessions_app.hosting", "sessions_app.engine", "sessions_app.tasks")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(module: str, part: str) -> bool:
    return module == part or module.startswith(f"{part}.")


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the product, parsed; migrations are generated."""
    paths = [path for part in PRODUCT for path in sorted((ROOT / part).rglob("*.py")) if "migrations" not in path.parts]
    assert len(paths) > 50
    return {name_of(path): ast.parse(path.read_text()) for path in paths}


def imports(module: str, tree: ast.AST) -> Iterator[str]:
    """Full names that are imported at run time anywhere below the node; what is only for the type checker does not count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        else:
            yield from imports(module, node)
        yield from named_imports(node)


def absolute(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    is_package = (ROOT / Path(*module.split(".")) / "__init__.py").exists()
    parts = module.split(".")[: None if is_package and node.level == 1 else -(node.level - is_package)]
    return ".".join([*parts, *([node.module] if node.module else [])])


def named_imports(node: ast.AST) -> Iterator[str]:
    """`import_module("name")` imports as well."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "import_module":
        yield from (argument.value for argument in node.args if isinstance(argument, ast.Constant))


def top_level(tree: ast.Module) -> ast.Module:
    """The module without the bodies of its functions."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return ast.Module([node for node in tree.body if not isinstance(node, functions)], [])


def offences(module: str, tree: ast.Module) -> Iterator[str]:
    part = max((part for part in MAY_IMPORT if within(module, part)), key=len, default=None)
    for imported in imports(module, tree):
        if not any(within(imported, ours) for ours in PRODUCT) or part is None:
            continue
        if not any(within(imported, allowed) for allowed in MAY_IMPORT[part] | {part}):
            yield f"{module} imports {imported}"


# --- who may import whom -----------------------------------------------------------------


def test_parts_import_in_the_directions_of_the_design() -> None:
    assert [offence for module, tree in modules().items() for offence in offences(module, tree)] == []


def test_a_wrong_direction_is_noticed() -> None:
    wrong = ast.parse("def f():\n    from sessions_app import models")
    assert list(offences("sessions_app.lifecycle", wrong)) == ["sessions_app.lifecycle imports sessions_app.models"]
    assert list(offences("sessions_app.engine.client", wrong)) == [
        "sessions_app.engine.client imports sessions_app.models"
    ]


def test_faces_know_nothing_of_hosts_and_engines() -> None:
    faces = [module for module in modules() if any(within(module, f"sessions_app.{face}") for face in FACES)]
    assert len(faces) > 8
    assert [
        f"{module} imports {imported}"
        for module in faces
        for imported in imports(module, modules()[module])
        if any(within(imported, part) for part in NOT_FOR_FACES)
    ] == []


def test_tasks_import_hosting_inside_functions() -> None:
    tasks = modules()["sessions_app.tasks"]
    hosting = [name for name in imports("sessions_app.tasks", tasks) if within(name, "sessions_app.hosting")]
    assert hosting
    assert not set(imports("sessions_app.tasks", top_level(tasks))) & set(hosting)


@pytest.mark.parametrize("module", sorted(STANDARD_LIBRARY_ONLY))
def test_pure_modules_use_the_standard_library_alone(module: str) -> None:
    used = {name.split(".")[0] for name in imports(module, modules()[module])}
    assert used <= sys.stdlib_module_names


def test_only_the_engine_names_the_library() -> None:
    users = {
        module
        for module, tree in modules().items()
        if any(within(imported, "neonize") for imported in imports(module, tree))
    }
    assert users
    assert {user for user in users if not within(user, "sessions_app.engine")} == set()


def test_the_simulator_and_the_engine_know_no_framework() -> None:
    assert [
        f"{module} imports {imported}"
        for module, tree in modules().items()
        for imported in imports(module, tree)
        if within(imported, "django") and (within(module, "simulator") or within(module, "sessions_app.engine"))
    ] == []


def loaded(program: str, folder: Path) -> set[str]:
    """Top-level packages that a fresh process has loaded after the program; its database is an empty one."""
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{folder / 'empty.sqlite3'}"}
    text = f"{program}\nimport sys, json\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_web_and_worker_never_load_the_library(tmp_path: Path) -> None:
    everything = """
import importlib, pkgutil, django
django.setup()
import oxy.asgi, oxy.urls, sessions_app
for module in pkgutil.walk_packages(sessions_app.__path__, "sessions_app."):
    if not module.name.startswith("sessions_app.engine"):
        importlib.import_module(module.name)
"""
    names = loaded(everything, tmp_path)
    assert {"daphne", "channels", "django_q"} & names
    assert "neonize" not in names


def test_the_engine_never_loads_the_framework(tmp_path: Path) -> None:
    names = loaded("import sessions_app.engine.process, sessions_app.engine.__main__", tmp_path)
    assert "sessions_app" in names
    assert not {"django", "channels", "django_q"} & names


def test_every_package_that_is_imported_is_pinned() -> None:
    distributions = importlib.metadata.packages_distributions()
    text = (ROOT / "requirements.txt").read_text()
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    pinned = {re.sub(r"[-_.]+", "-", re.split(r"[\[=]", line)[0]).lower() for line in lines if line}
    assert all("==" in line for line in lines if line)
    used = {name.split(".")[0] for module, tree in modules().items() for name in imports(module, tree)}
    foreign = used - sys.stdlib_module_names - set(PRODUCT) - {"__future__"}
    missing = {
        name
        for name in foreign
        if not any(re.sub(r"[-_.]+", "-", owner).lower() in pinned for owner in distributions.get(name, []))
    }
    assert missing == set()


# --- how long things are -----------------------------------------------------------------


def functions() -> Iterator[tuple[str, int]]:
    """Each function with its number of lines, docstring not counted."""
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first, *rest = node.body
                has_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and rest
                text_lines = (first.end_lineno or 0) - first.lineno + 1 if has_text else 0
                yield f"{module}.{node.name}", (node.end_lineno or 0) - node.lineno + 1 - text_lines


def test_modules_are_short() -> None:
    paths = [path for part in PRODUCT for path in (ROOT / part).rglob("*.py") if "migrations" not in path.parts]
    lines = {name_of(path): path.read_text().count("\n") for path in paths}
    assert {name: count for name, count in lines.items() if count > MODULE_LINES} == {}


def test_functions_are_short() -> None:
    lengths = dict(functions())
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}
    assert statistics.median(lengths.values()) <= FUNCTION_MEDIAN


def test_every_module_says_what_it_is_for() -> None:
    silent = [module for module, tree in modules().items() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def test_log_lines_name_their_fields_as_logging_allows() -> None:
    """A field called like one of a record's own raises where it is logged, in place of what was to follow."""
    reserved = {*vars(logging.makeLogRecord({})), "message", "asctime"}
    taken = [
        f"{module}:{node.lineno} {key.value}"
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict)
        for key in node.value.keys
        if isinstance(key, ast.Constant) and key.value in reserved
    ]
    assert taken == []


# --- what has to exist ---------------------------------------------------------------------


def procfile() -> dict[str, list[str]]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: shlex.split(command) for name, _, command in (line.partition(":") for line in lines)}


@pytest.mark.django_db
def test_the_procfiles_commands_exist_and_replace_their_shell() -> None:
    processes = procfile()
    assert set(processes) == {"release", "web", "worker"}
    for command in processes.values():
        assert command[0] == "exec"
    for name in ("release", "worker"):
        assert processes[name][1:3] == ["python", "manage.py"]
        assert processes[name][3] in get_commands()
    assert processes["web"][1] == "daphne"
    assert callable(import_string(processes["web"][-1].replace(":", ".")))


def test_the_makefiles_commands_exist() -> None:
    named = set(re.findall(r"manage\.py (\w+)", (ROOT / "Makefile").read_text()))
    assert {"run", "demo"} <= named
    assert named <= set(get_commands())


def documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def test_the_documents_are_there() -> None:
    names = {path.name for path in documents()}
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "architecture.md"} <= names


def test_documents_that_are_named_exist() -> None:
    """Links of documents, and the paths of documents that code and settings send a reader to."""
    missing = []
    for path in documents():
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", path.read_text()):
            missing += [f"{path.name}: {target}"] if not (path.parent / target).exists() else []
    for part in PRODUCT:
        for path in (ROOT / part).rglob("*.py"):
            for target in re.findall(r"docs/[\w/-]+\.md", path.read_text()):
                missing += [f"{path.name}: {target}"] if not (ROOT / target).exists() else []
    assert missing == []


def test_deployment_files_are_well_formed() -> None:
    assert json.loads((ROOT / "railway.json").read_text())["deploy"]["drainingSeconds"] >= 15
    assert (ROOT / ".python-version").read_text().strip() == "3.11"
