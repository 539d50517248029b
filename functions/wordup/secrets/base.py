"""The secrets port: reads a secret by reference, so that no secret stands in an environment, template or state.

A reference is `<scheme>:<name>` with an optional `#<field>` of a JSON secret: `file:/data/secrets.json#signing`,
`aws:arn:aws:secretsmanager:...#provider_key`. The scheme picks the adapter (`bootstrap.SECRETS`).
"""

from typing import Protocol


class Secrets(Protocol):
    async def read(self, name: str) -> str:
        """The secret's whole current text. Raises SecretUnavailable. Nothing connects before the first call."""
        ...
