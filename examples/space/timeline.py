"""The timeline as HTML: response curve, film strip, a button at every boundary, thumbnails for the cursor."""

import base64
from html import escape
from pathlib import Path

import numpy as np
from analysis import THUMBNAIL_HEIGHT, Analysis

from bsp_hf import SegmentedVideo
from bsp_hf.localization.boundaries.kinds import CHANGE_KINDS
from bsp_hf.localization.segments.page import outline_response

HERE = Path(__file__).parent
STYLE = (HERE / "timeline.css").read_text(encoding="utf-8")
SCRIPT = f"<script>\n{(HERE / 'timeline.js').read_text(encoding='utf-8')}</script>"
EMPTY = '<p class="bsp-hint">The timeline appears here.</p>'

_STRIP_WIDTH = 12 * 96  # pixels of a wide page


def format_time(time_s: float) -> str:
    """Return minutes, seconds and tenths."""
    tenths = round(time_s * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def render_progress(share: float, text: str) -> str:
    """Return a bar with what is being done; without a share of the whole it only says that."""
    bar = f'<progress value="{share:.3f}"></progress>' if share else "<progress></progress>"
    return f'<div class="bsp-working" role="status">{bar} {escape(text)}</div>'


def render_refusal(message: str) -> str:
    """Return why nothing is shown, and what to do."""
    return f'<p class="bsp-refusal" role="alert">{escape(message)}</p>'


def render_timeline(analysis: Analysis, divided: SegmentedVideo) -> str:
    """Return the timeline of one video; `timeline.js` makes it answer to the cursor and the keyboard."""
    duration_s, threshold = max(analysis.duration_s, 1e-3), divided.threshold
    found = divided.segments[1:]  # each begins with a change

    def place(time_s: float) -> str:
        return f"{100 * min(max(time_s / duration_s, 0), 1):.3f}%"

    markers = "".join(
        f'<button type="button" class="bsp-marker" '
        f'data-jump-s="{b.start_s:.3f}" style="left:{place(b.start_s)}" '
        f'title="{escape(CHANGE_KINDS[b.kind])} at {format_time(b.start_s)}" '
        f'aria-label="jump to {escape(CHANGE_KINDS[b.kind])} at {format_time(b.start_s)}"></button>'
        for b in found
    )
    chips = "".join(
        f'<button type="button" class="bsp-chip" data-jump-s="{b.start_s:.3f}">'
        f"<b>{format_time(b.start_s)}</b> {escape(CHANGE_KINDS[b.kind])} <i>{b.score:.2f}</i></button>"
        for b in found
    )
    ticks = "".join(f'<span style="left:{place(t)}">{format_time(t)[:-2]}</span>' for t in _ticks(duration_s))
    curve = "".join(
        f'<polygon points="{points}"/>'
        for points in outline_response(analysis.times_s, analysis.response, 0.0, duration_s)
    )
    sprite = base64.b64encode(analysis.sprite).decode()
    count = len(analysis.thumbnail_times_s)
    thumbnail = f"width:{analysis.thumbnail_width}px;height:{THUMBNAIL_HEIGHT}px"
    record = analysis.track.record
    damage = (
        "" if record.complete else f" (damaged, the rest is missing: {escape(record.error or 'cut off')})"
    )
    count_text = f"{len(found)} change{'s' * (len(found) != 1)}"
    skipped = (
        "; in stretches without a curve, the pictures hardly change"
        if np.isnan(analysis.response).any()
        else ""
    )
    summary = (
        f"<b>{count_text}</b> in {format_time(duration_s)} of {escape(analysis.video_name)}{skipped}{damage}"
    )
    return f"""
<div class="bsp-timeline" data-duration-s="{duration_s:.4f}" data-thumbnails="{count}"
     data-thumbnail-width="{analysis.thumbnail_width}" style="--sprite:url(data:image/jpeg;base64,{sprite})">
  <div class="bsp-legend"><span class="bsp-key-curve">response of the encoder</span>
    <span class="bsp-key-marker">change, click to jump</span>
    <span class="bsp-key-threshold">threshold</span></div>
  <div class="bsp-plot">
    <svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">
      {curve}
      <line x1="0" x2="1000" y1="{100 - 100 * threshold:.1f}" y2="{100 - 100 * threshold:.1f}"/>
    </svg>
    {markers}
  </div>
  <div class="bsp-strip" style="height:{THUMBNAIL_HEIGHT}px">{_strip(analysis, duration_s)}</div>
  <div class="bsp-playhead" hidden></div>
  <div class="bsp-cursor" hidden><div class="bsp-preview" style="{thumbnail}"></div><span></span></div>
  <div class="bsp-axis">{ticks}</div>
</div>
<p class="bsp-summary">{summary}</p>
<div class="bsp-chips">{chips}</div>
<p class="bsp-keys">Space plays and pauses; the arrow keys jump from change to change.</p>
"""


def _strip(analysis: Analysis, duration_s: float) -> str:
    """Return as many thumbnails as fit beside one another, each from the middle of its stretch of time."""
    num_shown = max(1, min(len(analysis.thumbnail_times_s), round(_STRIP_WIDTH / analysis.thumbnail_width)))
    middles_s = (np.arange(num_shown) + 0.5) * duration_s / num_shown
    times_s = np.array(analysis.thumbnail_times_s)
    nearest = np.abs(times_s[None] - middles_s[:, None]).argmin(1)
    return "".join(
        f'<div style="background-position:-{index * analysis.thumbnail_width}px 0;'
        f'flex-basis:{analysis.thumbnail_width}px"></div>'
        for index in nearest
    )


def _ticks(duration_s: float) -> list[float]:
    step_s = next(step for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1e9) if duration_s / step <= 10)
    return [step_s * k for k in range(int(duration_s / step_s) + 1) if step_s * k <= 0.97 * duration_s]
