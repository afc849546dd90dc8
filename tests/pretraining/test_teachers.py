"""Teachers stay as they are; a store gives their features back for exactly the clips it was made of."""

import pytest
import torch
from support.clip_folder import counted_sources, render_classes, small_extractor
from support.tiny import tiny_model

from bsp_hf import BSPForBoundaryClassification, PretextClips, SynthesisConfig, save_checkpoint_folder
from bsp_hf.pretraining.pretexts import BoundaryWithAction
from bsp_hf.pretraining.teachers import TeacherFeatureStore, Teachers


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return counted_sources(render_classes(folder, {"bend": (20, 20), "run": (20, 20)}, size=(48, 36)))


def make_clips(sources, seed=0, extractor=None):
    pretext = BoundaryWithAction(SynthesisConfig(), ("bend", "run"))
    return PretextClips(sources, pretext, extractor or small_extractor(), seed=seed)


def test_teachers_are_frozen_and_evaluated_and_never_get_a_gradient():
    teachers = Teachers(
        {"action": tiny_model(BSPForBoundaryClassification).train(), "boundary": tiny_model()}
    )
    features = teachers.features(torch.randn(2, 8, 3, 32, 32, requires_grad=True))
    assert set(features) == {"action", "boundary"}
    assert all(not f.requires_grad and f.shape == (2, 32) for f in features.values())
    for encoder in teachers.encoders.values():
        assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())


def test_teachers_that_see_other_pictures_are_refused(tmp_path):
    save_checkpoint_folder(tiny_model(), small_extractor(), tmp_path / "t")
    Teachers.from_pretrained(tmp_path / "t", tmp_path / "t", small_extractor())
    with pytest.raises(ValueError, match=r"for the student and .* for the action teacher"):
        Teachers.from_pretrained(tmp_path / "t", tmp_path / "t", small_extractor(24))


def test_store_gives_the_features_of_the_very_clips_and_no_others(sources, tmp_path):
    clips = make_clips(sources)
    teachers = Teachers({"action": tiny_model(), "boundary": tiny_model(shift_div=4)})

    def encode(indices):
        pixels = torch.stack([clips[index]["pixels"] for index in indices])
        return teachers.features(clips.extractor.normalize_pixels(pixels))

    with pytest.raises(FileNotFoundError, match="holds no teacher features"):
        TeacherFeatureStore(tmp_path / "store", clips)
    clips.set_epoch(3)  # as a caller may have left it
    TeacherFeatureStore.write(tmp_path / "store", clips, teachers, encode, batch_size=5)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    store = TeacherFeatureStore(tmp_path / "store", make_clips(sources))
    assert store.sizes == {"action": 32, "boundary": 32} and store.records == teachers.records
    items = [make_clips(sources)[index] for index in (9, 2)]
    batch = torch.stack([item["pixels"] for item in items])
    expected = teachers.features(clips.extractor.normalize_pixels(batch))
    found = store.read(torch.tensor([item["index"] for item in items]))
    for name, features in expected.items():
        torch.testing.assert_close(found[name], features)
    assert not torch.allclose(found["action"], found["boundary"])

    for other in (make_clips(sources, seed=1), make_clips(sources, extractor=small_extractor(24))):
        with pytest.raises(ValueError, match="features of other clips"):
            TeacherFeatureStore(tmp_path / "store", other)
