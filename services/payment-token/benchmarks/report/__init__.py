from importlib.util import find_spec

if find_spec("matplotlib") is None:
    raise SystemExit(
        "The benchmarks draw curves with what ./scripts/install.sh --with-dev installs."
    )
