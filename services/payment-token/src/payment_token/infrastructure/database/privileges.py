"""What each process of the service needs of the database, as its migrations grant it. `doctor` holds logins against it.

Each text is what stands after GRANT. Columns in brackets: those only.
"""

import re
from collections.abc import Collection, Mapping
from functools import cache

INGEST, VAULT, ROTATOR = "pt_ingest", "pt_vault", "pt_rotator"
SEALER, MAINTAINER, AUDITOR = "pt_sealer", "pt_maintainer", "pt_auditor"

VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")

_SCHEMA_VERSION = {"alembic_version": "SELECT"}
_LEASE = {"key_holders": "SELECT, INSERT, UPDATE (held, lease_until), DELETE"}
# Dead epoch keys are buried by TRUNCATE, and whoever holds a live one writes it back.
_EPOCH_KEYS = {"sad_epoch_keys": "SELECT, INSERT, TRUNCATE"}
# Whoever notes an event gives no time.
_NOTING = (
    "INSERT (kind, merchant_id, device_id, ksn, api_key_id, detail, count), UPDATE (count, last_at)"
)
_RECORDING = {
    "decrypt_audit_log": "INSERT (writer_id, sequence, record)",
    "audit_seals": "SELECT (tree_size, root, sealed_at)",
}

NEEDS: Mapping[str, Mapping[str, str]] = {
    INGEST: {
        **_SCHEMA_VERSION,
        **_LEASE,
        **_EPOCH_KEYS,
        **_RECORDING,
        "payment_tokens": (
            "SELECT, INSERT, UPDATE (status, revoked_at, sealed_pan, sealed_sad, sad_destroyed_at)"
        ),
        "token_idempotency_keys": (
            "SELECT, INSERT, UPDATE (token_id, fingerprint, fingerprint_key, created_at, expires_at)"
        ),
        "device_initial_keys": (
            "SELECT, INSERT, UPDATE (high_water, seen, first_seen_at, last_seen_at, tokens)"
        ),
        # Administrators register and stop devices through the API.
        "devices": "SELECT, INSERT, UPDATE (state, state_changed_at, state_reason)",
        "device_profiles": "SELECT",
        "failed_attempts": "SELECT, INSERT, UPDATE (failures, last_at)",
        "base_derivation_keys": "SELECT",
        "api_keys": "SELECT",
        "api_key_uses": "SELECT, INSERT, UPDATE (last_used_at)",
        "api_key_permits": "SELECT, INSERT, UPDATE (spent_until, granted)",
        "encryption_keys": "SELECT",
        "device_events": f"SELECT, {_NOTING}",
        "device_failures": "SELECT, INSERT (merchant_id, device_id, failures), UPDATE (failures)",
    },
    VAULT: {
        **_SCHEMA_VERSION,
        **_LEASE,
        **_EPOCH_KEYS,
        **_RECORDING,
        # It ends SAD. The status is for its share locks, which ask for UPDATE of some column: the checks of the table tie
        # it to revoked_at, and whoever may not change both changes neither.
        "payment_tokens": (
            "SELECT, UPDATE (status, sealed_sad, sad_destroyed_at, sad_unrecoverable_from)"
        ),
        "encryption_keys": "SELECT",
        # Counts what workers had. It takes nothing back.
        "worker_token_uses": "SELECT, INSERT",
        "worker_limit_windows": "SELECT, INSERT, UPDATE (window_end, used)",
        # Counts up what is there, and reads nothing else of it.
        "device_events": f"SELECT (minute, kind, merchant_id, device_id, api_key_id, count), {_NOTING}",
    },
    ROTATOR: {
        **_SCHEMA_VERSION,
        **_RECORDING,
        "encryption_keys": (
            "SELECT, INSERT, UPDATE (state, kms_key_id, wrapped_key, activated_at, retired_at, destruction_due_at,"
            " destroyed_at)"
        ),
        "key_events": "SELECT, INSERT",
        "key_holders": "SELECT",
        "sad_epoch_keys": "SELECT, UPDATE (kms_key_id, wrapped_key)",
        "payment_tokens": (
            "SELECT (merchant_id, purge_day, token_id, expires_at, service_key, sealed_pan),"
            " UPDATE (service_key, sealed_pan)"
        ),
        "token_idempotency_keys": "SELECT (fingerprint_key, expires_at)",
        "base_derivation_keys": "SELECT, INSERT, UPDATE (retired_at, replay_rule)",
        "devices": (
            "SELECT, INSERT, UPDATE (initial_key_ids, state, state_changed_at, state_reason)"
        ),
        "device_initial_keys": "SELECT, INSERT, UPDATE (high_water, seen)",
        "failed_attempts": "SELECT, DELETE",
        "device_profiles": "SELECT, INSERT, DELETE",
        "api_keys": "SELECT, INSERT, UPDATE (revoked_at, expires_at, replaced_by)",
        "api_key_uses": "SELECT",
        "device_events": f"SELECT, {_NOTING}",
    },
    SEALER: {
        **_SCHEMA_VERSION,
        "decrypt_audit_log": "SELECT",
        "audit_seals": "SELECT, INSERT",
        "audit_tiles": "SELECT, INSERT",
        "audit_chains": "SELECT, INSERT, UPDATE",
        "encryption_keys": "SELECT",
    },
    MAINTAINER: {
        **_SCHEMA_VERSION,
        **_RECORDING,
        # It owns them: only an owner may attach and detach partitions.
        "payment_tokens": ", ".join(VERBS),
        # Locks what it deletes, which asks for UPDATE of some column. Nothing reads this one.
        "token_idempotency_keys": "SELECT, UPDATE (created_at), DELETE",
        "worker_token_uses": "SELECT, DELETE",
        "worker_limit_windows": "SELECT, DELETE",
        "failed_attempts": "SELECT, DELETE",
        "device_events": "SELECT, DELETE",
        "device_failures": "SELECT, DELETE",
    },
    AUDITOR: {
        **_SCHEMA_VERSION,
        "decrypt_audit_log": "SELECT, INSERT (writer_id, sequence, record)",
        "decrypt_audit_log_unchained": "SELECT",
        "audit_records": "SELECT",
        "audit_seals": "SELECT",
        "audit_tiles": "SELECT",
        "audit_chains": "SELECT",
        # Places holds; releasing one is the owner's.
        "audit_holds": "SELECT, INSERT (hold_id, reason, placed_by, first_month, last_month)",
        "audit_exports": "SELECT",
        "key_events": "SELECT",
        "device_events": "SELECT",
        # All but the wrapped keys.
        "encryption_keys": (
            "SELECT (purpose, version, state, kms_key_id, environment, created_at, activated_at, public_key, retired_at,"
            " destruction_due_at, destroyed_at)"
        ),
    },
}

