"""Alignment of G-TAD: features read off at fractional times, in a fixed number of bins per region."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class AlignmentGeometry:
    """Which regions of the time axis a G-TAD map reads, and how finely (Sec. "SGAlign" of the G-TAD paper).

    The anchor of start `i` and duration index `j` is read over `[i - r L, i + j + r L]`, with `L = j + 1` and
    `r` the expansion ratio. Anchors that end past the last step all read the region `[0, 0]`. The fields are
    those of [`GTADConfig`].
    """

    num_steps: int
    max_duration: int
    num_inner_bins: int = 32
    num_context_bins: int = 4
    inner_sampling_ratio: int = 0
    context_sampling_ratio: int = 0
    expansion_ratio: float = 0.5

    @property
    def num_bins(self) -> int:
        """Bins per anchor, inner and context ones."""
        return self.num_inner_bins + self.num_context_bins

    def anchors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return start index and duration index, int64 `(num_valid,)` each, of the anchors that end in time.

        Ordered by duration, then by start.
        """
        durations, starts = np.indices((self.max_duration, self.num_steps)).reshape(2, -1)
        valid = starts + durations < self.num_steps
        return starts[valid], durations[valid]

    def map_index(self) -> np.ndarray:
        """Return the row of [`project_anchors`] for every map cell, int64 `(max_duration, num_steps)`.

        Cells whose anchor ends too late all hold the last row, that of the shared region.
        """
        starts, durations = self.anchors()
        index = np.full((self.max_duration, self.num_steps), len(starts), dtype=np.int64)
        index[durations, starts] = np.arange(len(starts))
        return index

    def regions(self) -> tuple[np.ndarray, np.ndarray]:
        """Return start and end of every anchor's region, float64 `(num_valid + 1,)`; the last is (0, 0)."""
        starts, durations = self.anchors()
        margin = (durations + 1) * self.expansion_ratio
        return np.append(starts - margin, 0.0), np.append(starts + durations + margin, 0.0)


@dataclass(frozen=True, eq=False)
class SparseOperator:
    """A sparse matrix for tables of rows: every output row is a weighted sum of a few rows of the table.

    It is kept with its transpose, both by rows, so that the gradient is as fast as the product.
    """

    num_rows: int  # of the output
    num_columns: int  # rows of the table
    # table row of every entry and first entry of every output row (both int32), and the weights
    forward_index: tuple[Tensor, Tensor, Tensor]
    transposed_index: tuple[Tensor, Tensor, Tensor]  # the same of the transposed matrix

    @classmethod
    def from_entries(
        cls,
        rows: np.ndarray,
        columns: np.ndarray,
        weights: np.ndarray,
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> "SparseOperator":
        """Build the operator from output row, table row and weight of every entry, `(num_entries,)` each.

        `shape` counts the rows of the output and of the table; `dtype` is that of the tables.
        """

        def compress(major: np.ndarray, minor: np.ndarray, num_major: int) -> tuple[Tensor, Tensor, Tensor]:
            order = np.lexsort((minor, major))
            first = np.searchsorted(major[order], np.arange(num_major))
            return (
                torch.as_tensor(minor[order].astype(np.int32), device=device),
                torch.as_tensor(first.astype(np.int32), device=device),
                torch.as_tensor(weights[order], dtype=dtype, device=device),
            )

        num_rows, num_columns = shape
        by_row, by_column = compress(rows, columns, num_rows), compress(columns, rows, num_columns)
        return cls(num_rows, num_columns, by_row, by_column)

    def apply(self, table: Tensor) -> Tensor:
        """Multiply `(num_columns, width)` to `(num_rows, width)`, without a gradient of its own."""
        return self._sum_rows(self.forward_index, table)

    def apply_transposed(self, table: Tensor) -> Tensor:
        """Multiply `(num_rows, width)` by the transposed matrix to `(num_columns, width)`."""
        return self._sum_rows(self.transposed_index, table)

    @staticmethod
    def _sum_rows(index: tuple[Tensor, Tensor, Tensor], table: Tensor) -> Tensor:
        # As a weighted sum of embeddings this takes 30 to 85 % of the time of torch's CSR product on a CPU.
        entries, first, weights = index
        return F.embedding_bag(entries, table.contiguous(), first, mode="sum", per_sample_weights=weights)


def sampling_entries(
    starts: np.ndarray, ends: np.ndarray, num_bins: int, sampling_ratio: int, num_steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return with which weight each bin of each region reads each step.

    Starts and ends are `(num_regions,)` in steps; a region is at least one step long. Each bin is the mean of
    evenly spaced, linearly interpolated samples, `sampling_ratio` of them or, with 0, as many as the bin is
    steps long, rounded up. A sample outside `[-1, num_steps]` counts as 0, one in the margins reads the
    outermost step. Returned are row (`region * num_bins + bin`), step and float64 weight of every entry,
    `(num_entries,)` each, sorted by row and then step, each pair once.
    """
    # The reference counts its samples in float32: a length such as 8.1 - 0.1 must round as it does there.
    lengths = np.maximum(ends.astype(np.float32) - starts.astype(np.float32), np.float32(1))
    if sampling_ratio > 0:
        num_samples = np.full(len(lengths), sampling_ratio)
    else:
        num_samples = np.ceil(lengths / np.float32(num_bins)).astype(np.int64)
    keys, weights = [np.zeros(0, np.int64)], [np.zeros(0)]
    # Regions of equal sample count are taken together and summed up before the next count: the samples of all
    # regions at once would need many times the memory of the entries.
    for count in np.unique(num_samples):
        chosen = np.flatnonzero(num_samples == count)
        sample = np.arange(num_bins * count)
        fraction = (sample + 0.5) / len(sample)
        times = starts[chosen, None] + lengths[chosen, None].astype(np.float64) * fraction
        row = chosen[:, None] * num_bins + sample // count
        inside = (times >= -1) & (times <= num_steps)
        low = np.clip(np.floor(times), 0, num_steps - 1).astype(np.int64)
        high = np.minimum(low + 1, num_steps - 1)
        share = np.clip(times - low, 0, 1)
        pairs = [(row * num_steps + step)[inside] for step in (low, high)]
        shares = [weight[inside] / count for weight in (1 - share, share)]
        unique, where = np.unique(np.concatenate(pairs), return_inverse=True)
        summed = np.bincount(where, np.concatenate(shares), len(unique))
        keys.append(unique[summed != 0])
        weights.append(summed[summed != 0])
    joined = np.concatenate(keys)
    order = np.argsort(joined)
    return joined[order] // num_steps, joined[order] % num_steps, np.concatenate(weights)[order]


def accumulation_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which features of this dtype are interpolated: float64 for itself, else float32."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32
