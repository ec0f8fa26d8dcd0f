"""The use cases of the life of keys, as the commands of an operator need them."""

import os

from payment_token.bootstrap.keys import Keys
from payment_token.domain.key_life.destroy_key import DestroyKey
from payment_token.domain.key_life.reencrypt_records import ReencryptRecords
from payment_token.domain.key_life.replace_lost_signing_key import ReplaceLostSigningKey
from payment_token.domain.key_life.retire_key import RetireKey
from payment_token.domain.key_life.rotate_key import RotateKey
from payment_token.infrastructure.database.pool import Pool
from payment_token.infrastructure.database.sealed_records import PostgresSealedRecords
from payment_token.infrastructure.sad_epoch_keyring import EpochKeyMover


class KeyLife:
    """On the keys of a process that does not serve. ``keys`` and ``records`` are there for a look at what is."""

    def __init__(self, keys: Keys, pool: Pool) -> None:
        self.keys = keys
        self.records = PostgresSealedRecords(pool)
        self.rotate = RotateKey(
            versions=keys.versions,
            encrypter=keys.custodians,
            keks=keys.custodians,
            history=keys.history,
            environment=keys.environment,
        )
        self.retire = RetireKey(versions=keys.versions, history=keys.history)
        self.reencrypt = ReencryptRecords(
            records=self.records,
            service_keys=keys.service,
            versions=keys.versions,
            history=keys.history,
            random=os.urandom,
            environment=keys.environment,
        )
        self.destroy = DestroyKey(
            versions=keys.versions,
            epoch_keys=EpochKeyMover(keys.epoch_store, keys.custodians, keys.environment),
            encrypter=keys.custodians,
            keks=keys.custodians,
            history=keys.history,
        )
        self.replace_lost_signing_key = ReplaceLostSigningKey(
            versions=keys.versions,
            encrypter=keys.custodians,
            clock=keys.clock,
            changes=keys.changes,
            environment=keys.environment,
        )
