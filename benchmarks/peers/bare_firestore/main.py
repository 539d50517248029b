"""The least that remembers: functions-framework with a Firestore client, one read, one write. No user, no model."""

import os

import functions_framework
from flask import Request
from google.cloud import firestore

database = firestore.Client(project=os.environ["PROJECT"], database=os.environ["DATABASE"])


@functions_framework.http
def main(request: Request) -> dict[str, object]:
    message = request.get_json()["message"]
    row = database.collection("peer").document("turn")
    found = row.get()
    row.set({"message": message})
    return {"message": message, "before": found.exists}
