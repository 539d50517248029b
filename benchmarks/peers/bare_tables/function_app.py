"""The least that remembers: a function with a Table Storage client, one read, one write. No user, no model."""

import os

import azure.functions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableClient
from azurefunctions.extensions.http.fastapi import (  # pyright: ignore[reportMissingTypeStubs] - has types, no marker
    JSONResponse,
    Request,
)

ROW = {"PartitionKey": "peer", "RowKey": "turn"}
app = azure.functions.FunctionApp(http_auth_level=azure.functions.AuthLevel.ANONYMOUS)
credential = AzureNamedKeyCredential(os.environ["ACCOUNT"], os.environ["KEY"])
table = TableClient(os.environ["ENDPOINT"], os.environ["TABLE"], credential=credential)


@app.route(route="{*path}", methods=["POST"])
async def main(req: Request) -> JSONResponse:
    message = (await req.json())["message"]
    try:
        before = bool(table.get_entity(ROW["PartitionKey"], ROW["RowKey"]))
    except ResourceNotFoundError:
        before = False
    table.upsert_entity({**ROW, "message": message})
    return JSONResponse({"message": message, "before": before})
