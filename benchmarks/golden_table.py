"""Table of every golden file of the localizers and metrics: tolerance, and the difference that was measured.

    python benchmarks/golden_table.py           # some minutes on one core
    python benchmarks/golden_table.py --only gtad/ metrics/

Runs the golden tests, the slow ones too, and writes down each comparison of numbers that they make: with the
golden file that was loaded last, the loosest tolerances, and the largest difference. So the table holds what
the tests hold, and no comparison of its own. `used` is the largest share of its tolerance that a difference
takes up; `exact` counts tests of a file in which everything is compared for equality.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

# The class of an approximate number, whichever private module of pytest it lives in.
ApproxScalar: Any = type(pytest.approx(1.0))
ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
ROOMS = ("gtad", "tan", "lgi", "metrics")
TESTS = ("tests/localization", "tests/metrics")


class Recorder:
    """A pytest plugin that listens to the comparisons of the golden tests."""

    def __init__(self) -> None:
        self.stem: str | None = None
        self.num_heard = 0
        self.passed: dict[str, int] = defaultdict(int)
        self.exact: dict[str, int] = defaultdict(int)
        self.failed: list[str] = []
        # values, rtol, atol, largest difference, largest share of what is allowed
        self.largest: dict[str, tuple[int, float, float, float, float]] = {}
        self._listen()

    def record(self, actual: Any, expected: Any, rtol: float, atol: float) -> None:
        """Keep count, tolerance, largest difference and largest share of the tolerance."""
        if self.stem is None:
            return
        got, wanted = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
        if not wanted.size:
            return
        same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
        apart = np.where(same, 0.0, np.abs(got - wanted))
        allowed = atol + rtol * np.abs(np.nan_to_num(wanted))
        share = np.divide(apart, allowed, out=np.where(apart > 0, np.inf, 0.0), where=allowed > 0)
        count, loosest, floor, difference, used = self.largest.get(self.stem, (0, 0.0, 0.0, 0.0, 0.0))
        self.num_heard += 1
        self.largest[self.stem] = (
            count + apart.size,
            max(loosest, rtol),
            max(floor, atol),
            max(difference, float(apart.max())),
            max(used, float(share.max())),
        )

    def _listen(self) -> None:
        allclose, close, approx = np.testing.assert_allclose, torch.testing.assert_close, ApproxScalar.__eq__

        def heard_allclose(
            actual: Any, desired: Any, rtol: float = 1e-7, atol: float = 0, **kwargs: Any
        ) -> None:
            values = [
                value.detach().cpu() if torch.is_tensor(value) else value for value in (actual, desired)
            ]
            self.record(*values, rtol, atol)
            allclose(actual, desired, rtol=rtol, atol=atol, **kwargs)

        def heard_close(actual: Any, expected: Any, **kwargs: Any) -> None:
            if torch.is_tensor(actual) and torch.is_tensor(expected) and kwargs.get("rtol") is not None:
                values = actual.detach().double().numpy(), expected.detach().double().numpy()
                self.record(*values, kwargs["rtol"], kwargs["atol"])
            close(actual, expected, **kwargs)

        def heard_approx(scalar: Any, actual: Any) -> bool:
            if isinstance(scalar.expected, (int, float)) and isinstance(actual, (int, float, np.number)):
                self.record(actual, scalar.expected, 0.0, float(scalar.tolerance))
            return approx(scalar, actual)

        np.testing.assert_allclose, torch.testing.assert_close = heard_allclose, heard_close
        ApproxScalar.__eq__ = heard_approx

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Any:
        """Hear which golden file a test loads."""
        value = yield
        if fixturedef.argname not in ("golden", "golden_json"):
            return value

        def load(stem: str) -> Any:
            self.stem = stem if stem.startswith(tuple(f"{room}/" for room in ROOMS)) else None
            return value(stem)

        fixturedef.cached_result = (load, *fixturedef.cached_result[1:])
        return load

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: Any) -> Any:
        """Forget the golden file of the test before."""
        self.stem, self.num_heard = None, 0
        try:
            return (yield)
        except BaseException:
            self.failed.append(item.nodeid)
            raise
        finally:
            if self.stem is not None:
                self.passed[self.stem] += 1
                self.exact[self.stem] += not self.num_heard


def print_table(recorder: Recorder, files: list[str]) -> None:
    print(f"torch {torch.__version__}, numpy {np.__version__}")
    print("| golden file | tests | exact | values | rtol | atol | largest difference | used |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for stem in files:
        tests, exact = recorder.passed.get(stem, 0), recorder.exact.get(stem, 0)
        count, rtol, atol, difference, used = recorder.largest.get(stem, (0, 0.0, 0.0, 0.0, 0.0))
        numbers = f"{rtol:.0e} | {atol:.0e} | {difference:.1e} | {used:.1%}" if count else "0 | 0 | 0 | -"
        print(f"| {stem} | {tests} | {exact} | {count} | {numbers} |")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of the files to show")
    args = parser.parse_args()
    found = [path for room in ROOMS for path in sorted((GOLDEN / room).glob("*.json"))]
    files = [f"{path.parent.name}/{path.stem}" for path in found]
    if not files:
        parser.error(f"{GOLDEN} holds none of {', '.join(ROOMS)}.")
    tests = sorted(
        str(path)
        for folder in TESTS
        for path in (ROOT / folder).glob("test_*.py")
        if "golden" in path.read_text(encoding="utf-8")
    )
    recorder = Recorder()
    options = ["-q", "-p", "no:cacheprovider", "-n0", "-m", "not gpu", "--rootdir", str(ROOT)]
    pytest.main([*options, *tests], plugins=[recorder])
    files = [stem for stem in files if stem.startswith(tuple(args.only))]
    print_table(recorder, files)
    unused = [stem for stem in files if not recorder.passed.get(stem)]
    for stem in unused:
        print(f"no test loads {stem}", file=sys.stderr)
    for name in recorder.failed:
        print(f"failed: {name}", file=sys.stderr)
    return int(bool(unused or recorder.failed))


if __name__ == "__main__":
    sys.exit(main())
