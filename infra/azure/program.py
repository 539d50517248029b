"""Word Up! on Azure: a function app on Flex Consumption, a table, a key vault, its logs."""

import pulumi
import pulumi_azure_native as azure
from pulumi_azure_native import authorization

from infra import inference
from infra.azure import names
from infra.azure.api import API
from infra.azure.data import Data
from infra.azure.inference import Inferences
from infra.spec import DeploymentSpec
from wordup.errors import ConfigurationError

# https://learn.microsoft.com/azure/azure-functions/functions-scale#timeout
FRONT_END_SECONDS = 230


def declare(spec: DeploymentSpec, *, deletable: bool = False, operator_type: str = "User") -> None:
    """Registers everything. `deletable` takes a production deployment's protection off its data; `operator_type` is
    Azure's word for who deploys, User or ServicePrincipal. Raises ConfigurationError."""
    if not spec.azure.subscription:
        raise ConfigurationError(
            "azure.subscription", "Azure needs a subscription.", mend="Set subscription under [azure] in wordup.toml."
        )
    if spec.bot.provider_timeout_seconds >= FRONT_END_SECONDS:
        raise ConfigurationError(
            "bot.provider_timeout_seconds",
            f"Azure's front end ends a call that says nothing for {FRONT_END_SECONDS} s, and"
            f" bot.provider_timeout_seconds allows the model {spec.bot.provider_timeout_seconds:g}.",
            mend="Set it to 200 or less in wordup.toml.",
        )
    provider = azure.Provider("azure", subscription_id=spec.azure.subscription, location=spec.azure.location)
    opts = pulumi.ResourceOptions(providers=[provider])
    tags = {**spec.tags, "deployment": spec.name}
    data = Data(
        spec,
        tags,
        keep=spec.profile == "production" and not deletable,
        operator_type=authorization.PrincipalType(operator_type),
        opts=opts,
    )
    api = API(spec, tags, data, opts=opts)
    if endpoints := inference.on(spec.inference, "azure"):
        media = Inferences(spec, endpoints, tags, data, data.tenant, opts=opts)
        pulumi.export("inference_image", media.image)
        for name, endpoint in media.endpoints.items():
            pulumi.export(f"{inference.OUTPUT}{name}", endpoint)
    pulumi.export("url", api.url)
    pulumi.export("subscription", spec.azure.subscription)
    pulumi.export("group", data.group.name)
    pulumi.export("function_app", api.function_app.name)
    pulumi.export("rows_url", data.rows_url)
    pulumi.export("table", data.table.name)
    pulumi.export("vault", data.vault.name)
    pulumi.export("secret", names.secret(spec))
