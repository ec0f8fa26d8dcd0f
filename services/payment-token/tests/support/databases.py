"""URLs of databases on a test server."""

from urllib.parse import urlsplit, urlunsplit


def database_named(server_url: str, name: str) -> str:
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
