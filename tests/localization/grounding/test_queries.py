"""Tokens, vocabularies, word vectors and padding of queries."""

import gzip
import json
import zipfile

import numpy as np
import pytest
import torch

from bsp_hf.localization.grounding.queries import QueryVocabulary, fill_embedding, pad_words, tokenize_query
from bsp_hf.localization.grounding.text_encoder import TransformersQueryEncoder
from bsp_hf.localization.grounding.word_vectors import WordVectors, load_word_vectors

GLOVE_TEXT = "the 0.5 -1.25\ndoor 2 3e-1\n. . 7 8\nthe 9 9\n"


@pytest.fixture
def vectors() -> WordVectors:
    return WordVectors(["the", "door"], np.array([[0.5, -1.25], [2.0, 0.3]]))


def test_tokens_vocabulary_and_numbers_are_lgis(golden_json):
    expected = golden_json("lgi/evaluation")["tokenization"]
    tokens = [tokenize_query(text, strip_punctuation=True) for text in expected["sentences"]]
    assert tokens == expected["tokens"]
    vocabulary = QueryVocabulary.from_sentences(expected["sentences"][: expected["vocabulary_from_first"]])
    reserved = ["<PAD>", "<UNK>", "<S>", "<E>"]
    assert [*reserved, *vocabulary.words] == list(expected["word_to_index"])
    assert len(vocabulary) == len(expected["word_to_index"])
    encoded = [vocabulary.encode(words, expected["max_length"]) for words in tokens]
    assert [len(ids) for ids in encoded] == expected["lengths"]
    assert pad_words(encoded, expected["max_length"])[0].tolist() == expected["encoded"]


def test_words_and_batch_are_2d_tans(golden):
    case = golden("tan/dataset")
    table = WordVectors(case.meta["config"]["vocabulary"], case.inputs["word_table"])
    queries = []
    for index, annotation in enumerate(case.meta["config"]["kept_annotations"]):
        found = table.lookup(tokenize_query(annotation["description"], strip_punctuation=False))
        case.check(f"item{index}_words", found)
        queries.append(found)
    words, mask = pad_words(queries)
    case.check("batch_words", words)
    case.check("batch_word_mask", mask.unsqueeze(2))


def test_2d_tan_keeps_punctuation_and_lgi_drops_it():
    text = "Person's door,\topens -- twice\n"
    assert tokenize_query(text, strip_punctuation=False) == ["person's", "door,", "opens", "--", "twice"]
    assert tokenize_query(text, strip_punctuation=True) == ["persons", "door", "opens", "twice"]
    assert tokenize_query(" ?! ", strip_punctuation=True) == []


def test_charades_vocabulary_has_the_size_of_the_default_config(shared_data):
    from bsp_hf.localization.lgi.configuration_lgi import LGIConfig

    lines = (shared_data / "annotations/charades_sta/charades_sta_train.txt").read_text().splitlines()
    vocabulary = QueryVocabulary.from_sentences(line.split("##")[1] for line in lines)
    assert len(vocabulary) == LGIConfig.charades().vocab_size


def test_rare_words_are_left_out_on_request():
    vocabulary = QueryVocabulary.from_sentences(["a door", "a chair"], min_count=2)
    assert vocabulary.words == ("a",)
    assert vocabulary.encode(["a", "door", "a"], max_words=2).tolist() == [4, 1]


def test_vocabulary_lies_with_the_checkpoint(tmp_path):
    vocabulary = QueryVocabulary(("a", "café"))
    vocabulary.save_pretrained(tmp_path / "model")
    assert QueryVocabulary.from_pretrained(tmp_path / "model") == vocabulary
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["vocabulary.json"]


def test_missing_or_foreign_vocabulary_is_refused(tmp_path):
    with pytest.raises(OSError, match=r"vocabulary\.json"):
        QueryVocabulary.from_pretrained(tmp_path)
    (tmp_path / "vocabulary.json").write_text(json.dumps(["a", "b"]))
    with pytest.raises(ValueError, match="is not a vocabulary"):
        QueryVocabulary.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="repeats 1 words"):
        QueryVocabulary(("a", "a"))


@pytest.mark.parametrize("name", ["glove.txt", "glove.txt.gz", "word2vec.txt"])
def test_text_vectors_are_read(tmp_path, name):
    text = ("4 2\n" if name.startswith("word2vec") else "") + GLOVE_TEXT + "\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    vectors = load_word_vectors(path)
    assert vectors.words == ("the", "door", ". .", "the") and vectors.dim == 2
    # Unknown words are zero; of a repeated word the first line counts; a word may hold a space.
    np.testing.assert_allclose(
        vectors.lookup(["door", "door,", "the", ". ."]), [[2, 0.3], [0, 0], [0.5, -1.25], [7, 8]], rtol=1e-6
    )


