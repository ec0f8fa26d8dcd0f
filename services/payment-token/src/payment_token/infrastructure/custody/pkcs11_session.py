"""One session with a PKCS#11 token, owned by one thread.

The Python binding initialises the library without asking it to lock, and SoftHSM2 then corrupts its state when several
threads each have a session: wrong results, deadlocks, crashes. So one dedicated thread makes every call, in order. It
opens the session with its first call: after any fork, because a session does not survive one.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pkcs11
from pkcs11 import Session
from pkcs11.exceptions import (
    NoSuchKey,
    NoSuchToken,
    PinIncorrect,
    PinLocked,
    PKCS11Error,
)

from payment_token.domain.errors import (
    KeyCustodianRefusedError,
    KeyCustodianUnavailableError,
    PaymentTokenError,
)
from payment_token.domain.sensitive import SensitiveText
from payment_token.infrastructure.custody.patience import Patience

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 2.5
MOST_WAITING = 1000

Result = TypeVar("Result")


class PKCS11Session:
    """For one event loop. ``module`` is the vendor's library, ``pin`` the user PIN of the token."""

    def __init__(self, module: Path, token: str, pin: SensitiveText) -> None:
        self._module = module
        self._token = token
        self._pin = pin
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"pkcs11-{token}")
        self._session: Session | None = None
        self._patience = Patience()
        self._waiting = 0
        self._locked_out = False

    async def run(self, work: Callable[[Session], Result]) -> Result:
        """Does ``work`` on the session's thread.

        Raises KeyCustodianRefusedError when the token has no such key, refuses the PIN or the operation,
        KeyCustodianUnavailableError when it does not answer in time. An error of PKCS#11 that ``work`` itself catches
        is its own affair.
        """
        if self._waiting >= MOST_WAITING:
            raise KeyCustodianUnavailableError
        async with self._patience.call():
            self._waiting += 1
            try:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    return await asyncio.get_running_loop().run_in_executor(
                        self._thread, self._run_now, work
                    )
            except TimeoutError:
                logger.warning("no answer in time", extra={"token": self._token})
            finally:
                self._waiting -= 1
            raise KeyCustodianUnavailableError

    def close(self) -> None:
        self._thread.submit(self._close_now)
        self._thread.shutdown(wait=True)

    def _run_now(self, work: Callable[[Session], Result]) -> Result:
        fault: PaymentTokenError
        try:
            return work(self._opened())
        except NoSuchKey:
            fault = KeyCustodianRefusedError("The PKCS#11 token has no key of this name.")
        except NoSuchToken:
            fault = KeyCustodianRefusedError(
                f"PKCS11_MODULE {self._module} has no token {self._token}."
            )
        except (PinIncorrect, PinLocked):
            # Never tried again by this process: a few wrong PINs lock the token for everybody.
            self._locked_out = True
            fault = KeyCustodianRefusedError("The PKCS#11 token refuses the PIN.")
        except (PKCS11Error, OSError) as error:
            logger.warning(
                "PKCS#11 error", extra={"token": self._token, "fault": type(error).__name__}
            )
            # Whatever the state of the session was: the next call begins with a new one.
            self._close_now()
            fault = KeyCustodianUnavailableError()
        raise fault

    def _opened(self) -> Session:
        if self._locked_out:
            raise PinLocked
        if self._session is None:
            token = pkcs11.lib(str(self._module)).get_token(token_label=self._token)
            self._session = token.open(rw=True, user_pin=self._pin.reveal())
        return self._session

    def _close_now(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except PKCS11Error:
                pass
