"""What the service decides. No input or output: time, randomness and identifiers come in as arguments.

Start with the two use cases, which read from top to bottom:

* :mod:`tokenise`, a terminal's encrypted read becomes a token
* :mod:`release`, a worker gets card data back (:mod:`view_token` and :mod:`revoke_token` are the small ones)

What they are made of:

* a payload: :mod:`device_payload`, :mod:`device_profile`, :mod:`enrolment`, :mod:`dukpt`, :mod:`device_keys`,
  :mod:`payload_cipher`
* a card: :mod:`card_data`, :mod:`cleartext_guard`
* a token: :mod:`token_id`, :mod:`token`, :mod:`sealing`, :mod:`keys`, :mod:`request_fingerprint`
* who may, and how often: :mod:`api_key`, :mod:`permits`, :mod:`worker_policy`; and what is recorded: :mod:`audit`

:mod:`ports` is what they need from outside, :mod:`errors` what can go wrong, :mod:`sensitive` how a secret is held.
"""