def test_text_vectors_are_read_whatever_tool_wrote_them(tmp_path):
    expected = load_word_vectors(write(tmp_path / "plain.txt", GLOVE_TEXT.encode()))
    files = {
        "mark.txt": b"\xef\xbb\xbf" + GLOVE_TEXT.encode(),
        "windows.txt": GLOVE_TEXT.replace("\n", "\r\n").encode(),
        "tabs.txt": GLOVE_TEXT.replace(". .", "..").replace(" ", "\t").encode(),
        "mark.txt.gz": gzip.compress(b"\xef\xbb\xbf" + GLOVE_TEXT.encode()),
    }
    with zipfile.ZipFile(tmp_path / "glove.zip", "w") as archive:
        archive.writestr("glove.txt", GLOVE_TEXT)
        archive.writestr("__MACOSX/._glove.txt", b"\x00\x05")
    for path in [
        *(write(tmp_path / name, content) for name, content in files.items()),
        tmp_path / "glove.zip",
    ]:
        found = load_word_vectors(path)
        assert found.words[:2] == ("the", "door"), path
        np.testing.assert_array_equal(found.vectors, expected.vectors)


def write(path, content: bytes):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("damage", ["cut", "noise", "zeros"])
def test_damaged_archives_of_word_vectors_are_one_error_that_names_them(tmp_path, method, damage):
    path = tmp_path / "glove.zip"
    rows = np.random.default_rng(0).normal(size=(2000, 8)).round(5)
    text = "\n".join(f"w{number} " + " ".join(map(str, row)) for number, row in enumerate(rows))
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("glove.txt", text)
    assert len(load_word_vectors(path)) == 2000
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 2, len(data) // 2 + 200)
    if damage == "cut":
        del data[middle]
    else:
        data[middle] = np.random.default_rng(1).bytes(200) if damage == "noise" else bytes(200)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"glove\.zip") as error:
        load_word_vectors(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["zip", "gz", "npz", "line"])
def test_word_vectors_that_unpack_to_fill_memory_are_refused(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("bsp_hf.files._UNSUSPICIOUS_BYTES", 1 << 20)
    path = tmp_path / f"glove.{'txt' if kind == 'line' else kind}"
    text = b"a 1 2 3\n" * 500_000
    if kind == "line":
        path.write_bytes(b"a " + b"1" * 2_000_000)
    elif kind == "gz":
        path.write_bytes(gzip.compress(text))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("vectors.npy" if kind == "npz" else "glove.txt", text)
    reason = "longer than any line" if kind == "line" else "claims .* bytes, of which"
    with pytest.raises(ValueError, match=rf"glove\.{path.suffix[1:]}: .*{reason}"):
        load_word_vectors(path, only=["b"])


def test_text_vectors_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"latin\.txt: line 2: is not UTF-8"):
        load_word_vectors(write(tmp_path / "latin.txt", "the 1 2\ncaf\u00e9 1 2\n".encode("latin-1")))
    for value in ("nan", "inf"):
        with pytest.raises(ValueError, match=r"bad\.txt, line 2: the vector of door is not finite"):
            load_word_vectors(write(tmp_path / "bad.txt", f"the 1 2\ndoor 1 {value}\n".encode()))
    np.savez(tmp_path / "bad.npz", words=["the", "door"], vectors=[[1, 2], [np.nan, 2]])
    with pytest.raises(ValueError, match=r"bad\.npz: the vector of door is not finite"):
        load_word_vectors(tmp_path / "bad.npz")
    assert load_word_vectors(tmp_path / "bad.npz", only=["the"]).words == ("the",)
    with zipfile.ZipFile(tmp_path / "glove.6B.zip", "w") as archive:
        for dim in (50, 100):
            archive.writestr(f"glove.6B.{dim}d.txt", GLOVE_TEXT)
    with pytest.raises(
        ValueError, match=r"glove\.6B\.zip: word vectors: holds glove.6B.50d.txt, glove.6B.100d.txt; unpack"
    ):
        load_word_vectors(tmp_path / "glove.6B.zip")
    with pytest.raises(ValueError, match=r"broken\.zip: word vectors: cannot be read"):
        load_word_vectors(write(tmp_path / "broken.zip", b"PK no archive"))
    with pytest.raises(ValueError, match=r"broken\.npz: word vectors: cannot be read"):
        load_word_vectors(write(tmp_path / "broken.npz", b"PK no archive"))


def test_only_the_words_asked_for_are_kept(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text(GLOVE_TEXT)
    assert load_word_vectors(path, only=["door", "absent"]).words == ("door",)
    assert load_word_vectors(path, only=[". ."]).words == (". .",)
    with pytest.raises(ValueError, match="none of the 1 words"):
        load_word_vectors(path, only=["absent"])


def test_npz_vectors_make_the_round_trip(tmp_path, vectors):
    vectors.save(tmp_path / "vectors.npz")
    loaded = load_word_vectors(tmp_path / "vectors.npz", only={"door"})
    assert loaded.words == ("door",)
    np.testing.assert_array_equal(loaded.vectors, vectors.vectors[1:])
    with pytest.raises(ValueError, match=r"\.npz"):
        vectors.save(tmp_path / "vectors.txt")


def test_real_glove_of_the_data_kit_is_read(shared_data):
    vectors = load_word_vectors(shared_data / "embeddings/glove6b_100d_subset_f16.npz")
    assert (len(vectors), vectors.dim, vectors.vectors.dtype) == (13_150, 100, np.float32)
    opened, closed, banana = vectors.lookup(["opens", "closes", "banana"])

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    assert cosine(opened, closed) > cosine(opened, banana) + 0.2


def test_absent_file_says_where_glove_comes_from(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nlp\.stanford\.edu/projects/glove"):
        load_word_vectors(tmp_path / "glove.6B.300d.txt")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("the 1 2\ndoor 3\n", "line 2: 1 values"),
        ("the 1 2\ndoor 3 x\n", "line 2"),
        ("the\n", "line 1: 0 values"),
    ],
)
def test_malformed_text_is_named_with_its_line(tmp_path, content, match):
    path = tmp_path / "glove.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=match):
        load_word_vectors(path)


