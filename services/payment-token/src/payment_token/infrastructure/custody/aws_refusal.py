"""A call that AWS refuses."""


class AWSRefusalError(Exception):
    """The service understood the call and refuses it: a retry cannot help. ``code`` is the service's own.

    Or boto3 refuses to make the call at all, for want of credentials; then the code is the name of its error.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
