"""Who made a feature: the encoder's id, its revision, and a hash of every setting that changes a value."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from huggingface_hub import constants, try_to_load_from_cache
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class HubOrigin:
    """The repository on the Hub that a model was loaded from.

    Args:
        repo_id (`str`): Its `org/name`.
        revision (`str`): The commit; what was asked for where its commit is not in the cache.
        folder (`Path`, *optional*): Where the model's files lie in the cache.
    """

    repo_id: str
    revision: str
    folder: Path | None = None

    @classmethod
    def find(
        cls,
        repo_id: str,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        subfolder: str = "",
    ) -> "HubOrigin":
        """Return where a model came from that was just loaded with these options of `from_pretrained`."""
        # Of the Auto classes comes a revision that knows its commit.
        asked = str(getattr(revision, "resolved", revision) or "main")
        subfolder = (subfolder or "").strip("/")
        config = try_to_load_from_cache(repo_id, f"{subfolder}/config.json".lstrip("/"), cache_dir, asked)
        if not isinstance(config, str):
            return cls(repo_id, asked)
        folder = Path(config).parent
        return cls(repo_id, (folder.parents[subfolder.count("/")] if subfolder else folder).name, folder)


def loaded_revision(model: PreTrainedModel) -> str | None:
    """Return the revision that a model of the package was loaded from, to read more files of it.

    It is the commit on the Hub, or what was asked for where that is not known; None for a model from a folder
    or from memory, and for one whose `name_or_path` was changed since.
    """
    origin = _origin(model)
    return None if origin is None else origin.revision


def _origin(model: PreTrainedModel) -> HubOrigin | None:
    origin: Any = getattr(model, "hub_origin", None)  # Any: mypy takes a module's attributes for tensors
    return origin if origin is not None and origin.repo_id == model.name_or_path else None


def _find_commit(model: PreTrainedModel) -> str | None:
    """Return the commit whose weights a model has, of the revision it was loaded from or of those cached.

    A cache that holds one revision answers at once. Among several the weights decide, never the branch: a
    model that was pinned to a tag must not pass for the newest one.
    """
    name = str(model.name_or_path or "")
    origin = _origin(model)
    if origin is not None:
        # What was trained on since is no longer that revision.
        is_other = origin.folder is not None and _has_equal_weights(origin.folder, model) is False
        return None if is_other else origin.revision
    if not name or name.count("/") > 1 or Path(name).is_absolute() or Path(name).is_dir():
        return None
    repository = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    snapshots = sorted(path.parent for path in repository.glob("snapshots/*/config.json"))
    if len(snapshots) > 1:
        snapshots = [snapshot for snapshot in snapshots if _has_equal_weights(snapshot, model)]
    commits = [snapshot.name for snapshot in snapshots]
    main = repository / "refs" / "main"
    newest = main.read_text().strip() if main.is_file() else None
    # Revisions with the same weights make the same features.
    return newest if newest in commits else next(iter(commits), None)


def _has_equal_weights(folder: Path, model: PreTrainedModel) -> bool | None:
    """Whether the files of a folder hold the encoder's weights; None if there are none to compare."""
    state = model.base_model.state_dict()
    has_compared = False
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 -- it is no dict and cannot be iterated
                value = state.get(key.removeprefix(f"{model.base_model_prefix}."))
                if value is None:
                    continue
                if not _is_equal(file.get_tensor(key), value.cpu()):
                    return False
                has_compared = True
    return True if has_compared else None


def _is_equal(stored: Tensor, value: Tensor) -> bool:
    """Whether two tensors are one, in the precision of the second or in bfloat16."""
    if stored.shape != value.shape:
        return False
    return torch.equal(stored.to(value.dtype), value) or torch.equal(stored.bfloat16(), value.bfloat16())


