"""Our models as transformers' own tests want them; run by `test_common_suite.py`, not collected by itself.

`BSP_HF_TRANSFORMERS_TESTS` names the folder that holds a package `transformers_tests`: the files of `tests/`
in the source distribution of the installed transformers. Three of the modules that they import are not in
that distribution; empty ones stand in for them.

`PipelineTesterMixin` is not among the tests: it loads a model of ours from `hf-internal-testing` on the Hub,
which holds those of transformers only, and would skip everything. `test_pipeline.py` stands for it.
"""

import copy
import inspect
import os
import sys
import tempfile
import types
import unittest

import torch
from torch import nn
from transformers import set_seed
from transformers.models.auto import modeling_auto

from bsp_hf import (
    BSPConfig,
    BSPDistilledConfig,
    BSPDistilledModel,
    BSPForBoundaryClassification,
    BSPForBoundaryRegression,
    BSPForFeatureDistillation,
    BSPForTwoHeadClassification,
    BSPModel,
    BSPTwoHeadConfig,
    BSPTwoHeadModel,
    BSPTwoStreamConfig,
    BSPTwoStreamModel,
    EfficientNetLiteConfig,
    EfficientNetLiteModel,
)
from support.every_model import distilled, loss_of, teacher_features, two_head, two_stream
from support.tiny import tiny_backbone, tiny_config


def _stand_in(name: str, **content: object) -> None:
    for part in (name.rpartition(".")[0], name):
        module = sys.modules.setdefault(f"transformers_tests.{part}", types.ModuleType(part))
        module.__dict__.setdefault("__path__", [])
    sys.modules[f"transformers_tests.{name}"].__dict__.update(content)


sys.path.insert(0, os.environ["BSP_HF_TRANSFORMERS_TESTS"])
# Exporting to ONNX, ExecuTorch and the like has its own tests; so has the export of the encoder.
_stand_in("exporters.test_export", ExportTesterMixin=type("ExportTesterMixin", (), {}))
# Nothing is generated here.
_stand_in("generation.test_utils", GenerationTesterMixin=type("GenerationTesterMixin", (), {}))
# Only read for configs without a sub-config.
_stand_in("utils.test_configuration_utils", config_common_kwargs={})

from transformers_tests.test_configuration_common import ConfigTester  # noqa: E402
from transformers_tests.test_modeling_common import ModelTesterMixin  # noqa: E402

# The tests look here to learn which model has a loss and what its labels are.
modeling_auto.MODEL_MAPPING_NAMES |= {
    "bsp": "BSPModel",
    "bsp-two-stream": "BSPTwoStreamModel",
    "bsp-two-head": "BSPTwoHeadModel",
    "bsp-distilled": "BSPDistilledModel",
    "efficientnet-lite": "EfficientNetLiteModel",
}
modeling_auto.MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES |= {
    "bsp": "BSPForBoundaryClassification",
    "bsp-two-head": "BSPForTwoHeadClassification",
    "bsp-distilled": "BSPForFeatureDistillation",
}


# The name changed within the supported range of transformers.
_CHECKPOINTING = (
    "activation_checkpointing"
    if hasattr(BSPModel, "activation_checkpointing_enable")
    else "gradient_checkpointing"
)


def _turn_checkpointing(model, is_on, kwargs=None):
    if is_on:
        getattr(model, f"{_CHECKPOINTING}_enable")(kwargs)
    else:
        getattr(model, f"{_CHECKPOINTING}_disable")()


class TinyEncoders:
    """What `ModelTesterMixin` asks of a model tester."""

    batch_size = 3
    num_frames = 4
    image_size = 32
    num_channels = 3
    hidden_size = 32
    num_hidden_layers = 1  # blocks of a stage
    expected_num_hidden_layers = 5  # feature maps: the stem's and those of four stages
    is_training = True
    shapes = ((8, 8, 8), (8, 8, 8), (16, 4, 4), (24, 2, 2), (32, 1, 1))  # of the feature maps of a frame

    def get_config(self) -> BSPConfig:
        return tiny_config(num_frames=self.num_frames)

    def prepare_config_and_inputs_for_common(self):
        shape = (self.batch_size, self.num_frames, self.num_channels, self.image_size, self.image_size)
        return self.get_config(), {"pixel_values": torch.rand(shape)}


