"""Pulumi's entry: runs the program of the cloud that the stack's configuration names."""

from pathlib import Path

import pulumi

from infra.spec import FILE, ROOT, DeploymentSpec, load
from wordup.errors import ConfigurationError


def declare(
    cloud: str, spec: DeploymentSpec, package: Path | None, *, deletable: bool, operator_type: str = "User"
) -> None:
    """Only the chosen cloud's SDK is imported: each takes a second."""
    match cloud:
        case "gcp":
            from infra.gcp.program import declare as gcp

            gcp(spec, package, deletable=deletable)
        case "azure":
            from infra.azure.program import declare as azure

            azure(spec, deletable=deletable, operator_type=operator_type)
        case _:
            raise pulumi.RunError(f"No cloud is called {cloud!r}. Known: azure, gcp.")


def main() -> None:
    config = pulumi.Config()
    name, profile = config.get("name") or None, config.get("profile") or None
    package = config.get("package")
    try:
        declare(
            config.require("cloud"),
            load(ROOT / (config.get("file") or FILE), name=name, profile=profile),
            ROOT / package if package else None,
            deletable=config.get_bool("deletable") or False,
            operator_type=config.get("operatorType") or "User",
        )
    except ConfigurationError as error:
        # Pulumi shows this without a traceback.
        raise pulumi.RunError(f"{error.sentence} {error.mend}") from None


if __name__ == "__main__":
    main()
