"""Slashes within a segment of a path, as ``%2F``: names of devices may have them.

The server decodes a path before routes are found in it, and what was one segment would be two: ``/v1/devices/a%2Fsuspend`` would be
the device ``a``. So while routes are found another character stands for such a slash, which no decoded path can hold: half of a
surrogate pair.
"""

from urllib.parse import unquote

from starlette.types import Scope

_STAND_IN = "\udc2f"
_PREFIX = "/v1/devices/"


def keep_apart(scope: Scope) -> None:
    """In the paths of devices."""
    if not scope["path"].startswith(_PREFIX):
        return
    raw: bytes = scope.get("raw_path") or b""
    if b"%2f" in raw.lower():
        segments = raw.decode("latin-1").split("/")
        scope["path"] = "/".join(unquote(segment).replace("/", _STAND_IN) for segment in segments)


def segment(text: str) -> str:
    """The segment of a path as its sender meant it."""
    return text.replace(_STAND_IN, "/")
