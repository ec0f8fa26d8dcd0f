"""Why a payload does not decrypt to card data. For the development keystore alone: with an answer like this, whoever may
ask can decrypt payloads that are not theirs.

Every way in which a terminal could have encrypted is tried (:mod:`attempts`), its plaintext read by the service's own
readers (:mod:`plaintext`), or looked through for what comes close (:mod:`clues`). :mod:`diagnose` is the order of it,
:mod:`written` what people paste, :mod:`advice` what to do. Nothing here shows a plaintext or a key.
"""

from payment_token.domain.diagnosis.aead import AEADFinding, diagnose_aead
from payment_token.domain.diagnosis.attempts import Attempt
from payment_token.domain.diagnosis.diagnose import diagnose
from payment_token.domain.diagnosis.inquiry import Closest, Diagnosis, Finding, Inquiry
from payment_token.domain.diagnosis.plaintext import Reading
from payment_token.domain.diagnosis.remark import Mistake, Remark
from payment_token.domain.diagnosis.written import Written, read_ciphertext

__all__ = [
    "AEADFinding",
    "Attempt",
    "Closest",
    "Diagnosis",
    "Finding",
    "Inquiry",
    "Mistake",
    "Reading",
    "Remark",
    "Written",
    "diagnose",
    "diagnose_aead",
    "read_ciphertext",
]
