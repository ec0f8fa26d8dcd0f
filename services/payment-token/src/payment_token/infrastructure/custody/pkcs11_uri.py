"""The names of keys in a PKCS#11 token: ``pkcs11:token=NAME;object=NAME`` (RFC 7512)."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote

from payment_token.domain.custody import CustodyError

_SCHEME = "pkcs11:"
_ATTRIBUTES = ("token", "object")
_WELL_ESCAPED = re.compile(r"(%[0-9A-Fa-f]{2}|[A-Za-z0-9_.~:\[\]@!$'()*+,=&-])*")


@dataclass(frozen=True, slots=True)
class PKCS11URI:
    """``token`` is the label of the token, ``label`` that of the key's objects in it."""

    token: str
    label: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises CustodyError; a PIN in a name is refused, because names are stored and shown."""
        path, query = text.removeprefix(_SCHEME), ""
        if "?" in path:
            path, _, query = path.partition("?")
        if query or "pin-" in path:
            raise CustodyError(
                "a pkcs11: name holds no query: the module and the PIN come from the configuration"
            )
        pairs = [attribute.partition("=") for attribute in path.split(";")]
        values = {name: unquote(value) for name, _, value in pairs}
        if (
            not text.startswith(_SCHEME)
            or len(values) != len(pairs)
            or sorted(values) != sorted(_ATTRIBUTES)
            or not all(values.values())
            or not all(_WELL_ESCAPED.fullmatch(value) for _, _, value in pairs)
        ):
            raise CustodyError("a pkcs11: name has the form pkcs11:token=NAME;object=NAME")
        uri = cls(values["token"], values["object"])
        if str(uri) != text:
            # Names are compared as text: of two spellings of one KEK, destroying the one would destroy the other.
            raise CustodyError(f"a pkcs11: name is spelt in one way only: {uri}")
        return uri

    def __str__(self) -> str:
        return f"{_SCHEME}token={quote(self.token, safe='')};object={quote(self.label, safe='')}"
