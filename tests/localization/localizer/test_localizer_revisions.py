"""What lies beside a localizer on the Hub is read from the revision that the localizer was loaded from."""

import json

import numpy as np
import pytest
from huggingface_hub import constants
from support.tiny_localizers import SENTENCE, TASKS, WORDS, tiny_encoder, tiny_extractor, tiny_localizer
from transformers import pipeline

from bsp_hf import save_localizer_folder
from bsp_hf.localization.grounding.queries import QueryVocabulary
from bsp_hf.localization.grounding.word_vectors import WordVectors

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def two_revisions(tmp_path, monkeypatch):
    """A cache of two localizers in two revisions; the tag `v1` is the old one, whose encoder is seed 0."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for kind in ("lgi", "tan"):
        for seed, (commit, name) in enumerate({OLD: "v1", NEW: "main"}.items()):
            repository = tmp_path / f"models--org--{kind}"
            words = WORDS if commit == OLD else WORDS[::-1]
            companions = {"vocabulary": QueryVocabulary(words)} if kind == "lgi" else {}
            if kind == "tan":
                companions["word_vectors"] = WordVectors(words, np.full((len(words), 6), seed + 1.0))
            save_localizer_folder(
                tiny_localizer(kind),
                repository / "snapshots" / commit,
                encoder=(tiny_encoder(seed=seed), tiny_extractor()),
                record={"note": name},
                **companions,
            )
            (repository / "refs").mkdir(exist_ok=True)
            (repository / "refs" / name).write_text(commit)
    return tmp_path


@pytest.mark.parametrize("kind", ["lgi", "tan"])
@pytest.mark.parametrize(("revision", "commit"), [("v1", OLD), (OLD, OLD), ("main", NEW), (None, NEW)])
def test_all_parts_are_those_of_the_revision_asked_for(
    kind, revision, commit, two_revisions, tmp_path, levels_video
):
    pinned = {} if revision is None else {"revision": revision}
    find = pipeline(TASKS[kind], model=f"org/{kind}", **pinned)
    expected = pipeline(TASKS[kind], model=str(two_revisions / f"models--org--{kind}" / "snapshots" / commit))
    assert find(levels_video, SENTENCE) == expected(levels_video, SENTENCE)
    if kind == "lgi":
        assert find.reader.vocabulary.words == (WORDS if commit == OLD else WORDS[::-1])
    else:
        assert find.reader.word_vectors.vectors[0, 0] == (1 if commit == OLD else 2)
    find.save_pretrained(tmp_path / "copy")
    record = json.loads((tmp_path / "copy" / "training_record.json").read_text())
    assert record["note"] == ("v1" if commit == OLD else "main")
    again = pipeline(TASKS[kind], model=str(tmp_path / "copy"))
    assert again(levels_video, SENTENCE) == expected(levels_video, SENTENCE)
