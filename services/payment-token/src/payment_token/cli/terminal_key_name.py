"""Which key a terminal is to get: the KSN or key epoch of ``devices provision``, given or new, and never one that was given before."""

import os
from collections.abc import Awaitable, Callable

from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey
from payment_token.domain.errors import BadKSNError
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.initial_ksn import new_initial_ksn
from payment_token.infrastructure.database.device_directory import PostgresDeviceDirectory
from payment_token.settings import ConfigurationError

_MOST_TRIES = 100


async def key_name(
    directory: PostgresDeviceDirectory,
    bdk: BaseDerivationKey,
    device_id: DeviceId,
    merchant_id: MerchantId,
    ksn: str | None,
    key_epoch: int | None,
) -> KSN | AEADKeyName:
    if bdk.algorithm.scheme is Scheme.DEVICE_AEAD:
        if ksn is not None or key_epoch is None:
            raise ConfigurationError(f"{bdk.bdk_id} is a {bdk.algorithm} key: name a --key-epoch.")
        name: KSN | AEADKeyName = AEADKeyName.checked(merchant_id, device_id, key_epoch)
    elif key_epoch is not None:
        raise ConfigurationError(f"--key-epoch: {bdk.bdk_id} is a DUKPT key, which has KSNs.")
    elif ksn is None:
        return await _free_ksn(bdk, lambda ksn: directory.is_bound(bdk.bdk_id, ksn.initial_key_id))
    else:
        name = _given_ksn(bdk, ksn)
    if await directory.is_bound(bdk.bdk_id, name.initial_key_id):
        raise given_before()
    return name


async def _free_ksn(bdk: BaseDerivationKey, is_bound: Callable[[KSN], Awaitable[bool]]) -> KSN:
    for _ in range(_MOST_TRIES):
        ksn = new_initial_ksn(bdk, os.urandom)
        if _in_prefix(bdk, ksn) and not await is_bound(ksn):
            return ksn
    raise ConfigurationError(
        f"The KSN prefix of {bdk.bdk_id} leaves no room for more terminals: name a --ksn,"
        " or take a key with a shorter prefix."
    )


def _given_ksn(bdk: BaseDerivationKey, text: str) -> KSN:
    ksn = None
    try:
        ksn = KSN.of_any_counter(text, bdk.algorithm.scheme)
    except BadKSNError:
        pass
    if ksn is None:
        raise ConfigurationError(f"--ksn: not a KSN of {bdk.algorithm.scheme}.")
    if ksn.counter:
        raise ConfigurationError("--ksn: the counter of a new terminal is zero.")
    if not _in_prefix(bdk, ksn):
        raise ConfigurationError(f"--ksn: the KSNs of {bdk.bdk_id} start with {bdk.ksn_prefix}.")
    return ksn


def _in_prefix(bdk: BaseDerivationKey, ksn: KSN) -> bool:
    return str(ksn).startswith(bdk.ksn_prefix or "")


def given_before() -> ConfigurationError:
    # With its counter at zero again, a terminal would use the keys of its first life a second time.
    return ConfigurationError(
        "That key was given to a terminal before, and is given once only. Take another --ksn, or leave it out;"
        " for device-aead take the next --key-epoch."
    )
