"""The least that remembers: a boto3 client, one read, one write. No web framework, no user, no model."""

import json
import os
from typing import Any

import boto3

TABLE = os.environ["TABLE"]
dynamodb: Any = boto3.client("dynamodb")


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    message = json.loads(event["body"])["message"]
    row = {"pk": {"S": "peer"}, "sk": {"S": "turn"}}
    found = dynamodb.get_item(TableName=TABLE, Key=row)
    dynamodb.put_item(TableName=TABLE, Item={**row, "message": {"S": message}})
    return {"statusCode": 200, "body": json.dumps({"message": message, "before": "Item" in found})}
