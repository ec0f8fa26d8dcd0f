"""The terminals of a fleet: made, injected and registered before the day begins."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from payment_token.cli.simulate import choose_bdk
from payment_token.cli.virtual_terminal import DUKPTTerminal, Encryption, new_base
from payment_token.domain.change_devices import ChangeDevices
from payment_token.domain.device_payload import Container, KeyVariant
from payment_token.domain.device_profile import DeviceProfile
from payment_token.domain.device_registry import Registration
from payment_token.domain.device_states import StateChange
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BaseDerivationKey, Device, DeviceState
from payment_token.domain.identifiers import DeviceId, MerchantId
from payment_token.domain.reader_profiles import BUILT_IN
from payment_token.infrastructure.custody.custodians import Custodians
from payment_token.infrastructure.database.device_directory import RegisteredBDK
from payment_token.settings import ConfigurationError

DEFAULT_PROFILES = ("generic-aes", "generic-tdes")

# By an LRC and a sum, or a CRC. Messages in TLV have none.
_CHECKED = frozenset({Container.IDTECH_MSR, Container.MAGTEK_SWIPE})


@dataclass(frozen=True, slots=True)
class Floor:
    """``good`` send parts, ``framed`` a reader's message, and those of them that are ``checked`` one with a check of its bytes.

    ``jumping`` count as no other terminal does, so they do nothing else.
    """

    good: Sequence[DUKPTTerminal]
    framed: Sequence[DUKPTTerminal]
    checked: Sequence[DUKPTTerminal]
    jumping: Sequence[DUKPTTerminal]
    wrong_variant: DUKPTTerminal
    stolen: DUKPTTerminal
    unknown: DUKPTTerminal


class FloorMaker:
    """Each fleet is new: a terminal whose counter began anew would be a replay."""

    def __init__(
        self,
        merchant: MerchantId,
        changes: ChangeDevices,
        custodians: Custodians,
        known: Sequence[RegisteredBDK],
    ) -> None:
        self._merchant = merchant
        self._changes = changes
        self._custodians = custodians
        self._known = known
        self._run = uuid.uuid4().hex[:6]

    async def make(self, devices: int, profiles: Sequence[str]) -> Floor:
        """Raises ConfigurationError for a profile that is not there, or that no key serves."""
        chosen = [self._profile(name) for name in profiles]
        good: list[DUKPTTerminal] = []
        framed: list[DUKPTTerminal] = []
        checked: list[DUKPTTerminal] = []
        for number in range(devices):
            profile = chosen[number % len(chosen)]
            terminal = await self._made(f"{number:04}", profile)
            (good if profile.container is None else framed).append(terminal)
            if profile.container in _CHECKED:
                checked.append(terminal)
        if not good:
            raise ConfigurationError(
                "--profile: at least one that sends parts, beside those with a container."
            )
        plain = BUILT_IN[DEFAULT_PROFILES[0]].profile
        return Floor(
            good=good,
            framed=framed,
            checked=checked,
            jumping=[await self._made(f"jumps-{one}", plain) for one in range(4)],
            wrong_variant=await self._made("variant", plain, KeyVariant.DATA_RESPONSE),
            stolen=await self._made("stolen", plain, state=DeviceState.STOLEN),
            unknown=await self._made("unknown", plain, state=None),
        )

    @staticmethod
    def _profile(name: str) -> DeviceProfile:
        profile = BUILT_IN[name].profile if name in BUILT_IN else DeviceProfile()
        if profile.key_variant is None:
            raise ConfigurationError(
                f"--profile: {name} is not of DUKPT readers that are simulated."
            )
        return profile

    async def _made(
        self,
        name: str,
        profile: DeviceProfile,
        encrypts_with: KeyVariant | None = None,
        state: DeviceState | None = DeviceState.REGISTERED,
    ) -> DUKPTTerminal:
        """Registered in that state, if any. It may encrypt with another variant than it says."""
        bdk = choose_bdk(self._known, profile)
        device_id = DeviceId(f"FLEET-{self._run}-{name}")
        ksn = KSN.of_any_counter(new_base(bdk).hex(), bdk.algorithm.scheme)
        initial_key = await self._custodians.initial_key(bdk, ksn)
        if state is not None:
            await self._register(device_id, bdk, profile, ksn, state)
        encryption = Encryption.of(
            replace(profile, key_variant=encrypts_with or profile.key_variant)
        )
        return DUKPTTerminal(device_id, bdk, ksn.value, initial_key, encryption)

    async def _register(
        self,
        device_id: DeviceId,
        bdk: BaseDerivationKey,
        profile: DeviceProfile,
        ksn: KSN,
        state: DeviceState,
    ) -> None:
        initial_keys = frozenset({ksn.initial_key_id})
        device = Device(
            self._merchant, device_id, bdk.bdk_id, DeviceState.REGISTERED, profile, initial_keys
        )
        await self._changes.register(Registration(device))
        if state is DeviceState.STOLEN:
            await self._changes.change_state(
                self._merchant, device_id, StateChange.REPORT_STOLEN, "simulated"
            )
