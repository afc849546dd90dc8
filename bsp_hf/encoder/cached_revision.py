"""Which revision of a Hub repository a model was loaded from, told by the cache."""

from pathlib import Path

import torch
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name
from safetensors import safe_open
from transformers import PreTrainedModel


def find_cached_revision(model: PreTrainedModel) -> str | None:
    """Find the revision whose weights a model has; transformers stopped recording it.

    A cache that holds one revision answers at once. Among several the weights decide, never the branch: a
    model that was pinned to a tag must not pass for the newest one.

    Args:
        model (`PreTrainedModel`): A model that was loaded by a Hub id.

    Returns:
        `str` or `None`: The commit; `None` if it is not in the cache, or if none of several has its weights.
    """
    repository = Path(constants.HF_HUB_CACHE) / repo_folder_name(
        repo_id=str(model.name_or_path), repo_type="model"
    )
    snapshots = sorted(path.parent for path in repository.glob("snapshots/*/config.json"))
    if len(snapshots) > 1:
        snapshots = [snapshot for snapshot in snapshots if _holds_weights(snapshot, model)]
    commits = [snapshot.name for snapshot in snapshots]
    main = repository / "refs" / "main"
    newest = main.read_text().strip() if main.is_file() else None
    # Revisions with the same weights make the same features.
    return newest if newest in commits else next(iter(commits), None)


def _holds_weights(snapshot: Path, model: PreTrainedModel) -> bool:
    state = model.base_model.state_dict()
    num_equal = 0
    for path in sorted(snapshot.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 -- it is no dict and cannot be iterated
                value = state.get(key.removeprefix(f"{model.base_model_prefix}."))
                if value is None:
                    continue
                stored = file.get_tensor(key)
                if stored.shape != value.shape or not torch.equal(stored.to(value.dtype), value.cpu()):
                    return False
                num_equal += 1
    return num_equal > 0


__all__ = ["find_cached_revision"]
