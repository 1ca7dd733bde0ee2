"""Builds the compiled modules: every ``foo.py`` with a ``foo.pxd`` beside it.

They are ordinary Python source in Cython's pure-Python mode; the ``.pxd`` gives the C types. A
missing compiler is named plainly instead of leaving a page of linker output.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

PACKAGES = ("lsmstore", "streams", "cluster", "respserver", "tools")
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": True,
}


def compiled_modules() -> list[Extension]:
    """One extension for each ``.pxd`` of the packages.

    The Makefile installs without them and has them built in place by a step of its own.
    """
    found: list[Extension] = []
    if os.environ.get("RESPQ_SETUP") == "without-extensions":
        return found
    for package in PACKAGES:
        for declaration in sorted(Path(package).rglob("*.pxd")):
            source = declaration.with_suffix(".py")
            name = ".".join(source.with_suffix("").parts)
            found.append(Extension(name, [source.as_posix()], extra_compile_args=["-O3"]))
    return found


def require_compiler() -> None:
    """Stop with one clear line where a C compiler or Python's own headers are missing."""
    configured = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    compiler = configured.split()[0]
    hint = "On Debian or Ubuntu: apt-get install build-essential python3-dev"
    if shutil.which(compiler) is None:
        sys.exit(f"respq needs a C compiler, and '{compiler}' was not found. {hint}")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        sys.exit(f"respq needs Python.h to build its compiled modules. {hint}")


if __name__ == "__main__":
    require_compiler()
    jobs = os.cpu_count() or 1
    setup(
        ext_modules=cythonize(compiled_modules(), compiler_directives=DIRECTIVES, nthreads=jobs),
        options={"build_ext": {"parallel": jobs}},
    )
