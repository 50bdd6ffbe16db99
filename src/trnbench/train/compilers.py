"""What torch's compiler needs beside torch: looked for before a case is planned to be compiled."""

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path

FindProgram = Callable[[str], object | None]
FindModule = Callable[[str], object | None]


def missing_for_processor(
    variables: Mapping[str, str] = os.environ, find_program: FindProgram = shutil.which
) -> str | None:
    """Return what inductor lacks to compile for a processor, or None.

    Source: torch 2.13, torch/_inductor/config.py, `cpp.cxx`: `CXX`, else g++ (clang++ on macOS).
    """
    named = variables.get("CXX")
    if any(map(find_program, [named] if named else ["g++", "clang++"])):
        return None
    return f"the C++ compiler that CXX names ({named})" if named else "a C++ compiler (g++)"


def missing_for_gpu(
    variables: Mapping[str, str] = os.environ,
    find_program: FindProgram = shutil.which,
    find_module: FindModule = importlib.util.find_spec,
    headers: Path | None = None,
) -> str | None:
    """Return what inductor lacks to compile for a GPU, or None.

    Source: Triton 3, python/triton/runtime/build.py: `CC`, else gcc or clang, and Python's own
    headers, for the launcher that it builds of each kernel.
    """
    if find_module("triton") is None:
        return "Triton (the package triton)"
    named = variables.get("CC")
    if not any(map(find_program, [named] if named else ["gcc", "clang"])):
        return f"the C compiler that CC names ({named})" if named else "a C compiler (gcc)"
    if not ((headers or Path(sysconfig.get_path("include"))) / "Python.h").exists():
        return "Python's headers (Python.h, in python3-dev)"
    return None
