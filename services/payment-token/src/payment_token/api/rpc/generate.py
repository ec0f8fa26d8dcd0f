"""Makes ``api/rpc/generated`` from ``proto/``: ``python -m payment_token.api.rpc.generate``.

Messages only: methods are served, and called in tests, by their names. What is generated for a service would import its
messages by the path of the ``.proto`` file, which is not where they are.

``google/rpc/status.proto`` is there for those who compile the contract with nothing else at hand. Here and with them the
messages of it are googleapis-common-protos'.
"""

import tempfile
from importlib.resources import files
from pathlib import Path

from payment_token.settings import SERVICE_FOLDER

PROTO_FOLDER = SERVICE_FOLDER / "proto"
GENERATED_FOLDER = Path(__file__).parent / "generated"


def generated() -> dict[str, str]:
    """What the folder should hold, by file name. Raises RuntimeError when a ``.proto`` file is wrong."""
    # Only developers have the compiler.
    from grpc_tools import protoc  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        failed = protoc.main(
            [
                "protoc",
                f"-I{PROTO_FOLDER}",
                f"-I{files('grpc_tools') / '_proto'}",
                f"--python_out={folder}",
                f"--pyi_out={folder}",
                *map(str, sorted((PROTO_FOLDER / "payment_token").rglob("*.proto"))),
            ]
        )
        if failed:
            raise RuntimeError("protoc refused; it has said why")
        return {path.name: path.read_text() for path in Path(folder).rglob("*.py*")}


def generate() -> None:
    for name, text in generated().items():
        (GENERATED_FOLDER / name).write_text(text)


if __name__ == "__main__":
    generate()
