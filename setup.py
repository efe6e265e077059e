# SPDX-License-Identifier: BSD-3-Clause
"""Finds the packages of `sluice`: every folder of gate/ with Python in it, so that a new feature needs no line."""

import shutil
from pathlib import Path

from setuptools import setup

top = Path(__file__).parent
# What only the build runs.
NOT_INSTALLED = {Path("features"), Path("lib"), Path("native")}
BUILD = "build/setuptools"

# Modules that are gone would be installed from what an earlier run left there.
shutil.rmtree(top / BUILD, ignore_errors=True)
found = {path.parent.relative_to(top / "gate") for path in (top / "gate").rglob("*.py")}
setup(
    packages=[".".join(("sluice", *folder.parts)) for folder in sorted(found - NOT_INSTALLED)],
    package_dir={"sluice": "gate"},
    package_data={"": ["*.yang", "models/*.yang"]},
    options={"build": {"build_base": BUILD}, "egg_info": {"egg_base": "build"}},
)
