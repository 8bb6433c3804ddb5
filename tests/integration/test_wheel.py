"""What is shipped: seven packages with their data, and an SDK that needs nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    *("audit_schemas", "audit_producers", "audit_consumers", "audit_query", "audit_infra", "audit_local", "audit_cli"),
}
DATA = (
    "audit_schemas/avro/audit_event.v1.avsc",
    "audit_schemas/clickhouse/0001_events.sql",
    "audit_schemas/catalogue/types.toml",
    "audit_query/web/templates/log.html",
    "audit_query/web/static/style.css",
    "audit_local/kafka_jars.txt",
    "audit_producers/py.typed",
)
UV = str(Path(sys.executable).parent / "uv")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tree."""
    target = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(target), str(ROOT))
    return next(target.glob("*.whl"))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_wheel_holds_the_seven_packages_and_their_data(wheel: Path) -> None:
    """Names that collide with nobody's, and every file the code reads at run time."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    top = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert top == PACKAGES
    assert set(DATA) <= names


@pytest.mark.timeout(180)
def test_the_bare_install_is_the_sdk(wheel: Path, tmp_path: Path) -> None:
    """In an empty environment: the SDK works up to Kafka's door, and what is not installed is said in a sentence."""
    python = str(tmp_path / "empty" / "bin" / "python")
    run(UV, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "empty"))
    requirements = str(ROOT / "requirements" / "sdk.txt")
    run(UV, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", requirements)
    run(UV, "pip", "install", "--quiet", "--python", python, "--no-deps", str(wheel))
    script = (
        "import importlib.util as u\n"
        "from audit_producers import AuditLog, InvalidEvent, SpoolFull\n"
        "absent = ['clickhouse_connect', 'starlette', 'sqlalchemy', 'chdb', 'structlog', 'typer']\n"
        "assert not [name for name in absent if u.find_spec(name)]\n"
        "log = AuditLog('service', bootstrap_servers='127.0.0.1:9')\n"
        "try:\n"
        "    log.emit('file.gone', workspace_id='w', actor={'type': 'client'}, source='web')\n"
        "except InvalidEvent as error:\n"
        "    print(error)\n"
    )
    assert "file.gone" in run(python, "-c", script).stdout
    command = subprocess.run(
        [str(Path(python).parent / "audit-log"), "status"], capture_output=True, text=True, check=False
    )
    assert command.returncode != 0
    assert "pip install" in command.stderr
    assert "Traceback" not in command.stderr
