"""AWS KMS behind a server that can fail: what moto never does, a real one does sooner or later."""

import http.client
from urllib.parse import urlsplit

from tests.support.loopback_server import Answer, LoopbackServer, Request

_PASSED_ON = ("content-type", "x-amzn-errortype")


def kms_proxy(endpoint: str) -> LoopbackServer:
    """Passes every request on to the server at ``endpoint`` until it is told to fail."""
    address = urlsplit(endpoint).netloc

    def pass_on(request: Request) -> Answer:
        connection = http.client.HTTPConnection(address, timeout=10)
        try:
            connection.request("POST", request.path, request.body, dict(request.headers))
            answer = connection.getresponse()
            headers = {k: v for k, v in answer.getheaders() if k.lower() in _PASSED_ON}
            return Answer(answer.status, answer.read(), headers)
        finally:
            connection.close()

    return LoopbackServer(pass_on)
