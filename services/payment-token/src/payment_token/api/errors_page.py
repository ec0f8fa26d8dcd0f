"""Writes ``docs/errors.md`` from the table of errors: ``python -m payment_token.api.errors_page > docs/errors.md``."""

import sys

from payment_token.api.errors import ANSWERS

_HEAD = """\
# Errors

<!-- Generated from api/errors.py by `python -m payment_token.api.errors_page`; a test compares. -->

In REST every error is an RFC 9457 problem document (`application/problem+json`) with a stable `code`, a `detail` that names fields
and limits but never values, and the `request_id` to quote. `Retry-After` is set where the same request may succeed later.
Checks run in this order: route, method, authentication, media type, size, syntax, fields, merchant, and then the work.

In gRPC it is a `google.rpc.Status` (in `grpc-status-details-bin`) with the same detail as its message. Its `ErrorInfo` has the domain
`payment-token` and the code in capitals as its reason (`TOKEN_NOT_FOUND`). Beside it are a `RequestInfo`, a `BadRequest` that names the
field of an `invalid_field`, and a `RetryInfo` where waiting helps.

| status | gRPC status | code | what it says | retry after |
|---|---|---|---|---|
"""

_TAIL = """
Every failure of a well-formed payload (wrong key, bad padding, not card data, Luhn) is the one `decryption_failed`: a finer
answer would let an attacker probe the ciphertext bit by bit. In development the problem carries a `hint` with the stage.

`cleartext_card_data` means that a text (metadata, an identifier, an idempotency key, a request id) holds a card number or a track, or that
what should be a ciphertext was not encrypted. A number counts when it stands alone, a brand issues its first digits at its length, and its
check digit is right. So some numbers that are none are refused, of random ones about as many as here; keep long numbers out of free texts,
or put letters between their digits.

| identifier | refused |
|---|---|
| UUID, with or without hyphens | none |
| up to 12 digits; numbers that begin with a date such as 20260131; times in milliseconds | none |
| 13 random digits | 1.6 % |
| 14 random digits | 0.9 % |
| 15 random digits | 1.1 % |
| 16 random digits | 3.4 % |
| 17 or 18 random digits | 1.4 % |
| 19 random digits | 2.4 % |
| KSN or 16 to 24 random hexadecimal digits, in a free text | 0.03 % |
| 32 to 64 random hexadecimal digits (SHA-256) | 0.1 % |

The fields of KSN, initialisation vector, payment token and times have a form of their own and are not looked at. A ciphertext is taken for
card data in clear less than once in 10^8.

`token_not_found` answers alike for malformed ids, unknown and purged tokens, and tokens of another merchant.
`token_expired` and `token_revoked` carry the id as `payment_token` (in gRPC, in the metadata of the `ErrorInfo`).

`rate_limited` says by itself when its window ends, in `Retry-After` and `RetryInfo`: that of a [worker's rate](policy.md#rate-and-budget)
within a second or so, that of its budget of tokens perhaps much later.

`record_integrity_failure` is an alarm, not an answer to a caller's mistake: a stored record does not open. A response with
the code `internal_error` (500, `INTERNAL`) is a defect of the service; please report it with its `request_id`.

A caller of the internal listener without a valid client certificate gets no answer of ours: the TLS handshake fails, which gRPC's
client libraries call `UNAVAILABLE`. A gRPC message beyond what the listener reads at all (256 KiB) is a `RESOURCE_EXHAUSTED` without
details, by the gRPC library itself.
"""


def errors_page() -> str:
    rows = sorted(ANSWERS.items(), key=lambda item: (item[1].status, item[0].code))
    lines = [
        f"| {answer.status} | `{answer.rpc}` | `{error.code}` | {error.default_detail} |"
        f" {'' if answer.retry_after_seconds is None else f'{answer.retry_after_seconds} s'} |"
        for error, answer in rows
    ]
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


if __name__ == "__main__":
    sys.stdout.write(errors_page())
