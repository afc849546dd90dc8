"""The golden vectors are those that the original code made: no file is missing, changed or new."""

import hashlib
import json
from pathlib import Path

GOLDEN = Path(__file__).with_name("golden")


def test_golden_files_have_the_digests_of_their_manifest():
    manifest = json.loads((GOLDEN / "MANIFEST.json").read_text(encoding="utf-8"))
    files = {
        path.relative_to(GOLDEN).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in GOLDEN.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    del files["MANIFEST.json"]
    assert files == manifest
