"""A new version of a key, from the custodian of its KEK."""

from datetime import datetime

from payment_token.domain.key_life.key_event import public_key_of
from payment_token.domain.key_life.version import KeyPurpose, KeyState, KeyVersion, key_context
from payment_token.domain.keys import NamedKey
from payment_token.domain.ports import KeyEncrypter


async def new_version(
    encrypter: KeyEncrypter,
    purpose: KeyPurpose,
    name: str,
    *,
    kek_uri: str,
    environment: str,
    active_since: datetime | None = None,
) -> tuple[KeyVersion, NamedKey]:
    """Pending, or active since a time; with the key in clear, which the caller wipes."""
    clear, wrapped = await encrypter.generate_key(kek_uri, key_context(purpose, name, environment))
    named = NamedKey(name, clear)
    version = KeyVersion(
        purpose=purpose,
        version=name,
        state=KeyState.PENDING if active_since is None else KeyState.ACTIVE,
        kek_uri=kek_uri,
        wrapped_key=wrapped,
        environment=environment,
        activated_at=active_since,
        public_key=public_key_of(named) if purpose is KeyPurpose.AUDIT_SIGNING else None,
    )
    return version, named
