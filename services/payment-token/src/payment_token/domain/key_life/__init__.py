"""The life of the keys above stored data: pending, active, decrypt-only, destroying, destroyed.

:mod:`version` what a version is · :mod:`cryptoperiod` how long one may seal · :mod:`new_version` ·
:mod:`first_keys` · :mod:`rotate_key` ·
:mod:`reencrypt_records` · :mod:`retire_key` · :mod:`destroy_key` · :mod:`replace_lost_signing_key` · :mod:`key_event` the signed history ·
:mod:`ports` what they need.
"""
