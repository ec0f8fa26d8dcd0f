"""A device profile written as options, as ``--profile`` takes it, and as fields of a request."""

from payment_token.domain.device_profile import DeviceProfile


def as_options(profile: DeviceProfile) -> str:
    """For ``payment-token devices register``."""
    return " ".join(f"--{name} {value}" for name, value in _pairs(profile))


def as_profile(profile: DeviceProfile) -> str:
    """For ``--profile`` of ``payment-token bdk import`` and ``register``, where the algorithm settles the scheme."""
    return ",".join(f"{name}={value}" for name, value in _pairs(profile) if name != "scheme")


def as_fields(profile: DeviceProfile) -> dict[str, str]:
    """Of ``encrypted_payload`` in a create request; the container is stated by the part."""
    return {name.replace("-", "_"): value for name, value in _pairs(profile) if name != "container"}


def _pairs(profile: DeviceProfile) -> list[tuple[str, str]]:
    spoken = {
        "scheme": profile.scheme,
        "key-variant": profile.key_variant,
        "cipher": profile.cipher,
        "mode": profile.mode,
        "iv": None if profile.iv is None else profile.iv.hex().upper(),
        "container": profile.container,
    }
    return [(name, str(value)) for name, value in spoken.items() if value is not None]
