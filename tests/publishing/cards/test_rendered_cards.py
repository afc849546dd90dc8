"""Every sentence of the cards, as rendered: encoders and localizers, trained, converted and without facts."""

from pathlib import Path

import pytest
from support.card_records import RECORDS

from bsp_hf.publishing.cards.render import render_card

RENDERED = Path(__file__).parent / "rendered"


def test_every_kept_card_has_its_record():
    assert sorted(path.stem for path in RENDERED.glob("*.md")) == sorted(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_a_card_is_rendered_to_the_letter(name):
    assert render_card(RECORDS[name], "org/name") == (RENDERED / f"{name}.md").read_text(encoding="utf-8")
