"""Makes the modules beside the examples importable: imported for that alone, before them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
