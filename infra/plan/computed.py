"""What the clouds would answer: the names, ids and outputs that the programs use and no input holds, by resource type.

A value that a program uses and this lacks is None there, and fails the plan. Names are made of the inputs, so that a
plan reads like the real thing; what only the cloud knows is made up, and always the same.
"""

from collections.abc import Callable
from typing import Any

Values = dict[str, Any]

PRINCIPAL = "00000000-0000-0000-0000-00000000000a"
TENANT = "00000000-0000-0000-0000-00000000000b"
OPERATOR = "00000000-0000-0000-0000-00000000000c"
PROJECT = "projects/offline"

# Which input names a resource, where that is not `name`.
NAMES = {
    "azure-native:applicationinsights:Component": "resourceName",
    "azure-native:containerregistry:Registry": "registryName",
    "azure-native:keyvault:Vault": "vaultName",
    "azure-native:machinelearningservices:OnlineDeployment": "deploymentName",
    "azure-native:machinelearningservices:OnlineEndpoint": "endpointName",
    "azure-native:machinelearningservices:Workspace": "workspaceName",
    "azure-native:managedidentity:UserAssignedIdentity": "resourceName",
    "azure-native:operationalinsights:Workspace": "workspaceName",
    "azure-native:resources:ResourceGroup": "resourceGroupName",
    "azure-native:storage:BlobContainer": "containerName",
    "azure-native:storage:StorageAccount": "accountName",
    "azure-native:storage:Table": "tableName",
    "gcp:artifactregistry/repository:Repository": "repositoryId",
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": "bucketId",
    "gcp:secretmanager/secret:Secret": "secretId",
}


def _account(inputs: Values) -> Values:
    email = f"{inputs['accountId']}@offline.iam.gserviceaccount.com"
    return {"email": email, "member": f"serviceAccount:{email}", "name": f"{PROJECT}/serviceAccounts/{email}"}


# From a resource's inputs, where `name` is the name that it gets.
OUTPUTS: dict[str, Callable[[Values], Values]] = {
    "azure-native:applicationinsights:Component": lambda _: {
        "connectionString": f"InstrumentationKey={PRINCIPAL};IngestionEndpoint=https://offline.applicationinsights.azure.com/"
    },
    "azure-native:containerregistry:Registry": lambda inputs: {"loginServer": f"{inputs['name']}.azurecr.io"},
    "azure-native:keyvault:Vault": lambda inputs: {
        "properties": {**inputs["properties"], "vaultUri": f"https://{inputs['name']}.vault.azure.net/"}
    },
    "azure-native:machinelearningservices:OnlineEndpoint": lambda inputs: {
        # A list goes in, and what each identity is comes out.
        "identity": {**inputs["identity"], "userAssignedIdentities": {}}
    },
    "azure-native:machinelearningservices:Workspace": lambda inputs: {
        "identity": {**inputs["identity"], "principalId": PRINCIPAL, "tenantId": TENANT}
    },
    "azure-native:managedidentity:UserAssignedIdentity": lambda _: {"principalId": PRINCIPAL},
    "azure-native:storage:StorageAccount": lambda inputs: {
        "primaryEndpoints": {kind: f"https://{inputs['name']}.{kind}.core.windows.net/" for kind in ("blob", "table")}
    },
    "azure-native:web:WebApp": lambda inputs: {
        "defaultHostName": f"{inputs['name']}.azurewebsites.net",
        "identity": {**inputs["identity"], "principalId": PRINCIPAL, "tenantId": TENANT},
    },
    "gcp:cloudfunctionsv2/function:Function": lambda inputs: {
        "serviceConfig": {**inputs["serviceConfig"], "uri": f"https://{inputs['name']}.offline.run.app"}
    },
    "gcp:cloudrunv2/service:Service": lambda inputs: {"uri": f"https://{inputs['name']}.offline.run.app"},
    "gcp:serviceaccount/account:Account": _account,
    "gcp:vertex/aiEndpointWithModelGardenDeployment:AiEndpointWithModelGardenDeployment": lambda _: {"endpoint": "1"},
}
IDS: dict[str, Callable[[Values], str]] = {
    "azure-native:resources:ResourceGroup": lambda inputs: f"/subscriptions/offline/resourceGroups/{inputs['name']}",
    "gcp:artifactregistry/repository:Repository": lambda inputs: (
        f"{PROJECT}/locations/{inputs['location']}/repositories/{inputs['name']}"
    ),
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": lambda inputs: (
        f"projects/{inputs['project']}/locations/{inputs['location']}/buckets/{inputs['name']}"
    ),
    "gcp:secretmanager/secret:Secret": lambda inputs: f"{PROJECT}/secrets/{inputs['name']}",
}
CALLS: dict[str, Values] = {
    "azure-native:authorization:getClientConfig": {
        "clientId": OPERATOR,
        "objectId": OPERATOR,
        "subscriptionId": "",
        "tenantId": TENANT,
    },
}


def resource(kind: str, logical_name: str, inputs: Values) -> tuple[str, Values]:
    """The id and the outputs of a created resource."""
    named = {**inputs, "name": inputs.get(NAMES.get(kind, "name"), logical_name)}
    outputs = {**named, **(OUTPUTS[kind](named) if kind in OUTPUTS else {})}
    if kind in IDS:
        return IDS[kind](named), outputs
    if kind.startswith("azure-native:"):
        path = kind.removeprefix("azure-native:").replace(":", "/")
        return (
            f"/subscriptions/offline/resourceGroups/{inputs.get('resourceGroupName')}/{path}/{named['name']}",
            outputs,
        )
    return f"{kind}/{named['name']}", outputs
