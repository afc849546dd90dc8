"""Render every card of this folder from its record: `python model_cards/render.py`."""

import json
from pathlib import Path

from bsp_hf import render_card

FOLDER = Path(__file__).resolve().parent

for path in sorted((FOLDER / "records").glob("*.json")):
    record = json.loads(path.read_text(encoding="utf-8"))
    text = render_card(record, record["model_id"])
    (FOLDER / f"{path.stem}.md").write_text(text, encoding="utf-8")
