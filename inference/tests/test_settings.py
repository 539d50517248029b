"""Settings: the platforms' variables, ours over them, and the documentation's table."""

import re
from pathlib import Path

import pytest

from serving.config import PREFIX, Settings
from serving.errors import ConfigurationError

DOCUMENT = Path(__file__).parents[2] / "docs" / "inference.md"
MODEL = {"INFERENCE_MODEL": "folder"}


@pytest.mark.parametrize(
    ("environment", "field", "value"),
    [
        ({"AIP_HTTP_PORT": "8081", **MODEL}, "port", 8081),
        ({"PORT": "8082", **MODEL}, "port", 8082),
        ({"SAGEMAKER_BIND_TO_PORT": "8083", **MODEL}, "port", 8083),
        ({"PORT": "8082", "INFERENCE_PORT": "9000", **MODEL}, "port", 9000),
        ({"AIP_PREDICT_ROUTE": "/v1/x:predict", **MODEL}, "predict_route", "/v1/x:predict"),
        ({"AIP_HEALTH_ROUTE": "/v1/x", **MODEL}, "health_route", "/v1/x"),
        ({"AIP_STORAGE_URI": "gs://bucket/model"}, "model", "gs://bucket/model"),
        ({"AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/m/1"}, "model", "/var/azureml-app/azureml-models/m/1"),
        ({"AIP_STORAGE_URI": "gs://bucket/model", **MODEL}, "model", "folder"),
        ({"INFERENCE_MAX_BATCH": "4", "INFERENCE_DETERMINISTIC": "true", **MODEL}, "max_batch", 1),
    ],
)
def test_platform_variable_is_read_and_ours_stands_over_it(
    environment: dict[str, str], field: str, value: object
) -> None:
    assert getattr(Settings.from_env(environment), field) == value


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, "INFERENCE_MODEL"),
        ({"INFERENCE_MAXBATCH": "2", **MODEL}, "INFERENCE_MAXBATCH"),
        ({"INFERENCE_MAX_BATCH": "many", **MODEL}, "INFERENCE_MAX_BATCH"),
        ({"INFERENCE_MAX_BATCH": "0", **MODEL}, "INFERENCE_MAX_BATCH"),
        ({"PORT": "99999", **MODEL}, "INFERENCE_PORT"),
        ({"INFERENCE_COMPILE": "true", **MODEL}, "INFERENCE_BUCKETS"),
        ({"INFERENCE_BUCKETS": "512", **MODEL}, "INFERENCE_BUCKETS"),
        ({"INFERENCE_INPUT_URIS": "file:///", **MODEL}, "INFERENCE_INPUT_URIS"),
        ({"INFERENCE_OUTPUT_URIS": "http://169.254.169.254", **MODEL}, "INFERENCE_OUTPUT_URIS"),
        ({"INFERENCE_C2PA_KEY": "key.pem", **MODEL}, "INFERENCE_C2PA_KEY"),
    ],
)
def test_wrong_setting_is_named(environment: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_env(environment)
    assert raised.value.setting == named


def test_documentation_lists_exactly_the_settings() -> None:
    documented = set(re.findall(rf"^\| `({PREFIX}\w+)`", DOCUMENT.read_text(), re.MULTILINE))
    assert documented == {PREFIX + field.upper() for field in Settings.__struct_fields__}