class TinyPictures(TinyEncoders):
    """Pictures instead of clips."""

    hidden_size = 48

    def get_config(self):
        return tiny_backbone("efficientnet-lite")

    def prepare_config_and_inputs_for_common(self):
        shape = (self.batch_size, self.num_channels, self.image_size, self.image_size)
        return self.get_config(), {"pixel_values": torch.rand(shape)}


class TinyFamily(TinyEncoders):
    """The same of another family of backbones, on clips of 8 frames."""

    num_frames = 8

    def __init__(self, family, shapes):
        self.family, self.shapes = family, shapes
        self.expected_num_hidden_layers = len(shapes)

    def get_config(self) -> BSPConfig:
        backbone = tiny_backbone(self.family)
        self.hidden_size = BSPConfig(backbone_config=backbone).hidden_size
        return BSPConfig(backbone_config=backbone)


class TinyFusion(TinyEncoders):
    """The same of a fusion, whose config is that of a model."""

    num_frames = 8

    def __init__(self, make):
        self.make = make

    def get_config(self):
        return copy.deepcopy(self.make().config)


class TinyStreams(TinyFusion):
    """Two streams side by side, the second of two stages only."""

    hidden_size = 32 + 16
    shapes = (*TinyEncoders.shapes, (8, 8, 8), (8, 8, 8), (16, 4, 4))
    expected_num_hidden_layers = len(shapes)


class EncoderCases(ModelTesterMixin):
    """Settings and overrides that hold for all models."""

    has_attentions = False  # a convolutional network
    test_resize_embeddings = False  # no vocabulary
    # Without a copyright line the model counts as older than 2023, and the test would be left out.
    test_can_init_all_missing_weights_before_2023 = True

    def setUp(self):
        super().setUp()
        self.model_tester = TinyEncoders()
        self.config_tester = ConfigTester(self, config_class=BSPConfig, has_text_modality=False)

    def test_model_get_set_embeddings(self):
        """Overridden: pixels go through a convolution, so the first module is no `nn.Embedding`."""
        config, _ = self.model_tester.prepare_config_and_inputs_for_common()
        for model_class in self.all_model_classes:
            self.assertIsInstance(model_class(config).get_input_embeddings(), nn.Module)

    def test_hidden_states_output(self):
        """Overridden: feature maps have space and channels where the original expects tokens."""
        config, inputs_dict = self.model_tester.prepare_config_and_inputs_for_common()
        for model_class in self.all_model_classes:
            by_argument = model_class(copy.deepcopy(config)).eval()(**inputs_dict, output_hidden_states=True)
            config.output_hidden_states = True
            by_config = model_class(copy.deepcopy(config)).eval()(**inputs_dict)
            for output in (by_argument, by_config):
                # A video model gives tokens of clips, an image network maps of frames.
                tester = self.model_tester
                lead = (tester.batch_size, tester.num_frames)[: 2 if len(tester.shapes[0]) == 3 else 1]
                shapes = [tuple(maps.shape) for maps in output.hidden_states]
                self.assertEqual(shapes, [(*lead, *shape) for shape in tester.shapes])

    def test_keep_in_fp32_modules(self):
        """Extended to models without batch norm, which the original skips.

        The original runs too, except that of older releases, which wants integer counters to be floats.
        """
        for model_class in self.all_model_classes:
            model = model_class(self.model_tester.get_config())
            source = inspect.getsource(ModelTesterMixin.test_keep_in_fp32_modules)
            if model._keep_in_fp32_modules_strict and "is_floating_point" in source:
                super().test_keep_in_fp32_modules()
            with tempfile.TemporaryDirectory() as folder:
                model.save_pretrained(folder)
                for dtype in (torch.float16, torch.bfloat16):
                    model = model_class.from_pretrained(folder, dtype=dtype)
                    for name, tensor in model.state_dict().items():
                        expected = torch.float32 if "normalization" in name else dtype
                        if name.endswith("num_batches_tracked"):
                            expected = torch.int64
                        self.assertEqual(tensor.dtype, expected, name)

    def test_gradient_checkpointing_enable_disable(self):
        """Overridden: the original also wants a `GradientCheckpointingLayer`.

        The blocks are those of transformers' ResNet, which are none; the encoder checkpoints them itself.
        """
        for model_class in self.all_model_classes:
            model = model_class(self.model_tester.get_config())
            encoders = [m for m in model.modules() if hasattr(m, "gradient_checkpointing")]
            self.assertTrue(encoders)
            self.assertFalse(any(m.gradient_checkpointing for m in encoders))
            for is_on in (True, False):
                _turn_checkpointing(model, is_on)
                self.assertEqual(getattr(model, f"is_{_CHECKPOINTING}"), is_on)
                self.assertEqual({m.gradient_checkpointing for m in encoders}, {is_on})

    def check_training_gradient_checkpointing(self, gradient_checkpointing_kwargs=None):
        """Overridden for the same reason; three tests call it."""
        for model_class in self.all_model_classes:
            config, inputs_dict = self.model_tester.prepare_config_and_inputs_for_common()
            inputs = self._prepare_for_class(inputs_dict, model_class, return_labels=True)
            set_seed(42)
            model = model_class(config).train()
            set_seed(42)
            loss_of(model(**inputs)).backward()
            expected = {name: copy.copy(p.grad) for name, p in model.named_parameters()}
            model.zero_grad()

            _turn_checkpointing(model, True, gradient_checkpointing_kwargs)
            runs = []
            in_blocks = [m for name, m in model.base_model.named_modules() if "layer" in name]
            last = [m for m in in_blocks if isinstance(m, (nn.Linear, nn.Conv2d))][-1]
            last.register_forward_pre_hook(lambda *_: runs.append(1))  # noqa: B023
            set_seed(42)
            loss_of(model(**inputs)).backward()
            self.assertEqual(len(runs), 2)
            for name, parameter in model.named_parameters():
                torch.testing.assert_close(parameter.grad, expected[name], msg=name)


