"""LGI as it is trained and evaluated: published settings, samples, decoding."""

from collections.abc import Sequence

from bsp_hf.localization.grounding.network import GroundingNetwork
from bsp_hf.localization.suppression import Detections
from bsp_hf.localization.training.hyperparameters import Hyperparameters

from .configuration_lgi import LGIConfig
from .decoding import decode_lgi
from .modeling_lgi import LGIForVideoGrounding, LGIOutput
from .samples import make_lgi_sample


def _decode(
    config: LGIConfig, output: LGIOutput, durations_s: Sequence[float], max_segments: int
) -> list[Detections]:
    return decode_lgi(output["spans"].float().cpu().numpy(), durations_s)


# Moments are not cut at the end of the video.
LGI = GroundingNetwork(
    config_class=LGIConfig,
    model_class=LGIForVideoGrounding,
    presets={
        "charades": Hyperparameters(4e-4, 100, 500),
        "activitynet_captions": Hyperparameters(4e-4, 100, 300),
    },
    rule="lgi",
    make_sample=make_lgi_sample,
    decode=_decode,
    vector_fields={"query_input": "word_vectors"},
)
