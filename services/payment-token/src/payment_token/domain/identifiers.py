"""Names that callers choose, and the rules that they keep. The API refuses what does not match."""

import re
from typing import NewType

MerchantId = NewType("MerchantId", str)
DeviceId = NewType("DeviceId", str)
RequestId = NewType("RequestId", str)

MERCHANT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
DEVICE_ID = re.compile(r"[\x21-\x7e]{1,64}")
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
PURPOSE = re.compile(r"[a-z0-9_-]{1,64}")
BDK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
