"""gRPC beside REST: the same operations, rules and errors, as ``proto/payment_token/v1`` has them."""
