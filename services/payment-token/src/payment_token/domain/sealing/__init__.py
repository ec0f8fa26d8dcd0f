"""Sealing: how card data is stored. See :mod:`envelope` for the how, :mod:`record` for the bytes."""

from payment_token.domain.sealing.associated_data import Binding, Purpose
from payment_token.domain.sealing.envelope import Random, open_record, rewrap, seal
from payment_token.domain.sealing.record import SealedRecord

__all__ = ["Binding", "Purpose", "Random", "SealedRecord", "open_record", "rewrap", "seal"]
