"""``python -m payment_token.audit_verifier ARCHIVE --key VKEY``: an archive verified with nothing but Python and cryptography."""

import argparse
import json
import sys
from pathlib import Path

from payment_token.audit_verifier.archive_folder import NoArchiveError
from payment_token.audit_verifier.checkpoint import TrustedKeys, split_notes
from payment_token.audit_verifier.receipts import ReceiptError, Receipts
from payment_token.audit_verifier.report import Verdict
from payment_token.audit_verifier.signed_note import NoteError, VerifierKey
from payment_token.audit_verifier.verify_archive import verify_archive


def main() -> int:
    options = _options()
    try:
        keys = TrustedKeys(map(VerifierKey.parse, options.key))
        receipts = Receipts.parse(options.receipts.open() if options.receipts else ())
        outside = [
            (str(path), split_notes(path.open(encoding="utf-8"))) for path in options.checkpoints
        ]
        report = verify_archive(options.archive, keys, outside=outside, receipts=receipts)
    except (NoArchiveError, NoteError, ReceiptError, OSError) as error:
        sys.stderr.write(f"Not checked: {error}\n")
        return Verdict.NOT_CHECKED
    json.dump(report.as_json(), sys.stdout, indent=1)
    sys.stdout.write("\n")
    return report.verdict


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Verifies an archive of the audit log. Exit 0 verified, 1 tampered, 2 not checked, 3 incomplete."
    )
    parser.add_argument("archive", type=Path, help="the folder")
    parser.add_argument(
        "--key", action="append", required=True, help="a public key (vkey); repeatable"
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        action="append",
        default=[],
        help="checkpoints kept elsewhere; repeatable",
    )
    parser.add_argument("--receipts", type=Path, help="receipts of workers, one a line")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
