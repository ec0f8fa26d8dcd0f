"""The client in an environment that has nothing of the service's."""

import subprocess
import venv
from pathlib import Path

CLIENT = Path(__file__).resolve().parents[1]
USE = """
import importlib.util, payment_token_client
client = payment_token_client.Client("http://127.0.0.1:1", "ptk_test")
client.close()
assert importlib.util.find_spec("payment_token") is None
for module in ("pydantic", "fastapi", "cryptography", "sqlalchemy", "grpc"):
    assert importlib.util.find_spec(module) is None, module
"""


def test_it_needs_nothing_of_the_services(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(CLIENT))
    run(python, "-W", "error", "-c", USE)
    installed = list((tmp_path / "venv").glob("lib/*/site-packages/payment_token_client/py.typed"))
    assert len(installed) == 1


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
