from collections.abc import Iterator

import msgspec
import pytest

from tests.deploying import EmbeddedCloud, embedded_cloud
from tests.serving import Caller


class DeployedBot(msgspec.Struct, frozen=True, kw_only=True):
    """`key` is the owner's access key; `cloud` is where it runs."""

    url: str
    key: str
    answer: str
    cloud: EmbeddedCloud

    def sign_in(self) -> Caller:
        return self.cloud.caller(self.url, self.key)


@pytest.fixture(scope="session")
def deployed_bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedBot]:
    """The bot on API Gateway, Lambda and DynamoDB, deployed once for all tests by the command that people type."""
    with embedded_cloud(tmp_path_factory.mktemp("embedded") / "aws") as cloud:
        done = cloud.wordup("deploy")
        outputs = cloud.wordup("outputs")
        yield DeployedBot(url=done["url"], key=outputs["access_key"], answer=done["answer"], cloud=cloud)
