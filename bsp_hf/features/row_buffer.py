"""Rows of unknown number, collected without ever holding them twice."""

import numpy as np

_FIRST_CAPACITY = 64


class RowBuffer:
    """A float32 array that grows by a sixteenth at a time, in place where the system can move its pages."""

    def __init__(self) -> None:
        self._rows: np.ndarray | None = None
        self._num_rows = 0

    def __len__(self) -> int:
        return self._num_rows

    def append(self, row: np.ndarray) -> None:
        """Add a row.

        Args:
            row (`np.ndarray`): `(dim,)`; copied.

        Raises:
            ValueError: If it is longer or shorter than the first.
        """
        if self._rows is None:
            self._rows = np.empty((_FIRST_CAPACITY, len(row)), np.float32)
        elif self._num_rows == len(self._rows):
            capacity = self._num_rows + max(_FIRST_CAPACITY, self._num_rows // 16)
            # Nobody else has seen the array yet.
            self._rows.resize((capacity, self._rows.shape[1]), refcheck=False)
        if row.shape != self._rows.shape[1:]:
            raise ValueError(f"a row of shape {row.shape} does not go with rows of {self._rows.shape[1:]}.")
        self._rows[self._num_rows] = row
        self._num_rows += 1

    def close(self) -> np.ndarray:
        """Give the rows away.

        Returns:
            `np.ndarray`: float32 `(num_rows, dim)`, C-contiguous and the caller's.

        Raises:
            ValueError: If there is none, because then nobody knows how long they are.
        """
        if self._rows is None:
            raise ValueError("no row was added.")
        rows, self._rows = self._rows, None
        rows.resize((self._num_rows, rows.shape[1]), refcheck=False)
        self._num_rows = 0
        return rows


__all__ = ["RowBuffer"]