class BSPModelTest(EncoderCases, unittest.TestCase):
    all_model_classes = (BSPModel,)

    def test_config(self):
        self.config_tester.run_common_tests()


class BSPForBoundaryClassificationTest(EncoderCases, unittest.TestCase):
    all_model_classes = (BSPForBoundaryClassification,)


class BSPForBoundaryRegressionTest(EncoderCases, unittest.TestCase):
    all_model_classes = (BSPForBoundaryRegression,)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        """Overridden: one label a frame; no task of transformers has that."""
        inputs_dict = copy.deepcopy(inputs_dict)
        if return_labels:
            inputs_dict["labels"] = torch.zeros(self.model_tester.batch_size, self.model_tester.num_frames)
        return inputs_dict


class BSPTwoStreamModelTest(EncoderCases, unittest.TestCase):
    all_model_classes = (BSPTwoStreamModel,)

    def setUp(self):
        super().setUp()
        self.model_tester = TinyStreams(two_stream)
        properties = ["hidden_size", "num_frames"]
        self.config_tester = ConfigTester(self, BSPTwoStreamConfig, False, common_properties=properties)

    def test_config(self):
        self.config_tester.run_common_tests()


class BSPForTwoHeadClassificationTest(EncoderCases, unittest.TestCase):
    all_model_classes = (BSPTwoHeadModel, BSPForTwoHeadClassification)

    def setUp(self):
        super().setUp()
        self.model_tester = TinyFusion(two_head)
        self.config_tester = ConfigTester(self, BSPTwoHeadConfig, has_text_modality=False)

    def test_config(self):
        self.config_tester.run_common_tests()

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        """Extended: a second label."""
        inputs_dict = super()._prepare_for_class(inputs_dict, model_class, return_labels)
        if return_labels and model_class is BSPForTwoHeadClassification:
            inputs_dict["action_labels"] = torch.tensor([-100, 0, 2])
        return inputs_dict


class BSPForFeatureDistillationTest(EncoderCases, unittest.TestCase):
    all_model_classes = (BSPDistilledModel, BSPForFeatureDistillation)

    def setUp(self):
        super().setUp()
        self.model_tester = TinyFusion(distilled)
        self.config_tester = ConfigTester(self, BSPDistilledConfig, has_text_modality=False)

    def test_config(self):
        self.config_tester.run_common_tests()

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        """Extended: the teachers' features, without which the projections would get no gradient."""
        inputs_dict = super()._prepare_for_class(inputs_dict, model_class, return_labels)
        if return_labels and model_class is BSPForFeatureDistillation:
            inputs_dict["teacher_features"] = teacher_features(self.model_tester.batch_size)
        return inputs_dict


