"""A day of a shop floor, against a running service: what many terminals send, good and bad, and what must be answered.

:mod:`expectations` the one table of what is sent and how it must be answered · :mod:`floor` the terminals ·
:mod:`day` who sends what and when · :mod:`sending` at a rate, a bounded number at once · :mod:`comparison` the table at the end.
"""
