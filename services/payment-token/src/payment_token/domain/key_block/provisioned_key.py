"""The key of one terminal that leaves for key injection: as a key block, and never otherwise.

=================  ====================  =============================================================
for                usage, mode           optional block that names the key
=================  ====================  =============================================================
TDES DUKPT         ``B1`` ``X``          ``KS``: the initial KSN, 10 bytes
AES DUKPT          ``B1`` ``X``          ``IK``: the initial key id, 8 bytes (X9.143 keeps KS for TDES)
``device-aead``    ``D0`` ``E``          ``LB``: ``key-epoch=N``
=================  ====================  =============================================================

Each also has the check values KC and KP, and is not exportable (``N``): it ends in the terminal.
"""

from payment_token.domain.device_aead import AEADKeyName
from payment_token.domain.device_payload import Scheme
from payment_token.domain.dukpt import KSN
from payment_token.domain.enrolment import BDKAlgorithm
from payment_token.domain.key_block.check_values import (
    OF_KBPK,
    OF_KEY,
    algorithm_of_kbpk,
    check_values_block,
)
from payment_token.domain.key_block.header import KeyBlockHeader, KeyBlockVersion
from payment_token.domain.key_block.optional_blocks import OptionalBlock
from payment_token.domain.key_block.protection import check_size
from payment_token.domain.key_block.strength import check_protects
from payment_token.domain.key_block.wrapping import wrap
from payment_token.domain.key_check_value import aes_check_value, tdes_check_value
from payment_token.domain.sensitive import SecretKey


def check_kbpk(kbpk: SecretKey, version: KeyBlockVersion, algorithm: BDKAlgorithm) -> None:
    """Raises KeyBlockError for a KBPK that is weaker than the keys that a BDK of that algorithm gives, or misfits."""
    check_size(version, kbpk)
    key_bits = algorithm.key_bytes * 8
    check_protects(kbpk, algorithm_of_kbpk(version), _algorithm(algorithm), key_bits)


def provisioned_key_block(
    kbpk: SecretKey,
    version: KeyBlockVersion,
    algorithm: BDKAlgorithm,
    name: KSN | AEADKeyName,
    key: SecretKey,
) -> str:
    """``algorithm`` is that of the BDK. Raises KeyBlockError for a KBPK that is weaker, or does not fit the version."""
    check_kbpk(kbpk, version, algorithm)
    letter = _algorithm(algorithm)
    aead = isinstance(name, AEADKeyName)
    header = KeyBlockHeader(
        version=version,
        usage="D0" if aead else "B1",
        algorithm=letter,
        mode_of_use="E" if aead else "X",
        exportability="N",
        optional_blocks=(
            _naming_block(name),
            check_values_block(OF_KEY, key, letter),
            check_values_block(OF_KBPK, kbpk, algorithm_of_kbpk(version)),
        ),
    )
    return wrap(kbpk, header, key)


def provisioned_check_value(key: SecretKey, algorithm: BDKAlgorithm) -> str:
    """As the block states it in KC: of the terminal's key, which is a TDES or an AES key whatever the BDK is."""
    return tdes_check_value(key) if _algorithm(algorithm) == "T" else aes_check_value(key)


def _algorithm(algorithm: BDKAlgorithm) -> str:
    return "T" if algorithm is BDKAlgorithm.TDES_2KEY else "A"


def _naming_block(name: KSN | AEADKeyName) -> OptionalBlock:
    if isinstance(name, AEADKeyName):
        return OptionalBlock("LB", f"key-epoch={name.key_epoch}")
    block_id = "IK" if name.scheme is Scheme.DUKPT_AES else "KS"
    return OptionalBlock(block_id, name.initial_key_id.hex().upper())
