"""The one place that knows every layer: it builds the adapters, hands them to the use cases, and runs the listeners.

:mod:`keys` custodians and keyrings · :mod:`key_life` what operators do with keys · :mod:`service` the adapters and use cases of a process · :mod:`listeners` what listens · :mod:`upkeep` maintenance.
"""