_IMAGE_STAGES = ("num_channels", "hidden_sizes", "depths", "hidden_act")
_CONVNEXT = (*_IMAGE_STAGES, "patch_size", "num_stages", "layer_norm_eps")
_ATTENTION = ("hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps")
_VIDEO = (*_ATTENTION, "num_channels", "num_frames", "image_size", "intermediate_size")
_ENCODER = ("backbone_config", "num_frames", "shift_div", "shift_place", "shift_blocks")
# Fields that came after features had been stored: left out where they are None, which is how it was before.
_LATER_FIELDS = frozenset({"shift_blocks"})
# What earlier releases of transformers call a field.
FORMER_NAMES = {"qv_bias": "qkv_bias"}
# The fields of a config that change a feature, by model type. Named one by one, so that a field that a later
# release of transformers adds leaves stored features valid. A type that is added needs its own row.
FEATURE_FIELDS: dict[str, tuple[str, ...]] = {
    "bsp": _ENCODER,
    "bsp-two-head": _ENCODER,
    "bsp-distilled": _ENCODER,
    "bsp-two-stream": ("stream_configs",),
    "resnet": (
        *_IMAGE_STAGES,
        "embedding_size",
        "layer_type",
        "downsample_in_first_stage",
        "downsample_in_bottleneck",
    ),
    "regnet": (*_IMAGE_STAGES, "embedding_size", "groups_width", "layer_type", "downsample_in_first_stage"),
    "convnext": _CONVNEXT,
    "convnextv2": _CONVNEXT,
    "mobilenet_v2": (
        "num_channels",
        "depth_multiplier",
        "depth_divisible_by",
        "min_depth",
        "expand_ratio",
        "output_stride",
        "first_layer_is_expansion",
        "finegrained_output",
        "hidden_act",
        "tf_padding",
        "layer_norm_eps",
    ),
    "efficientnet-lite": (
        "num_channels",
        "stem_size",
        "hidden_sizes",
        "depths",
        "kernel_sizes",
        "strides",
        "expand_ratios",
        "feature_size",
        "batch_norm_eps",
    ),
    "videomae": (*_VIDEO, "patch_size", "tubelet_size", "qv_bias", "use_mean_pooling"),
    "timesformer": (*_VIDEO, "patch_size", "qkv_bias", "attention_type"),
    "vivit": (*_VIDEO, "tubelet_size", "qkv_bias"),
    "vjepa2": (
        *_ATTENTION,
        "in_chans",
        "patch_size",
        "crop_size",
        "frames_per_clip",
        "tubelet_size",
        "mlp_ratio",
        "qkv_bias",
    ),
}
# The same of feature extractors and image processors. Not among them: which rows there are (`stride_frames`,
# `padding`), which a track records by name.
PREPROCESSING_FIELDS = (
    "image_processor_type",
    "feature_extractor_type",
    "video_processor_type",
    "size",
    "crop_size",
    "pad_size",
    "do_resize",
    "do_center_crop",
    "do_pad",
    "do_rescale",
    "do_normalize",
    "do_convert_rgb",
    "resample",
    "rescale_factor",
    "offset",
    "image_mean",
    "image_std",
    "num_frames",
    "fps",
)
# What in the config of any other model has nothing to do with its features.
_GENERAL_FIELDS = frozenset(
    {
        "_name_or_path",
        "architectures",
        "auto_map",
        "custom_pipelines",
        "dtype",
        "id2label",
        "label2id",
        "output_attentions",
        "output_hidden_states",
        "problem_type",
        "return_dict",
        "transformers_version",
    }
)


# The version of its weights and their digest, for every model that was asked about and still lives.
_DIGESTS: WeakKeyDictionary[PreTrainedModel, tuple[Any, str]] = WeakKeyDictionary()
# The name of a model and the digest of its weights, and the commit that was found for them.
_COMMITS: WeakKeyDictionary[PreTrainedModel, tuple[tuple[str, str], str | None]] = WeakKeyDictionary()


def describe_encoder(model: PreTrainedModel, extractor: Any) -> dict[str, Any]:
    """Identify the encoder that makes features.

    Args:
        model (`PreTrainedModel`): The encoder.
        extractor: Its feature extractor or image processor.

    Returns:
        `dict`: `id` (folder name or Hub id), `revision` (commit of the Hub repository, else a digest of the
        weights), `settings_hash` (of the model's and preprocessing's settings) and `dtype`, all text. An
        encoder of several streams also has `parts`: such a record of each stream, in the order of their
        features, equal to that of the encoder it was made of.
    """
    known = identify_weights(model)
    record: dict[str, Any] = {
        "id": known["id"],
        "revision": known["revision"],
        "settings_hash": hash_settings(model.config, extractor),
        "dtype": str(model.dtype).removeprefix("torch."),
    }
    parts = _describe_streams(model.base_model, extractor)
    return {**record, "parts": parts} if parts else record


