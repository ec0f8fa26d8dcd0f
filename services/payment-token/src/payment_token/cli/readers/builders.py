"""Which message a simulated reader of a container sends."""

from collections.abc import Mapping

from payment_token.cli.readers import (
    idtech_emv,
    idtech_msr,
    magtek_emv,
    magtek_swipe,
    online_message,
)
from payment_token.cli.readers.tracks import FrameBuilder
from payment_token.domain.device_payload import Cipher, Container
from payment_token.settings import ConfigurationError

BUILDERS: Mapping[tuple[Container, Cipher], FrameBuilder] = {
    (Container.IDTECH_MSR, Cipher.TDES_2KEY): idtech_msr.enhanced,
    (Container.IDTECH_MSR, Cipher.AES_128): idtech_msr.enhanced_aes,
    (Container.IDTECH_EMV, Cipher.TDES_2KEY): idtech_emv.with_attributes,
    (Container.IDTECH_EMV, Cipher.AES_128): idtech_emv.with_attributes,
    (Container.MAGTEK_SWIPE, Cipher.TDES_2KEY): magtek_swipe.swipe,
    (Container.MAGTEK_EMV, Cipher.TDES_2KEY): magtek_emv.without_mac,
    (Container.MIURA_TLV, Cipher.TDES_2KEY): online_message.miura,
    (Container.BBPOS_TLV, Cipher.TDES_2KEY): online_message.bbpos,
}


def builder_of(container: Container, cipher: Cipher) -> FrameBuilder:
    """Raises ConfigurationError for a message that is not simulated."""
    builder = BUILDERS.get((container, cipher))
    if builder is None:
        raise ConfigurationError(f"No reader is simulated that sends {container} under {cipher}.")
    return builder
