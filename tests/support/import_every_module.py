"""Imports every module of the installed package; run where the source tree is not on the path."""

import importlib
import pkgutil
import sys
from pathlib import Path

import bsp_hf


def main() -> int:
    if Path(bsp_hf.__file__).resolve().is_relative_to(Path(__file__).resolve().parents[1] / "bsp_hf"):
        print("this is the source tree, not the installed package", file=sys.stderr)
        return 1
    names = [module.name for module in pkgutil.walk_packages(bsp_hf.__path__, "bsp_hf.")]
    for name in names:
        importlib.import_module(name)
    for name in bsp_hf.__all__:
        getattr(bsp_hf, name)
    if not (Path(bsp_hf.__file__).parent / "py.typed").is_file():
        print("py.typed is missing", file=sys.stderr)
        return 1
    print(f"{len(names)} modules of bsp_hf {bsp_hf.__version__} import")
    return 0


if __name__ == "__main__":
    sys.exit(main())
