"""The settings of the self-hosted home: `[bot]` of wordup.toml, and the environment above it."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from infra import spec
from wordup.config import Settings, variable


def settings(environ: Mapping[str, str] = os.environ, file: Path = spec.FILE) -> Settings:
    """Raises ConfigurationError naming the key or the variable that is wrong."""
    spec.load(file)
    bot = tomllib.loads(file.read_text("utf-8")).get("bot", {})
    return Settings.from_env({variable(key): str(value) for key, value in bot.items()} | dict(environ))
