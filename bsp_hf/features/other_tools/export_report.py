"""What an export of feature tracks wrote, and the configuration of the tool that reads it."""

from dataclasses import dataclass
from pathlib import Path

from .layouts import BMN_FOLDER, BMN_ROWS, TAN_FILES, THUMOS_FRAME_STEP, LocalizerSettings

TIMING_FILE = "video_timing.json"

# Tools whose annotations state what part of a video its rows cover.
TIMED_BY_ANNOTATION = ("gtad", "bmn")


@dataclass(frozen=True)
class LeftOut:
    """A video that was not exported.

    Args:
        video_id (`str`): The video.
        reason (`str`): Why not, and what to do.
    """

    video_id: str
    reason: str


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote; `str` of it is meant to be printed.

    Args:
        layout (`str`): Name of the layout.
        place (`Path`): The folder or file written.
        file_format (`str`): Format of the files.
        prefix (`str`): What stands in front of an id in names.
        feature_type (`str`): What names the features in the name of a file of many videos.
        video_ids (`tuple[str, ...]`): Videos written.
        left_out (`tuple[LeftOut, ...]`): Videos not written.
        settings (`LocalizerSettings`): Where the rows lie.
        num_arranged (`int`, *optional*, defaults to 0): Videos whose rows were interpolated to be spread
            evenly over the duration.
    """

    layout: str
    place: Path
    file_format: str
    prefix: str
    feature_type: str
    video_ids: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    settings: LocalizerSettings
    num_arranged: int = 0

    def __str__(self) -> str:
        settings, count = self.settings, len(self.video_ids)
        grid = {
            "feat_stride": "none (rows spread over the video)",
            "num_frames": settings.num_frames,
            "offset_frames": f"{settings.offset_frames:g}",
            "fps": "several",
            "input_dim": settings.input_dim,
        }
        grid |= {
            name: value
            for name, value in (("feat_stride", settings.feat_stride), ("fps", settings.fps))
            if value is not None
        }
        lines = [
            f"{count} video{'s' * (count != 1)} in {self.place}, layout {self.layout}",
            " ".join(f"{name}={value}" for name, value in grid.items()),
            *(f"  {line}" for line in self.configuration()),
            *(f"note: {note}" for note in self.notes()),
            *(f"left out: {video.video_id}: {video.reason}" for video in self.left_out),
        ]
        return "\n".join(lines)

    def configuration(self) -> tuple[str, ...]:
        """Return the settings in the words of the tool's own configuration, one to a line."""
        place, dim = self.place, self.settings.input_dim
        if self.layout == "actionformer":
            return self._actionformer()
        if self.layout == "opentad":
            return self._opentad()
        feature_path = f"{place}/{self.prefix}{{}}.npy"
        return {
            "gtad": (
                f"--feature_path {place}/  (the last slash: each video has a file)",
                f"--feat_dim {dim} --temporal_scale 100",
            ),
            "gtad-thumos": (
                f"--feature_path {place}",
                f"--feat_dim {dim} --skip_videoframes {THUMOS_FRAME_STEP}",
            ),
            "2dtan": self._tan("Charades", self.feature_type),
            "2dtan-activitynet": self._tan("ActivityNet", "c3d"),
            "2dtan-tacos": self._tan("TACoS", "c3d"),
            "lgi": (
                f'train_loader.video_feature_path: "{feature_path}"',
                f'test_loader.video_feature_path: "{feature_path}"',
                f"model.video_enc_vemb_idim: {dim}",
            ),
            "bmn": (
                f"--feature_path {place}/ --feat_dim {dim} --temporal_scale {BMN_ROWS}  (BMN's own code)",
                f"data_root: {place}/{BMN_FOLDER}/  (mmaction2, like the next two)",
                f"feat_dim: {dim}",
                f"temporal_dim: {BMN_ROWS}",
            ),
            "tsp": (f"rows of {dim} numbers, one HDF5 file for each subset",),
        }[self.layout]

    def _tan(self, dataset: str, input_type: str) -> tuple[str, ...]:
        return (
            f"DATA_DIR: {self.place}",
            f"DATASET.NAME: {dataset}",
            f"DATASET.VIS_INPUT_TYPE: {input_type}",
            f"TAN.FRAME_MODULE.PARAMS.INPUT_SIZE: {self.settings.input_dim}",
        )

    def _actionformer(self) -> tuple[str, ...]:
        settings = self.settings
        rescaled = settings.feat_stride is None
        fps = "null  (they differ: each video's entry in the json file needs its fps)"
        return (
            *(("dataset_name: anet",) if self.file_format == "hdf5" else ()),
            f"dataset.feat_folder: {self.place}",
            f"dataset.file_prefix: {self.prefix or 'null'}",
            "dataset.file_ext: .npy",
            # Not positive: rows spread over the duration, num_frames counted in rows.
            f"dataset.feat_stride: {-1 if rescaled else settings.feat_stride}",
            f"dataset.num_frames: {1 if rescaled else settings.num_frames}",
            f"dataset.default_fps: {fps if settings.fps is None else settings.fps}",
            f"dataset.input_dim: {settings.input_dim}",
        )

    def _opentad(self) -> tuple[str, ...]:
        settings = self.settings
        load = f'dict(type="LoadFeats", feat_format="{self.file_format}", prefix="{self.prefix}")'
        if settings.feat_stride is None:
            # The step also turns the seconds of the annotations into rows.
            resize = 'dict(type="ResizeFeat", tool="interpolate")'
            dataset = f'type="AnetResizeDataset", resize_length={settings.num_rows}, sample_stride=1'
            return (f'data_path="{self.place}/"', dataset, load, f"{resize}  (behind ConvertToTensor)")
        return (
            f'data_path="{self.place}/"',
            f"feature_stride={settings.feat_stride}, sample_stride=1",
            f"offset_frames={int(settings.offset_frames)}",
            f"fps={-1 if settings.fps is None else settings.fps}",
            load,
        )

    def notes(self) -> tuple[str, ...]:
        """Return what matters beyond the tool's configuration, or cannot be configured."""
        settings, notes = self.settings, []
        stride = settings.feat_stride
        if self.layout in TIMED_BY_ANNOTATION:
            notes.append(
                "put duration_second, duration_frame and feature_frame of "
                f"{self.place / TIMING_FILE} into the annotations: the published ones count in the snippets "
                "of other features."
            )
        if self.num_arranged:
            videos = f"{self.num_arranged} video{'s' * (self.num_arranged != 1)}"
            notes.append(
                f"this tool knows no times: the rows of {videos} were interpolated to be spread evenly over "
                "the duration, as it takes them to be."
            )
        if self.layout in TIMED_BY_ANNOTATION and stride is not None and settings.num_frames != stride:
            notes.append(
                f"this tool centres a row {stride / 2:g} frames behind its start; these lie "
                f"{settings.offset_frames:g} frames behind it. For exact times extract with stride_frames "
                "equal to snippet_frames."
            )
        if self.layout == "actionformer" and self.file_format == "hdf5":
            notes.append("only ActionFormer's class anet reads an hdf5 file; for the others export npy.")
        if self.layout in ("2dtan", *TAN_FILES):
            files = (
                "Charades_v1_*.csv and charades_sta_*.txt"
                if self.layout == "2dtan"
                else "train, val and test.json"
            )
            notes.append(f"2D-TAN reads its annotations from DATA_DIR too: copy {files} into {self.place}.")
        if self.layout == "opentad" and settings.offset_frames % 1:
            notes.append(f"OpenTAD cuts offset_frames={settings.offset_frames:g} down to a whole number.")
        return tuple(notes)
