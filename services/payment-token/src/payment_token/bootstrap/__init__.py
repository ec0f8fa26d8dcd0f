"""The one place that knows every layer: it builds the adapters, hands them to the use cases, and runs the listeners.

:mod:`keys` custodians and keyrings · :mod:`key_life` what operators do with keys · :mod:`service` the adapters and use cases of a process · :mod:`listeners` what listens · :mod:`upkeep` maintenance.
"""

from payment_token.bootstrap.key_life import KeyLife
from payment_token.bootstrap.keys import Keys
from payment_token.bootstrap.listeners import (
    Listeners,
    Role,
    addresses,
    build_listeners,
    maintenance_listeners,
    serving,
)
from payment_token.bootstrap.service import Service
from payment_token.bootstrap.upkeep import Upkeep

__all__ = [
    "KeyLife",
    "Keys",
    "Listeners",
    "Role",
    "Service",
    "Upkeep",
    "addresses",
    "build_listeners",
    "maintenance_listeners",
    "serving",
]
