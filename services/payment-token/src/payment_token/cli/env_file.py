"""``--env-file FILE``: the deployment that a command works on. It may stand anywhere on the line."""

from pathlib import Path

from payment_token.domain.operator_error import OperatorError

_OPTION = "--env-file"

_chosen: list[Path | None] = [None]


def use_env_file(path: Path | None) -> None:
    _chosen[0] = path


def chosen_env_file() -> Path | None:
    return _chosen[0]


def without_env_file(arguments: list[str]) -> tuple[list[str], Path | None]:
    """The other arguments, and the file. Raises OperatorError when there is none after the option."""
    rest: list[str] = []
    env_file = None
    remaining = iter(arguments)
    for argument in remaining:
        if argument == _OPTION:
            value = next(remaining, None)
            if value is None:
                raise OperatorError(f"{_OPTION} needs a file.")
            env_file = Path(value)
        elif argument.startswith(f"{_OPTION}="):
            env_file = Path(argument.partition("=")[2])
        else:
            rest.append(argument)
    return rest, env_file
