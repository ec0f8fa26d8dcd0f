"""gRPC beside REST: the same operations, rules and errors, as ``proto/payment_token/v1`` has them."""

import os

# The library's C core writes lines of its own to standard error, with what peers sent, among ours. It reads this once.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
