"""What belongs to a localizer's folder, and whether everything in it fits together."""

import re
from pathlib import Path

from transformers import PreTrainedModel

from bsp_hf.features.encoders import EncoderMismatchError
from bsp_hf.localization.lgi_config import LGIConfig
from bsp_hf.localization.localizer_encoders import ENCODER_FOLDER, load_encoders
from bsp_hf.localization.localizer_folder import TEXT_ENCODER_FOLDER
from bsp_hf.localization.queries import VOCABULARY_FILE
from bsp_hf.localization.query_readers import WORD_VECTORS_FILE, QueryReader
from bsp_hf.localization.tan_config import TANConfig

from .folder import ENCODER_CODE

# Results hold sentences and names of other people's data sets.
LOCALIZER_WORKING_FILES = (
    "history.json",
    "results.json",
    "results.txt",
    "predictions.jsonl",
    "actionness.csv",
)
_SUBFOLDER_FILES = re.compile(
    rf"({ENCODER_FOLDER}(_\d+)?|{TEXT_ENCODER_FOLDER})/[^/]+\.(json|safetensors|txt|model|md)"
)
_ENCODER_MODULES = re.compile(rf"{ENCODER_FOLDER}(_\d+)?/([^/]+\.py)")


def is_localizer_file(name: str) -> bool:
    """Tell whether a file belongs to a localizer, besides its weights, config, record and card.

    Args:
        name (`str`): Relative to the folder, with `/` between the parts.

    Returns:
        `bool`: `True` for what reads queries, and for encoders in their subfolders.
    """
    module = _ENCODER_MODULES.fullmatch(name)
    if module is not None:  # foreign code is none of a localizer's business
        return (ENCODER_CODE / module[2]).is_file()
    return name in (VOCABULARY_FILE, WORD_VECTORS_FILE) or _SUBFOLDER_FILES.fullmatch(name) is not None


def check_companions(model: PreTrainedModel, folder: Path) -> tuple[list[str], list[str]]:
    """Load what lies beside a localizer: its encoders, and what reads its queries.

    Args:
        model (`PreTrainedModel`): The localizer, loaded from the folder.
        folder (`Path`): The folder.

    Returns:
        `tuple[list[str], list[str]]`: What is in the way, and what the owner should know; a sentence each.
    """
    problems, notes = [], []
    config = model.config
    if (folder / ENCODER_FOLDER).is_dir():
        try:
            load_encoders(model)
        except (EncoderMismatchError, ValueError, OSError) as error:
            problems.append(f"its encoder does not fit: {error}")
    else:
        notes.append(
            "there is no encoder in it, so it reads stored features, and videos only where its config names "
            "an encoder on the Hub; save_localizer_folder(..., encoder=...) puts one in"
        )
    if isinstance(config, TANConfig | LGIConfig):
        is_elsewhere = config.text_encoder is not None and not (folder / config.text_encoder).is_dir()
        try:
            if not is_elsewhere:
                QueryReader.from_pretrained(folder, config)
        except (ValueError, OSError) as error:
            is_lost = isinstance(config, LGIConfig) and config.query_input == "word_ids"
            # Word vectors can be had elsewhere; the words of a trained embedding cannot.
            (problems if is_lost else notes).append(f"it reads no sentence by itself: {error}")
    return problems, notes


__all__ = ["LOCALIZER_WORKING_FILES", "check_companions", "is_localizer_file"]