def identify_weights(model: PreTrainedModel) -> dict[str, str]:
    """Return `id` and `revision` of an encoder as in [`describe_encoder`], and a digest of its `weights`."""
    digest = _weights_digest(model)
    return {
        "id": _identity(model),
        "revision": _commit(model, digest) or f"weights-{digest}",
        "weights": digest,
    }


def _describe_streams(encoder: Any, extractor: Any) -> list[dict[str, Any]]:
    """Describe the streams of a fused encoder; there are none in any other.

    By name, not by class: code from a checkpoint and code of the package have different classes.
    """
    parts: list[dict[str, Any]] = []
    streams = list(getattr(encoder, "named_streams", {}).values())
    origins = (streams and encoder.config.stream_records) or [None] * len(streams)
    for stream, origin in zip(streams, origins, strict=True):
        part = describe_encoder(stream, extractor)
        if origin is not None:
            part["id"] = origin["id"]
            # What was trained on since is no longer that revision.
            if _weights_digest(stream) == origin["weights"]:
                part["revision"] = origin["revision"]
        parts += part.pop("parts", None) or [part]
    return parts


def hash_settings(config: PreTrainedConfig, extractor: Any) -> str:
    """Return the hash of all settings of a model and its preprocessing that change a feature's value."""
    model_type = str(config.model_type)
    fields = config.to_dict() if model_type in FEATURE_FIELDS else config.to_diff_dict()
    settings = {
        "model": _model_settings({**fields, "model_type": model_type}),
        "preprocessing": preprocessing_settings(extractor.to_dict()),
    }
    canonical = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def preprocessing_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what changes a feature's value of the settings that a feature extractor's `to_dict` gives."""
    return {name: settings[name] for name in PREPROCESSING_FIELDS if name in settings}


def _model_settings(value: Any) -> Any:
    """Return the settings of a config and of the configs in it, of which each has a `model_type`."""
    if isinstance(value, (list, tuple)):
        return [_model_settings(item) for item in value]
    if not isinstance(value, dict) or "model_type" not in value:
        return value
    # A model that is not known here comes with what is no default only, and new fields are defaults.
    names = FEATURE_FIELDS.get(value["model_type"], value.keys() - _GENERAL_FIELDS)
    value = {name: value[former] for name, former in FORMER_NAMES.items() if former in value} | value
    return {
        name: _model_settings(value[name])
        for name in (*names, "model_type")
        if name in value and not (name in _LATER_FIELDS and value[name] is None)
    }


def _identity(model: PreTrainedModel) -> str:
    name = model.name_or_path
    if not name:
        return type(model).__name__
    # The folder's own name, because the path to it differs from machine to machine. It need not be there any
    # more; `org/name` is what a Hub id looks like.
    is_folder = Path(name).is_dir() or Path(name).is_absolute() or len(Path(name).parts) > 2
    return Path(name).resolve().name if is_folder else name


def _commit(model: PreTrainedModel, digest: str) -> str | None:
    asked = str(model.name_or_path or ""), digest
    if model not in _COMMITS or _COMMITS[model][0] != asked:  # not looked up anew for every video
        _COMMITS[model] = asked, _find_commit(model)
    commit = _COMMITS[model][1]
    return commit if commit and re.fullmatch(r"[0-9a-f]{40}", commit) else None


def _weights_digest(model: PreTrainedModel) -> str:
    """Hash the encoder without its head, rounded so that loading it in bfloat16 changes nothing."""
    state = model.base_model.state_dict()
    # Not hashed anew for every video; the counters show whether a tensor changed.
    version = tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in state.values())
    if model in _DIGESTS and _DIGESTS[model][0] == version:
        return _DIGESTS[model][1]
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        if name.endswith("num_batches_tracked"):  # changes no feature
            continue
        value = tensor.detach().cpu()
        value = value.to(torch.bfloat16) if value.is_floating_point() else value
        digest.update(name.encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    _DIGESTS[model] = version, digest.hexdigest()[:16]
    return _DIGESTS[model][1]
