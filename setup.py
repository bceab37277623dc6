"""Packaging: what vxedit is made of and what it needs. The tools' settings stand in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
README = ROOT / "README.md"

# decord's wheels are for 64-bit x86 under Linux and Windows alone; elsewhere the ffmpeg reader takes its place.
DECORD = (
    'decord>=0.6; (sys_platform == "linux" or sys_platform == "win32") '
    'and (platform_machine == "x86_64" or platform_machine == "AMD64")'
)


def version() -> str:
    """The one in vxedit/__init__.py, read without importing the package."""
    found = re.search(r'^__version__ = "([^"]+)"', (ROOT / "vxedit/__init__.py").read_text(encoding="utf-8"), re.M)
    if found is None:
        raise RuntimeError("vxedit/__init__.py has no __version__")
    return found.group(1)


setup(
    name="vxedit",
    version=version(),
    description="Moves, resizes and reshapes an object in a video along a path, steered by cross-attention",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="the vxedit authors",
    license="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Video :: Non-Linear Editor",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["vxedit", "vxedit.*"]),
    package_data={
        "vxedit": [
            "py.typed",
            *(f"backbones/embedded/**/*.{kind}" for kind in ("json", "txt", "safetensors", "md")),
        ]
    },
    install_requires=[
        "torch>=2.6",
        "diffusers>=0.38,<0.43",
        "transformers>=5.20,<6",
        DECORD,
        "opencv-python>=4.10",
        "scikit-image>=0.24",
        "scipy>=1.11",
        "click>=8.1,!=8.3.0",
        "imageio-ffmpeg>=0.8",
        "numpy>=2.0",
        "safetensors>=0.5",
        "tqdm>=4.66",
        'tomli>=2; python_version < "3.11"',
    ],
    extras_require={
        "app": [],
        "batch": ["ray>=2.50"],
        "detect": [],
        "dit": ["accelerate>=1.0", "protobuf>=5", "sentencepiece>=0.2"],
        "metrics": ["lpips>=0.1.4"],
        "torchcodec": [],
        "dev": [
            'ray>=2.50; python_version < "3.14"',
            "accelerate>=1.0",
            "hypothesis>=6.100",
            "mypy>=1.14",
            "pytest>=8.3",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
        ],
    },
    entry_points={
        "console_scripts": [
            "vxedit = vxedit.cli.main:main",
            "vxedit-real = vxedit.cli.main:real",
            "vxedit-gen = vxedit.cli.main:gen",
            "vxedit-look = vxedit.cli.main:look",
            "vxedit-score = vxedit.cli.main:score",
            "vxedit-batch = vxedit.cli.main:batch",
        ]
    },
)
