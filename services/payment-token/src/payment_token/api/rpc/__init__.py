"""gRPC beside REST: the same operations, rules and errors, as ``proto/payment_token/v1`` has them."""

import os

# Left alone, the library's C core tells of the handshakes that it refused, and the service hears it (:mod:`library_log`). They
# belong on record, so the environment may not silence it. It reads this once.
os.environ.pop("GRPC_VERBOSITY", None)
