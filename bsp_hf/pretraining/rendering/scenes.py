"""Draw textured objects that move in front of a textured background: one uncut shot, with numpy alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from .motions import Stretch, check_stretches, shot_poses

_WORLD_MARGIN = 0.5  # how much more than the picture a scene holds, for the camera to move in


def _smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Return bilinear noise in [0, 1], `(height, width)`, with `cells` random nodes down the picture."""
    nodes = rng.random((cells + 2, round(cells * width / height) + 2), dtype=np.float32)
    rows = np.linspace(0, cells, height, endpoint=False, dtype=np.float32)
    columns = np.linspace(0, nodes.shape[1] - 2, width, endpoint=False, dtype=np.float32)
    return _lerp_rows(_lerp_rows(nodes, rows).T, columns).T


def _lerp_rows(picture: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sample the first axis of `picture` at the fractional indices `rows`, each in [0, len(picture) - 1)."""
    below = rows.astype(np.intp)
    weight = (rows - below).reshape(-1, *[1] * (picture.ndim - 1))
    lower = picture[below]
    return lower + (picture[below + 1] - lower) * weight


def _paint_texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return a random rough pattern in random colours, float32 `(height, width, 3)` in [0, 255]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    angle = rng.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    waves = rng.uniform(2.0, 6.0)
    kind = rng.integers(4)
    if kind == 0:
        pattern = np.sin(2 * np.pi * (waves * along + rng.uniform(0, 0.3) * np.sin(6 * across)))
    elif kind == 1:
        pattern = np.sign(np.sin(2 * np.pi * waves * along) * np.sin(2 * np.pi * waves * across))
    elif kind == 2:
        distance = np.hypot((along * waves) % 1 - 0.5, (across * waves) % 1 - 0.5)
        pattern = np.sign(rng.uniform(0.2, 0.4) - distance)
    else:
        pattern = 2 * _smooth_noise(rng, height, width, cells=int(waves) + 2) - 1
    rough = sum(_smooth_noise(rng, height, width, 3 * octave**2) / octave for octave in (1, 2, 3))
    level = np.clip(0.5 + 0.3 * pattern + 0.35 * (rough - 0.92), 0, 1)[..., None]
    dark, light = np.sort(rng.uniform(20, 235, size=(2, 3)), axis=0)
    return (dark + (light - dark) * level).astype(np.float32)


def _paint_sprite(rng: np.random.Generator, radius_px: float) -> np.ndarray:
    """Return a textured shape in a circle, float32 `(side + 2, side + 2, 4)`: premultiplied, clear border."""
    side = max(8, round(2.2 * radius_px))
    y, x = (np.mgrid[0:side, 0:side] + 0.5) * 2 / side - 1
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    kind = rng.integers(3)
    if kind == 0:  # ellipse
        edge = 1 / np.hypot(np.cos(angle), np.sin(angle) / rng.uniform(0.55, 0.9))
    elif kind == 1:  # regular polygon
        corner = 2 * np.pi / rng.integers(3, 7)
        edge = np.cos(corner / 2) / np.cos(angle % corner - corner / 2)
    else:  # star
        edge = 0.78 + 0.22 * np.cos(rng.integers(3, 7) * angle)
    inside_px = (edge - distance) * side / 2
    alpha = np.clip(inside_px + 0.5, 0, 1)[..., None]
    rim = np.clip(inside_px - 0.06 * side, 0.15, 1)[..., None]
    sprite = np.zeros((side + 2, side + 2, 4), dtype=np.float32)
    sprite[1:-1, 1:-1, :3] = _paint_texture(rng, side, side) * alpha * rim
    sprite[1:-1, 1:-1, 3:] = alpha
    return sprite


def _draw_sprite(
    picture: np.ndarray, sprite: np.ndarray, x_px: float, y_px: float, radius_px: float, angle: float
) -> None:
    """Draw `sprite` into `picture`, float32 `(height, width, 3)`, in place, with bilinear sampling."""
    height, width = picture.shape[:2]
    left, right = max(0, int(x_px - radius_px)), min(width, int(x_px + radius_px) + 2)
    top, bottom = max(0, int(y_px - radius_px)), min(height, int(y_px + radius_px) + 2)
    if left >= right or top >= bottom:
        return
    side = sprite.shape[0] - 2
    scale = side / (2 * radius_px)
    cos, sin = np.float32(np.cos(angle) * scale), np.float32(np.sin(angle) * scale)
    dx = np.arange(left, right, dtype=np.float32) + np.float32(0.5 - x_px)
    dy = (np.arange(top, bottom, dtype=np.float32) + np.float32(0.5 - y_px))[:, None]
    middle, last = np.float32(side / 2 + 0.5), np.float32(side + 0.999)
    column = np.clip(cos * dx + sin * dy + middle, 0, last)
    row = np.clip(cos * dy - sin * dx + middle, 0, last)
    column_below, row_below = column.astype(np.int32), row.astype(np.int32)
    column -= column_below
    row -= row_below
    texels = sprite.reshape(-1, 4)
    corner = row_below * (side + 2) + column_below
    column_weight, row_weight = column[..., None], row[..., None]
    upper, lower = texels.take(corner, axis=0), texels.take(corner + (side + 2), axis=0)
    upper += (texels.take(corner + 1, axis=0) - upper) * column_weight
    lower += (texels.take(corner + (side + 3), axis=0) - lower) * column_weight
    upper += (lower - upper) * row_weight
    patch = picture[top:bottom, left:right]
    patch[...] = patch * (1 - upper[..., 3:]) + upper[..., :3]


@dataclass
class _Scene:
    """What one shot shows: a background with props, two object sprites and a camera."""

    rng: np.random.Generator
    width: int
    height: int
    background: np.ndarray = field(init=False)
    radii_px: np.ndarray = field(init=False)
    sprites: list[np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        rng, unit = self.rng, self.height
        margin_px = round(_WORLD_MARGIN * unit)
        self.background = _paint_texture(rng, self.height + margin_px, self.width + margin_px)
        for _ in range(rng.integers(0, 4)):  # props: objects that stand still
            radius_px = rng.uniform(0.06, 0.2) * unit
            x, y = rng.uniform(0, self.background.shape[1]), rng.uniform(0, self.background.shape[0])
            sprite = _paint_sprite(rng, radius_px)
            _draw_sprite(self.background, sprite, x, y, radius_px, angle=rng.uniform(0, 2 * np.pi))
        self.radii_px = rng.uniform(0.13, 0.22, size=2) * unit
        self.sprites = [_paint_sprite(rng, radius_px) for radius_px in self.radii_px]

    def camera(self, times_s: np.ndarray) -> np.ndarray:
        """Return the camera's x, y (picture heights) and zoom (1 to 1.3) at `times_s`, `(num_frames, 3)`."""
        rng = self.rng
        kind = rng.choice(["still", "pan", "zoom", "hand"], p=[0.35, 0.25, 0.15, 0.25])
        wave = np.sin(2 * np.pi * (rng.uniform(0.08, 0.2) * times_s + rng.uniform()))
        direction = rng.uniform(0, 2 * np.pi)
        tremble = sum(
            np.sin(2 * np.pi * (frequency * times_s[:, None] + rng.uniform(size=2)))
            for frequency in (0.7, 1.3, 2.9)
        )
        path = np.tile([0, 0, 1 + 0.05 * rng.uniform()], (len(times_s), 1))
        if kind == "pan":
            path[:, 0] += 0.22 * np.cos(direction) * wave
            path[:, 1] += 0.14 * np.sin(direction) * wave
        elif kind == "zoom":
            path[:, 2] += 0.12 * (1 + wave)
        elif kind == "hand":
            path[:, :2] += rng.uniform(0.004, 0.012) * tremble
        return path

    def view(self, x: float, y: float, zoom: float) -> np.ndarray:
        """Return what the camera sees of the background, float32 `(height, width, 3)`."""
        world_height, world_width = self.background.shape[:2]
        middle_row, middle_column = world_height / 2 + y * self.height, world_width / 2 + x * self.height
        rows = (np.arange(self.height) + 0.5 - self.height / 2) / zoom + middle_row - 0.5
        columns = (np.arange(self.width) + 0.5 - self.width / 2) / zoom + middle_column - 0.5
        first = max(0, int(columns[0]))
        strip = self.background[:, first : int(columns[-1]) + 2]
        wide = _lerp_rows(strip, np.clip(rows, 0, world_height - 1.001).astype(np.float32))
        columns = np.clip(columns - first, 0, strip.shape[1] - 1.001).astype(np.float32)
        left = columns.astype(np.intp)
        start = wide.take(left, axis=1)
        return start + (wide.take(left + 1, axis=1) - start) * (columns - left)[:, None]


def render_shot(
    stretches: Sequence[Stretch],
    seed: Sequence[int],
    *,
    width: int = 128,
    height: int = 96,
    fps: float = 25.0,
) -> Iterator[np.ndarray]:
    """Yield the frames of one uncut shot, uint8 `(height, width, 3)` RGB, each a new array.

    The frames depend on the arguments alone. Up to and including the first frame of a stretch they do not
    depend on that stretch or on later ones: a change of speed or motion starts there and is never a jump.

    Adjacent stretches of a motion are one action. The seed fixes colours, textures, camera, sizes and paths;
    motions are made for 4:3.
    """
    check_stretches(stretches)
    if min(width, height) < 32:
        raise ValueError(f"Frames of {width}x{height} px are too small to show a motion; use at least 32x32.")
    if fps <= 0:
        raise ValueError(f"fps must be above 0, got {fps}.")
    return _draw_shot(stretches, seed, width, height, fps)


def _draw_shot(
    stretches: Sequence[Stretch], seed: Sequence[int], width: int, height: int, fps: float
) -> Iterator[np.ndarray]:
    poses = shot_poses(stretches, seed, fps)
    scene = _Scene(np.random.default_rng([*seed, 0]), width, height)
    camera = scene.camera(np.arange(poses.shape[1]) / fps)
    view, seen_from = np.empty(0), None
    for frame, (camera_x, camera_y, zoom) in enumerate(camera):
        if seen_from != (camera_x, camera_y, zoom):
            view, seen_from = scene.view(camera_x, camera_y, zoom), (camera_x, camera_y, zoom)
        picture = view.copy()
        for sprite, radius_px, (x, y, angle, log_scale) in zip(
            scene.sprites, scene.radii_px, poses[:, frame], strict=False
        ):
            x_px = (x - camera_x) * height * zoom + width / 2
            y_px = (y - camera_y) * height * zoom + height / 2
            _draw_sprite(picture, sprite, x_px, y_px, radius_px * zoom * np.exp(log_scale), angle)
        picture += 0.5
        yield picture.astype(np.uint8)
