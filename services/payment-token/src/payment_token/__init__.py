"""Payment Token Service: card reads in, payment tokens out, card data back to authorised workers only."""

from importlib.metadata import version

__version__ = version("payment-token")
