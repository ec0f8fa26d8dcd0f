"""A second database of the same server: the very tables and rows of the service, for pgbench alone."""

from dataclasses import dataclass

import psycopg

from benchmarks.row_template import RowTemplate
from payment_token.infrastructure.database.embedded import EmbeddedServer

NAME = "baseline"
TOKENS = 20_000

# 36 characters behind the prefix, as a token has. pgbench's \set gives the two numbers.
_NEW_ID = (
    "'pt_' || lpad(to_hex(:a::bigint), 16, '0') || lpad(to_hex(:b::bigint), 16, '0') || 'hdcv'"
)
_OLD_ID = "'pt_' || lpad({number}::text, 36, 'b')"
_RANDOM_TOKENS = "\\set a random(1, 9000000000000000000)\n\\set b random(1, 9000000000000000000)\n"
_NEW_KEY = "lpad(to_hex(:b::bigint), 16, '0') || lpad(to_hex(:a::bigint), 16, '0')"
_A_DAY_ON = "now() + interval '1 day'"


@dataclass(frozen=True, slots=True)
class Scripts:
    """For pgbench."""

    create: str
    decrypt: str


def copy_database(server: EmbeddedServer) -> str:
    """Returns its URL. Nobody may be connected to the service's database."""
    maintenance = server.url.replace("/payment_tokens?", "/postgres?")
    with psycopg.connect(maintenance, autocommit=True) as link:
        link.execute(f"CREATE DATABASE {NAME} TEMPLATE payment_tokens")
    return server.url.replace("/payment_tokens?", f"/{NAME}?")


def fill_copy(service_url: str, url: str) -> None:
    """Tokens to read, after one that the service has made."""
    with psycopg.connect(service_url) as link:
        token = RowTemplate.of(link, "payment_tokens")
    numbered = {"token_id": _OLD_ID.format(number="n")}
    with psycopg.connect(url, autocommit=True) as link:
        link.execute(token.insert(numbered, f"generate_series(1, {TOKENS}) AS n").encode())
        link.execute("VACUUM ANALYZE payment_tokens")


def scripts(service_url: str) -> Scripts:
    """With rows as the service has written them."""
    with psycopg.connect(service_url) as link:
        token = RowTemplate.of(link, "payment_tokens")
        claim = RowTemplate.of(link, "token_idempotency_keys")
        audit = RowTemplate.of(link, "decrypt_audit_log")
    return Scripts(_create(token, claim), _decrypt(token, audit))


def _create(token: RowTemplate, claim: RowTemplate) -> str:
    claimed = claim.insert(
        {
            "idempotency_key": _NEW_KEY,
            "token_id": _NEW_ID,
            "created_at": "now()",
            "expires_at": _A_DAY_ON,
        },
        end=" ON CONFLICT (merchant_id, idempotency_key) DO NOTHING",
    )
    inserted = token.insert({"token_id": _NEW_ID})
    return f"{_RANDOM_TOKENS}BEGIN;\n{claimed};\n{inserted};\nCOMMIT;\n"


def _decrypt(token: RowTemplate, audit: RowTemplate) -> str:
    key = {
        "merchant_id": token.values["merchant_id"],
        "purge_day": token.values["purge_day"],
        "token_id": _OLD_ID.format(number=":n"),
    }
    where = " AND ".join(f"{column} = {value}" for column, value in key.items())
    recorded = audit.insert(
        {
            "writer_id": "gen_random_uuid()",
            "recorded_at": "clock_timestamp()",
        }
    )
    return (
        f"\\set n random(1, {TOKENS})\nBEGIN;\nSELECT * FROM payment_tokens WHERE {where};\n"
        f"{recorded};\nCOMMIT;\n"
    )
