"""How a key block is protected: the key derivation binding methods of X9.143, version B with TDES and D with AES.

Two keys are derived from the KBPK, each by CMAC (NIST SP 800-38B) of these 8 bytes, counted up until there is enough:

======  =====  ================================================
offset  bytes  meaning
======  =====  ================================================
0       1      counter, from 1
1       2      0 the encryption key, 1 the MAC key
3       1      zero
4       2      algorithm of the derived key
6       2      its length in bits
======  =====  ================================================

MAC = CMAC(MAC key, header ‖ key data); then the key data is encrypted under CBC with the MAC as IV.
"""

import hmac

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from payment_token.domain.block_ciphers import aes, tdes
from payment_token.domain.key_block.errors import UnverifiedKeyBlockError
from payment_token.domain.key_block.header import KeyBlockVersion
from payment_token.domain.sensitive import SecretKey, SensitiveBytes

_ENCRYPTION, _MAC = 0, 1
_ALGORITHMS = {
    KeyBlockVersion.TDES: {16: 0x0000, 24: 0x0001},
    KeyBlockVersion.AES: {16: 0x0002, 24: 0x0003, 32: 0x0004},
}


def check_size(version: KeyBlockVersion, kbpk: SecretKey) -> None:
    """Raises UnverifiedKeyBlockError for a KBPK of a size that the version does not take."""
    if len(kbpk.reveal()) not in _ALGORITHMS[version]:
        sizes = " or ".join(str(size) for size in _ALGORITHMS[version])
        raise UnverifiedKeyBlockError(
            f"a key block of version {version} has a {version.name} protection key of {sizes} bytes"
        )


def protect(
    version: KeyBlockVersion, kbpk: SecretKey, header: str, key_data: SensitiveBytes
) -> tuple[bytes, bytes]:
    """The encrypted key data and the MAC. ``key_data`` is whole blocks. Raises UnverifiedKeyBlockError as below."""
    mac = _mac(version, kbpk, header, key_data.reveal())
    encryptor = _cbc(version, kbpk, mac).encryptor()
    return encryptor.update(key_data.reveal()), mac


def expose(
    version: KeyBlockVersion, kbpk: SecretKey, header: str, ciphertext: bytes, mac: bytes
) -> SensitiveBytes:
    """The key data, authentic. Raises UnverifiedKeyBlockError, also for a KBPK of a size that the version does not take."""
    key_data = _cbc(version, kbpk, mac).decryptor().update(ciphertext)
    if not hmac.compare_digest(mac, _mac(version, kbpk, header, key_data)):
        raise UnverifiedKeyBlockError
    return SensitiveBytes(key_data)


def _cbc(version: KeyBlockVersion, kbpk: SecretKey, mac: bytes) -> Cipher[modes.CBC]:
    return Cipher(_cipher(version, _derived(version, kbpk, _ENCRYPTION)), modes.CBC(mac))


def _mac(version: KeyBlockVersion, kbpk: SecretKey, header: str, key_data: bytes) -> bytes:
    return _cmac(version, _derived(version, kbpk, _MAC), header.encode("ascii") + key_data)


def _derived(version: KeyBlockVersion, kbpk: SecretKey, use: int) -> SecretKey:
    check_size(version, kbpk)
    length = len(kbpk.reveal())
    algorithm = _ALGORITHMS[version][length]
    tail = b"".join(
        (
            use.to_bytes(2, "big"),
            b"\0",
            algorithm.to_bytes(2, "big"),
            (length * 8).to_bytes(2, "big"),
        )
    )
    steps = range(1, -(-length // version.cipher_block) + 1)
    derived = b"".join(_cmac(version, kbpk, bytes((step,)) + tail) for step in steps)
    return SecretKey(derived[:length])


def _cmac(version: KeyBlockVersion, key: SecretKey, message: bytes) -> bytes:
    mac = CMAC(_cipher(version, key))
    mac.update(message)
    return mac.finalize()


def _cipher(version: KeyBlockVersion, key: SecretKey) -> TripleDES | AES:
    return tdes(key) if version is KeyBlockVersion.TDES else aes(key)
