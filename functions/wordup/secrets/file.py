"""Secrets in files: the self-hosted home, container platforms' mounted secrets."""

import asyncio
from pathlib import Path

from wordup.errors import SecretUnavailable


class FileSecrets:
    async def read(self, name: str) -> str:
        try:
            return await asyncio.to_thread(Path(name).read_text, encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SecretUnavailable("A secret's file cannot be read.") from error
