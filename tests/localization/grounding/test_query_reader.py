"""Sentences are read as the network was trained to read them, by what lies beside it."""

import numpy as np
import pytest
from support.tiny_localizers import WORDS, companions_of, tiny_localizer, tiny_track
from transformers import BertConfig, BertModel, BertTokenizer, pipeline

from bsp_hf import save_localizer_folder
from bsp_hf.localization.grounding.queries import QueryVocabulary
from bsp_hf.localization.grounding.query_reader import QueryReader
from bsp_hf.localization.grounding.text_encoder import TransformersQueryEncoder
from bsp_hf.localization.grounding.word_vectors import WordVectors


@pytest.fixture(scope="module")
def text_encoder(tmp_path_factory) -> TransformersQueryEncoder:
    words = tmp_path_factory.mktemp("bert") / "vocab.txt"
    words.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    sizes = {"hidden_size": 6, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    return TransformersQueryEncoder(BertModel(BertConfig(vocab_size=10, **sizes)), BertTokenizer(str(words)))


def config_of(kind, **fields):
    return tiny_localizer(kind, **fields).config


def test_2dtan_keeps_punctuation_and_lgi_drops_it_and_cuts():
    vectors = companions_of("tan")["word_vectors"]
    (rows,) = QueryReader(config_of("tan"), word_vectors=vectors).read(["The door, opens"])
    np.testing.assert_array_equal(rows, vectors.lookup(["the", "door,", "opens"]))
    assert not rows[1].any()
    reader = QueryReader(config_of("lgi", max_words=3), vocabulary=QueryVocabulary(WORDS))
    (numbers,) = reader.read(["The door, slams shut!"])
    assert numbers.tolist() == [4 + WORDS.index("the"), 4 + WORDS.index("door"), 1]
    reader = QueryReader(config_of("lgi", query_input="word_vectors", max_words=2), word_vectors=vectors)
    np.testing.assert_array_equal(reader.read(["the door opens"])[0], vectors.lookup(["the", "door"]))


def test_a_text_encoder_gives_words_or_a_sentence(text_encoder):
    encoded = text_encoder.encode(["the door", "a person opens the door"])
    words = QueryReader(config_of("tan"), text_encoder=text_encoder).read(
        ["the door", "a person opens the door"]
    )
    assert [row.shape for row in words] == [(4, 6), (7, 6)]
    np.testing.assert_allclose(words[0], encoded.words[0, :4].numpy(), atol=1e-6)
    reader = QueryReader(config_of("tan", query_encoder="sentence"), text_encoder=text_encoder)
    np.testing.assert_allclose(reader.read(["the door"])[0], encoded.sentences[0].numpy(), atol=1e-6)


def test_a_text_encoder_lies_in_the_folder(text_encoder, tmp_path):
    model = tiny_localizer("tan", query_encoder="sentence")
    expected = pipeline("video-grounding", model=model, text_encoder=text_encoder)(tiny_track(), "the door")
    folder = save_localizer_folder(model, tmp_path / "tan", text_encoder=text_encoder)
    find = pipeline("video-grounding", model=str(folder))
    assert find.config.text_encoder == "text_encoder"
    assert find(tiny_track(), "the door") == expected
    find.save_pretrained(tmp_path / "again")
    again = pipeline("video-grounding", model=str(tmp_path / "again"))
    assert again(tiny_track(), "the door") == expected


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="of 9 numbers, there is one of 5"):
        QueryReader(config_of("lgi"), vocabulary=QueryVocabulary(("door",)))
    with pytest.raises(ValueError, match=r"query vectors are 2 wide, the network reads word_dim=6"):
        QueryReader(config_of("tan"), word_vectors=WordVectors(["door"], np.ones((1, 2))))
    with pytest.raises(ValueError, match="reads the vectors of a text encoder"):
        QueryReader(config_of("tan", query_encoder="sentence"))
    reader = QueryReader(config_of("lgi"), vocabulary=QueryVocabulary(WORDS))
    with pytest.raises(ValueError, match=r"the query '\?!' holds no word"):
        reader.read(["the door", "?!"])
    with pytest.raises(TypeError, match="a query must be text, got int"):
        reader.read([3])