def test_foreign_npz_is_refused_without_unpickling(tmp_path):
    np.savez(tmp_path / "a.npz", table=np.zeros(3))
    with pytest.raises(ValueError, match="words and vectors"):
        load_word_vectors(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", words=np.array([{}], dtype=object), vectors=np.zeros((1, 2)))
    with pytest.raises(ValueError, match="allow_pickle"):
        load_word_vectors(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", words=np.array(["a"]), vectors=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="1 words and vectors of shape"):
        load_word_vectors(tmp_path / "c.npz")


def test_padding_is_zero_and_masked():
    words, mask = pad_words([np.array([5, 6]), np.array([7])], num_words=3)
    assert words.tolist() == [[5, 6, 0], [7, 0, 0]]
    assert mask.tolist() == [[1, 1, 0], [1, 0, 0]]
    assert words.dtype == torch.int64 and mask.dtype == torch.float32


@pytest.mark.parametrize(
    ("queries", "num_words", "match"),
    [
        ([], None, "no query"),
        ([np.array([4]), np.array([], dtype=int)], None, "query 1 holds no word"),
        ([np.array([4, 5])], 1, "query 0 has 2 words"),
    ],
)
def test_queries_that_cannot_be_padded_are_named(queries, num_words, match):
    with pytest.raises(ValueError, match=match):
        pad_words(queries, num_words)


def test_embedding_starts_from_vectors_where_they_exist(vectors):
    vocabulary = QueryVocabulary(("absent", "door"))
    embedding = torch.nn.Embedding(6, 2)
    before = embedding.weight.detach().clone()
    assert fill_embedding(embedding, vocabulary, vectors) == 1
    torch.testing.assert_close(embedding.weight[5].detach(), torch.tensor([2.0, 0.3]))
    assert torch.equal(embedding.weight[:5], before[:5])
    assert embedding.weight.requires_grad
    with pytest.raises(ValueError, match=r"\(6, 2\)"):
        fill_embedding(torch.nn.Embedding(5, 2), vocabulary, vectors)


@pytest.fixture(scope="module")
def text_encoder_folder(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("text_encoder")
    words = {"[PAD]": 0, "[UNK]": 1, "a": 2, "person": 3, "opens": 4, "the": 5, "door": 6}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=7, **sizes)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_text_encoder_gives_vectors_that_the_networks_read(text_encoder_folder, padding_side):
    from bsp_hf.localization.tan.configuration_tan import TANConfig
    from bsp_hf.localization.tan.modeling_tan import TANForVideoGrounding

    encoder = TransformersQueryEncoder.from_pretrained(text_encoder_folder)
    encoder.tokenizer.padding_side = padding_side
    together = encoder.encode(["a person opens the door", "the door"])
    assert together.mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert (together.words[1, 2:] == 0).all()
    assert not together.words.requires_grad
    torch.testing.assert_close(together.sentences[1], together.words[1, :2].mean(dim=0))
    if padding_side == "right":
        alone = encoder.encode(["the door"])
        torch.testing.assert_close(together.words[1:, :2], alone.words)
    for kind in ("lstm", "sentence"):
        config = TANConfig(
            feature_dim=4, hidden_dim=8, text_hidden_dim=8, word_dim=encoder.dim, query_encoder=kind
        )
        query = (
            {"word_vectors": together.words, "word_mask": together.mask}
            if kind == "lstm"
            else {"sentence_vectors": together.sentences}
        )
        assert TANForVideoGrounding(config)(features=torch.zeros(2, 256, 4), **query).logits.shape[0] == 2


def test_blank_queries_are_refused_by_the_text_encoder(text_encoder_folder):
    encoder = TransformersQueryEncoder.from_pretrained(text_encoder_folder)
    with pytest.raises(ValueError, match=r"queries \[1\] are blank"):
        encoder.encode(["a door", " "])
    with pytest.raises(ValueError, match="no query"):
        encoder.encode([])


def test_vectors_beyond_the_range_of_float32_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", words=["a"], vectors=np.array([[1e300, 1]]))
    with pytest.raises(ValueError, match=r"w\.npz: the vector of a is not finite"):
        load_word_vectors(tmp_path / "w.npz")
