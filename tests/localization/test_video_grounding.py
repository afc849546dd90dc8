"""The grounding pipeline, against its parts put together by hand."""

import numpy as np
import pytest
import torch
from support.tiny_localizers import SENTENCE, companions_of, tiny_localizer
from transformers import pipeline

from bsp_hf import save_localizer_folder
from bsp_hf.localization.tan.samples import average_rows

GROUND = "video-grounding"


@pytest.fixture(scope="module")
def ground(localizer_folders):
    return {kind: pipeline(GROUND, model=str(localizer_folders[kind])) for kind in ("tan", "lgi")}


@pytest.mark.parametrize("kind", ["tan", "lgi"])
def test_sentences_come_in_many_ways(ground, kind, extract, levels_video):
    find = ground[kind]
    one, other = find(levels_video, SENTENCE), find(levels_video, "a person")
    assert {moment["label"] for moment in one} == {SENTENCE}
    assert len(one) == (1 if kind == "lgi" else 5)
    assert one[0]["score"] != other[0]["score"] or one != other
    assert find(levels_video, [SENTENCE, "a person"]) == [one, other]
    assert find({"video": levels_video, "query": SENTENCE}) == one
    assert find([levels_video, levels_video], [SENTENCE, "a person"]) == [one, other]
    assert find([levels_video], SENTENCE) == [one]
    assert find(levels_video, SENTENCE, top_k=1) == one[:1]
    with pytest.raises(ValueError, match="2 videos and 1 sentences cannot be paired"):
        find([levels_video, levels_video], [SENTENCE])
    for wrong, message in ((None, "there is no sentence"), ([], "no sentence"), (" ", "holds no word")):
        with pytest.raises(ValueError, match=message):
            find(levels_video, wrong)


def test_a_moment_is_a_cell_of_the_map_in_seconds(ground, levels_video):
    find = ground["tan"]
    track = find.make_track(levels_video)
    rows = torch.from_numpy(average_rows(track.features, 16)[None])
    words = torch.from_numpy(find.reader.word_vectors.lookup(SENTENCE.split())[None])
    with torch.no_grad():
        maps = find.model(features=rows, word_vectors=words).probabilities[0].numpy()
    first, last = np.unravel_index(maps.argmax(), maps.shape)
    best = find(levels_video, SENTENCE)[0]
    assert best["score"] == pytest.approx(maps.max(), rel=1e-5)
    assert (best["start_s"], best["end_s"]) == pytest.approx((first * 3 / 8, (last + 1) * 3 / 8))


def test_what_reads_the_sentences_must_be_there(tmp_path, encoder_folder, levels_video):
    for kind, message in (("tan", r"no word_vectors\.npz lies in its folder.*glove"), ("lgi", "vocabulary")):
        folder = save_localizer_folder(tiny_localizer(kind), tmp_path / kind, encoder=encoder_folder)
        with pytest.raises((ValueError, OSError), match=message):
            pipeline(GROUND, model=str(folder))([levels_video], SENTENCE)
    vectors = companions_of("tan")["word_vectors"]
    find = pipeline(GROUND, model=str(tmp_path / "tan"), word_vectors=vectors)
    assert len(find(levels_video, SENTENCE)) == 5
