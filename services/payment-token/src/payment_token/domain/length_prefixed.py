"""One unambiguous way to join fields for a hash or as associated data."""


def length_prefixed(*fields: bytes) -> bytes:
    """Each field with its length before it, 16 bits, big-endian.

    Without lengths, ("ab", "c") and ("a", "bc") would give the same bytes, and one could be passed off as the other.
    The bytes of some fields followed by those of others are the bytes of them all, so what is always the same is
    joined once.
    """
    return b"".join([len(field).to_bytes(2, "big") + field for field in fields])
