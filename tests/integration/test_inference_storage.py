"""Pictures by address on Azure Blob Storage: the inference server on one side of Azurite, the SDK on the other."""

import json
from collections.abc import Generator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from infra.local.azurite import ACCOUNT
from tests.emulators import azurite_blobs
from tests.inference_server import inference_server
from wordup.stores.azure_tables import AZURITE

DRAWING = {"task": "text2img", "prompt": "a lighthouse", "steps": 2, "seed": 7, "width": 64, "height": 64}


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[int, ContainerClient]]:
    """The server's port, and the container `media` that it reads below `in` and writes below `out`."""
    with azurite_blobs(tmp_path_factory.mktemp("azurite")) as url:
        environment = {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": AZURITE.named_key.key,
            "AZURE_STORAGE_ENDPOINT": url,
            "AZURE_ALLOW_HTTP": "true",
            "INFERENCE_INPUT_URIS": "az://media/in",
            "INFERENCE_OUTPUT_URIS": "az://media/out",
        }
        with ContainerClient(url, "media", credential=AZURITE) as container:
            container.create_container()
            with inference_server(tmp_path_factory.mktemp("models"), **environment) as port:
                yield port, container


def ask(port: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/score", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_result_goes_to_its_blob_and_is_read_from_there(azure: tuple[int, ContainerClient]) -> None:
    port, container = azure
    status, told = ask(port, DRAWING | {"output_uri": "az://media/out/a.png"})
    blob = container.get_blob_client("out/a.png")
    data = blob.download_blob().readall()

    assert status == 200
    assert (told["output_uri"], told["size_bytes"]) == ("az://media/out/a.png", len(data))
    assert blob.get_blob_properties().content_settings.content_type == "image/png"

    container.upload_blob("in/a.png", data)
    status, again = ask(port, DRAWING | {"task": "img2img", "image": "az://media/in/a.png"})
    assert (status, again["task"], again["width"]) == (200, "img2img", 64)


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("az://media/in/absent.png", 422, "object_unavailable"),
        ("az://media/out/a.png", 400, "forbidden_uri"),
        ("az://other/in/a.png", 400, "forbidden_uri"),
    ],
)
def test_blob_that_may_not_or_cannot_be_read_is_named(
    azure: tuple[int, ContainerClient], address: str, status: int, code: str
) -> None:
    given, problem = ask(azure[0], DRAWING | {"task": "img2img", "image": address})
    assert (given, problem["code"], problem["pointer"]) == (status, code, "/image")
