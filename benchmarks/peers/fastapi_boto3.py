"""What tutorials deploy: FastAPI behind Mangum with a boto3 client, one read, one write. No user, no model."""

import os
from typing import Any

import boto3
from fastapi import FastAPI
from mangum import Mangum  # pyright: ignore[reportMissingImports] - only the benchmarks' environment has it
from pydantic import BaseModel

TABLE = os.environ["TABLE"]
dynamodb: Any = boto3.client("dynamodb")
app = FastAPI()


class Question(BaseModel):
    message: str


class Answer(BaseModel):
    message: str
    before: bool


@app.post("/chat")
def chat(question: Question) -> Answer:
    row = {"pk": {"S": "peer"}, "sk": {"S": "turn"}}
    found = dynamodb.get_item(TableName=TABLE, Key=row)
    dynamodb.put_item(TableName=TABLE, Item={**row, "message": {"S": question.message}})
    return Answer(message=question.message, before="Item" in found)


handler = Mangum(app, lifespan="off")
