"""The AWS program's templates, and questions that tests ask of them."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.aws import templates

Properties = dict[str, Any]
Found = Mapping[str, templates.Template]
Templates = Callable[[str], dict[str, templates.Template]]
Assemblies = Callable[[str], Path]

# What the templates of each are made of: the two profiles as they come, and production with all that it can have.
SETTINGS: dict[str, dict[str, Any]] = {
    "dev": {},
    "production": {"profile": "production", "aws": {"alarm_email": "operator@example.com"}},
    "furnished": {
        "profile": "production",
        "bot": {"provider": "openai", "model": "openai:gpt-4o", "allowed_origins": "https://site.example"},
        "aws": {
            "alarm_email": "operator@example.com",
            "domain": "bot.example.com",
            "certificate_arn": "arn:aws:acm:us-east-1:111122223333:certificate/01234567-89ab-cdef-0123-456789abcdef",
            "hosted_zone_id": "Z0123456789ABCDEFGHIJ",
            "subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
            "security_group_ids": ["sg-0123456789abcdef0"],
        },
        "tags": {"team": "support"},
    },
    "endpoints": {
        "profile": "production",
        "inference": {
            "draw": {
                "on": "sagemaker",
                "model": "s3://models/sdxl",
                "image": f"sha256:{'a' * 64}",
                "max_instances": 4,
                "outputs": ["s3://pictures/out"],
            },
            "film": {
                "on": "sagemaker_async",
                "model": f"hub:acme/wan@{'b' * 40}",
                "image": f"sha256:{'a' * 64}",
                "min_instances": 0,
                "timeout_seconds": 3000,
            },
        },
    },
}


def all_of(found: Found, kind: str) -> list[templates.Template]:
    resources = [resource for template in found.values() for resource in template["Resources"].values()]
    return [resource for resource in resources if resource["Type"] == kind]


def only(found: Found, kind: str) -> Properties:
    [resource] = all_of(found, kind)
    return resource["Properties"]


def function_role(found: Found) -> Properties:
    [role] = [
        role["Properties"]
        for role in all_of(found, "AWS::IAM::Role")
        if "lambda.amazonaws.com" in str(role["Properties"]["AssumeRolePolicyDocument"])
    ]
    return role


def arn(value: Any) -> str:
    """An ARN as text, CloudFormation's references in angle brackets."""
    if isinstance(value, str):
        return value
    return "".join(part if isinstance(part, str) else f"<{part['Ref']}>" for part in value["Fn::Join"][1])


def normalised(template: Mapping[str, Any]) -> dict[str, Any]:
    """Without what follows from the package's content: the hash of an asset, and that in the name of a version or of a
    deployment."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "<asset>", json.dumps(template))
    return json.loads(re.sub(r"\b(FunctionCurrentVersion|ApiDeployment)[0-9A-F]{8}[0-9a-f]{32}\b", r"\1", text))
