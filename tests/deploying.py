"""The embedded cloud in a folder of its own, and the `wordup` commands that deploy to it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from infra.local import embedded, ministack
from tests.serving import Caller

STOP_SECONDS = 60


class EmbeddedCloud:
    """What stands in `folder`, instead of the developer's own in .local."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack

    def wordup(self, *arguments: str) -> Any:
        """A command's JSON document."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def run(self, *arguments: str, given: str | None = None) -> Result:
        """`given` is its standard input."""
        return CliRunner().invoke(app, arguments, input=given, catch_exceptions=False)

    def client(self, service: str) -> Any:
        """A client of the AWS inside, as its root."""
        running = ministack.running(self.folder)
        assert running, "nothing is deployed"
        session = botocore.session.Session()
        session.set_credentials("test", "test")
        client: Any = session.create_client(service, region_name=ministack.REGION, endpoint_url=running.url)
        self._stack.callback(client.close)
        return client

    def caller(self, url: str, key: str) -> Caller:
        """A signed-in user of a bot that is deployed here."""
        caller = Caller(url, key)
        self._stack.callback(caller.http.close)
        return caller


@contextmanager
def embedded_cloud(folder: Path) -> Iterator[EmbeddedCloud]:
    """Stopped at the end, whatever is still deployed there."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(embedded, "FOLDER", folder)
        stack.callback(ministack.stop, folder, timeout=STOP_SECONDS)
        yield EmbeddedCloud(folder, stack)
