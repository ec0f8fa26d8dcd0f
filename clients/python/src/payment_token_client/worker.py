"""The internal side, for workers with a client certificate."""

import ssl
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike

from payment_token_client import batches, operations
from payment_token_client.batches import DecryptItem
from payment_token_client.errors import ClientError
from payment_token_client.results import Completion, Release
from payment_token_client.retries import RetryBudget, RetryPolicy
from payment_token_client.transport import Transport


def worker_tls(
    ca: str | PathLike[str], certificate: str | PathLike[str], key: str | PathLike[str]
) -> ssl.SSLContext:
    """Mutual TLS from three PEM files. Only ``ca`` is trusted, not the system's authorities.

    Raises OSError (ssl.SSLError is one) for files that cannot be read or do not fit each other.
    """
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    return context


class WorkerClient(Transport):
    """Gets card data back. Who the worker is, its certificate says; what it may have, the service's policy says.

    Raises ValueError for an address that is not ``https``: card data never travels in clear.

    >>> WorkerClient("http://tokens.internal:8001", tls=ssl.create_default_context())
    Traceback (most recent call last):
    ValueError: the internal address is one of https
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext,
        policy: RetryPolicy | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        require_https(url)
        super().__init__(url, tls=tls, policy=policy, budget=budget)

    def decrypt(
        self,
        payment_token: str,
        merchant_id: str,
        purpose: str,
        *,
        fields: Sequence[str] = ("pan", "expiry"),
        request_id: str | None = None,
    ) -> Release:
        """Releases ``fields`` (of ``pan``, ``expiry``, ``cardholder_name``, ``sad``), each time with an audit record.

        Ask for what you need: one field that the policy denies refuses the whole. ``request_id`` stands in the audit log;
        one is made up where you give none.
        """
        return self._perform(
            operations.decrypt(payment_token, merchant_id, purpose, fields, request_id)
        )

    def complete_authorization(
        self, payment_token: str, merchant_id: str, outcome: str, *, request_id: str | None = None
    ) -> Completion:
        """The authorisation is complete, whatever came of it: the token's SAD ends now. Doing it twice is no error.

        ``outcome`` is ``approved``, ``declined`` or ``cancelled``; it stands in the audit log.
        """
        return self._perform(
            operations.complete_authorization(payment_token, merchant_id, outcome, request_id)
        )

    def decrypt_many(
        self, items: Iterable[DecryptItem], *, request_id: str | None = None
    ) -> Iterator[Release | ClientError]:
        """Any number of releases, 500 in a request, each with an audit record: what came of each, in their order.

        Requests are sent as the results are asked for, and none fails the rest: an item that could not be released is its
        error. The audit log has ``request_id`` with the number of the request and the place of the item: ``x:batch0:item7``.
        ``RetryPolicy`` holds for each request with what is sent again of it.
        """
        return self._perform_many(batches.decrypts(items, request_id))


def require_https(url: str) -> None:
    if not url.lower().startswith("https://"):
        raise ValueError("the internal address is one of https")