TABLES = sorted({table for needs in NEEDS.values() for table in needs})

OWNED = {MAINTAINER: "payment_tokens"}
"""Tables whose partitions belong to a role."""

Privileges = dict[tuple[str, str], frozenset[str] | None]
"""By table and verb: the columns, or ``None`` for all, those of tomorrow as well."""

_PRIVILEGE = re.compile(r"(\w+)(?: \(([^)]*)\))?")


@cache
def needs_of(role: str) -> Privileges:
    return {
        (table, verb): frozenset(columns.split(", ")) if columns else None
        for table, text in NEEDS[role].items()
        for verb, columns in _PRIVILEGE.findall(text)
    }


def needed_by(roles: Collection[str]) -> Privileges:
    """Of a login that plays several roles."""
    together: Privileges = {}
    for role in roles:
        for name, columns in needs_of(role).items():
            known = together.get(name, frozenset())
            together[name] = None if known is None or columns is None else known | columns
    return together


def beyond(some: Privileges, others: Privileges) -> list[str]:
    """What of the one is not among the other, as "UPDATE (status) on payment_tokens"."""
    found = []
    for (table, verb), columns in sorted(some.items()):
        allowed = others.get((table, verb), frozenset())
        if allowed is None:
            continue
        if columns is None:
            found.append(f"{verb} on {table}")
        elif columns - allowed:
            found.append(f"{verb} ({', '.join(sorted(columns - allowed))}) on {table}")
    return found
