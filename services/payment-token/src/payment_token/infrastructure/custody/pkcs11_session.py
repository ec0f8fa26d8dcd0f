"""One session with a PKCS#11 token, owned by one thread.

The Python binding initialises the library without asking it to lock, and SoftHSM2 then corrupts its state when several
threads each have a session: wrong results, deadlocks, crashes. So one dedicated thread makes every call, in order, and
one lock keeps the threads of several tokens apart, which share the library. The session is opened with the first call:
after any fork, because a session does not survive one.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
from pkcs11 import Session, exceptions
from pkcs11.exceptions import NoSuchKey, NoSuchToken, PKCS11Error

from payment_token.domain.errors import (
    KeyCustodianRefusedError,
    KeyCustodianUnavailableError,
    PaymentTokenError,
)
from payment_token.domain.sensitive import SensitiveText
from payment_token.infrastructure.custody.dedicated_thread import DedicatedThread
from payment_token.infrastructure.custody.patience import Patience

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 2.5
CLOSE_SECONDS = 2.0
MOST_WAITING = 1000

_LIBRARY = threading.Lock()

# Each wrong PIN counts towards locking the token for everybody.
_PIN_REFUSALS = (
    exceptions.PinExpired,
    exceptions.PinIncorrect,
    exceptions.PinInvalid,
    exceptions.PinLenRange,
    exceptions.PinLocked,
    exceptions.UserPinNotInitialized,
)

# The token is there, and does not do this with this key. A new session would not help, nor would waiting.
_REFUSALS = (
    exceptions.AttributeReadOnly,
    exceptions.AttributeSensitive,
    exceptions.AttributeTypeInvalid,
    exceptions.AttributeValueInvalid,
    exceptions.FunctionNotSupported,
    exceptions.KeyNotWrappable,
    exceptions.KeySizeRange,
    exceptions.KeyTypeInconsistent,
    exceptions.KeyUnextractable,
    exceptions.MechanismInvalid,
    exceptions.MechanismParamInvalid,
    exceptions.MultipleObjectsReturned,
    exceptions.MultipleTokensReturned,
    exceptions.TemplateIncomplete,
    exceptions.TemplateInconsistent,
    exceptions.TokenWriteProtected,
)

Result = TypeVar("Result")


class _LibraryMissingError(Exception):
    pass


class PKCS11Session:
    """For one event loop. ``module`` is the vendor's library, ``pin`` the user PIN of the token."""

    def __init__(self, module: Path, token: str, pin: SensitiveText) -> None:
        self._module = module
        self._token = token
        self._pin = pin
        self._thread = DedicatedThread(f"pkcs11-{token}")
        self._session: Session | None = None
        self._patience = Patience()
        self._waiting = 0
        self._locked_out = False
        self._closed = False

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
                    return await asyncio.wrap_future(
                        self._thread.submit(partial(self._run_now, work))
                    )
            except TimeoutError:
                logger.warning("no answer in time", extra={"token": self._token})
            finally:
                self._waiting -= 1
            raise KeyCustodianUnavailableError

    def close(self) -> None:
        """Again is fine. A token that hangs is left hanging: the process must end in time."""
        if not self._closed:
            self._closed = True
            self._thread.submit(self._close_now)
            self._thread.end(CLOSE_SECONDS)

    def _run_now(self, work: Callable[[Session], Result]) -> Result:
        fault: PaymentTokenError
        try:
            with _LIBRARY:
                return work(self._opened())
        except _LibraryMissingError:
            fault = KeyCustodianRefusedError(f"PKCS11_MODULE {self._module} cannot be loaded.")
        except NoSuchKey:
            fault = KeyCustodianRefusedError("The PKCS#11 token has no key of this name.")
        except NoSuchToken:
            fault = KeyCustodianRefusedError(
                f"PKCS11_MODULE {self._module} has no token {self._token}."
            )
        except _PIN_REFUSALS:
            # Never tried again by this process.
            self._locked_out = True
            fault = KeyCustodianRefusedError("The PKCS#11 token refuses the PIN.")
        except _REFUSALS as error:
            fault = KeyCustodianRefusedError(
                f"The PKCS#11 token refuses the operation: {type(error).__name__}."
                " Check that the key is of its algorithm, and what it may be used for."
            )
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
            raise exceptions.PinLocked
        if self._session is None:
            token = self._library().get_token(token_label=self._token)
            try:
                self._session = token.open(rw=True, user_pin=self._pin.reveal())
            except exceptions.UserAlreadyLoggedIn:
                # A log-in is the process's, not the session's: an earlier session of it lives on.
                self._session = token.open(rw=True)
        return self._session

    def _library(self) -> Any:
        try:
            return pkcs11.lib(str(self._module))
        except PKCS11Error as error:
            # The binding has no class for this one. A library that is there, and whose HSM is away, has.
            if type(error) is not PKCS11Error:
                raise
        raise _LibraryMissingError

    def _close_now(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                with _LIBRARY:
                    session.close()
            except PKCS11Error:
                pass