class EfficientNetLiteModelTest(ModelTesterMixin, unittest.TestCase):
    """The image network alone, which has no checkpointing of its own; the encoder does it for its blocks."""

    all_model_classes = (EfficientNetLiteModel,)
    has_attentions = False
    test_resize_embeddings = False
    test_can_init_all_missing_weights_before_2023 = True

    def setUp(self):
        super().setUp()
        self.model_tester = TinyPictures()
        properties = ["num_channels", "hidden_sizes"]
        self.config_tester = ConfigTester(self, EfficientNetLiteConfig, False, common_properties=properties)

    def test_config(self):
        self.config_tester.run_common_tests()

    def test_model_get_set_embeddings(self):
        """Overridden: pixels go through a convolution, so the first module is no `nn.Embedding`."""
        model = EfficientNetLiteModel(self.model_tester.get_config())
        self.assertIs(model.get_input_embeddings(), model.stem.convolution)

    def test_hidden_states_output(self):
        """Overridden: feature maps have space and channels where the original expects tokens."""
        config, inputs_dict = self.model_tester.prepare_config_and_inputs_for_common()
        by_argument = EfficientNetLiteModel(config).eval()(**inputs_dict, output_hidden_states=True)
        config.output_hidden_states = True
        by_config = EfficientNetLiteModel(config).eval()(**inputs_dict)
        for output in (by_argument, by_config):
            shapes = [tuple(maps.shape[1:]) for maps in output.hidden_states]
            self.assertEqual(shapes, list(EfficientNetLiteTest.shapes))


class OtherBackbones(EncoderCases):
    """A classifier over a backbone of another family."""

    all_model_classes = (BSPForBoundaryClassification,)
    family, shapes = "", ()

    def setUp(self):
        super().setUp()
        self.model_tester = TinyFamily(self.family, self.shapes)


class RegNetTest(OtherBackbones, unittest.TestCase):
    # Fails on transformers' own RegNet, which leaves the biases of its gates to the constructor.
    test_can_init_all_missing_weights_before_2023 = False
    family, shapes = "regnet", ((8, 16, 16), (8, 8, 8), (16, 4, 4), (24, 2, 2), (32, 1, 1))


class ConvNextTest(OtherBackbones, unittest.TestCase):
    family, shapes = "convnext", ((8, 8, 8), (8, 8, 8), (16, 4, 4), (24, 2, 2), (32, 1, 1))


class ConvNextV2Test(ConvNextTest):
    family = "convnextv2"


class MobileNetV2Test(OtherBackbones, unittest.TestCase):
    family = "mobilenet_v2"
    shapes = ((8, 16, 16), (8, 8, 8), (8, 4, 4), (16, 2, 2), (24, 2, 2), (40, 1, 1), (80, 1, 1))


class EfficientNetLiteTest(OtherBackbones, unittest.TestCase):
    family, shapes = "efficientnet-lite", ((16, 16, 16), (8, 16, 16), (16, 8, 8), (24, 4, 4), (32, 2, 2))


class VideoMAETest(OtherBackbones, unittest.TestCase):
    family, shapes = "videomae", ((16, 24),) * 3


class TimesformerTest(OtherBackbones, unittest.TestCase):
    # Fails on transformers' own TimeSformer, which leaves the embeddings of time to the constructor.
    test_can_init_all_missing_weights_before_2023 = False
    family, shapes = "timesformer", ((1 + 4 * 8, 24),) * 3

    def test_enable_input_require_grads_with_gradient_checkpointing(self):
        self.skipTest("The module that transformers' own TimeSformer names gives a tuple, not a tensor.")


class VivitTest(OtherBackbones, unittest.TestCase):
    family, shapes = "vivit", ((1 + 4 * 4, 24),) * 3


class VJEPA2Test(OtherBackbones, unittest.TestCase):
    family, shapes = "vjepa2", ((16, 24),) * 3
