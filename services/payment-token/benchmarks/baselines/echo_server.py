"""A bare ASGI server in one process: reads a body, and answers as many bytes as a create is answered with.

    python -m benchmarks.baselines.echo_server ANSWER_BYTES [CERTIFICATES]

It prints its port. With a folder of certificates it wants mutual TLS, as the internal listener does.
"""

import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import uvicorn

_CERTIFICATE = "server.pem"


class Echo:
    def __init__(self, answer_bytes: int) -> None:
        self._body = b"x" * answer_bytes
        self._start = {
            "type": "http.response.start",
            "status": 201,
            "headers": [
                (b"content-length", str(answer_bytes).encode()),
                (b"content-type", b"application/json"),
            ],
        }

    async def __call__(self, _: dict[str, Any], receive: Any, send: Any) -> None:
        more = True
        while more:
            more = (await receive()).get("more_body", False)
        await send(self._start)
        await send({"type": "http.response.body", "body": self._body})


def main(answer_bytes: int, certificates: Path | None) -> None:
    bound = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(bound.getsockname()[1], flush=True)
    uvicorn.Server(
        uvicorn.Config(
            Echo(answer_bytes),
            http="httptools",
            loop="uvloop",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=600,
            **_tls(certificates),
        )
    ).run(sockets=[bound])


def _tls(folder: Path | None) -> dict[str, Any]:
    if folder is None:
        return {}
    return {
        "ssl_certfile": folder / _CERTIFICATE,
        "ssl_keyfile": folder / "server-key.pem",
        "ssl_ca_certs": str(folder / "ca.pem"),
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)  # noqa: PLR2004
