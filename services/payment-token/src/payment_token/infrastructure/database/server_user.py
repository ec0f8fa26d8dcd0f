"""Who runs the embedded PostgreSQL, and who owns its folders."""

import os
import pwd
import shutil
import stat
from pathlib import Path

from payment_token.settings import ConfigurationError

_UNPRIVILEGED_USER = "nobody"


def server_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: then it runs as an unprivileged user. ``None`` is: as ourselves."""
    return pwd.getpwnam(_UNPRIVILEGED_USER) if os.geteuid() == 0 else None


def as_server_user() -> list[str]:
    """What goes before a command line. Raises ConfigurationError where there is no way to run it so."""
    user = server_user()
    if user is None:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ConfigurationError(
            "As root, the embedded PostgreSQL needs setpriv (of util-linux) to run unprivileged."
            " Install it, run as another user, or set DATABASE_URL."
        )
    # The data may lie below folders that only root may enter. This one capability lets the server walk through them,
    # instead of opening them up to everybody.
    capability = "+dac_override"
    return [
        setpriv,
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        f"--inh-caps={capability}",
        f"--ambient-caps={capability}",
    ]


def make_private_folder(folder: Path, owner: pwd.struct_passwd | None = None) -> None:
    if not folder.exists():
        make_private_folder(folder.parent)
        folder.mkdir(mode=0o700)
        give_to(folder, owner)


def give_to(path: Path, owner: pwd.struct_passwd | None) -> None:
    if owner is not None:
        os.chown(path, owner.pw_uid, owner.pw_gid)


def is_ours_alone(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and stat.S_IMODE(status.st_mode) == stat.S_IRWXU
    )
