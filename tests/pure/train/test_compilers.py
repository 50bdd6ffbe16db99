"""What torch's compiler lacks: told by name before anything is compiled."""

from pathlib import Path

import pytest

from trnbench.train.software import missing_for_gpu, missing_for_processor


def having(*names: str):  # type: ignore[no-untyped-def]
    return lambda name: name if name in names else None


@pytest.fixture
def headers(tmp_path: Path) -> Path:
    (tmp_path / "Python.h").touch()
    return tmp_path


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_a_processor_needs_a_cpp_compiler(compiler: str) -> None:
    assert missing_for_processor({}, having(compiler)) is None
    assert missing_for_processor({}, having("gcc")) == "a C++ compiler (g++)"
    lacking = missing_for_processor({}, having(compiler), "/home/someone/my tools")
    assert lacking is not None
    assert "path without blanks" in lacking


def test_the_cpp_compiler_that_a_variable_names_is_the_one_that_counts() -> None:
    named = {"CXX": "my-g++"}
    assert missing_for_processor(named, having("my-g++")) is None
    assert missing_for_processor(named, having("g++")) == (
        "the C++ compiler that CXX names (my-g++)"
    )


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_a_gpu_needs_triton_a_c_compiler_and_python_s_headers(compiler: str, headers: Path) -> None:
    triton, gcc = having("triton"), having(compiler)
    assert missing_for_gpu({}, gcc, triton, headers) is None
    assert missing_for_gpu({}, gcc, having(), headers) == "Triton (the package triton)"
    assert missing_for_gpu({}, having(), triton, headers) == "a C compiler (gcc)"
    lacking = missing_for_gpu({}, gcc, triton, headers / "none")
    assert lacking == "Python's headers (Python.h, in python3-dev)"


def test_the_c_compiler_that_a_variable_names_is_the_one_that_counts(headers: Path) -> None:
    named = {"CC": "my-gcc"}
    assert missing_for_gpu(named, having("my-gcc"), having("triton"), headers) is None
    assert missing_for_gpu(named, having("gcc"), having("triton"), headers) == (
        "the C compiler that CC names (my-gcc)"
    )
