"""Pulumi's entry: runs the program of the cloud that the stack's configuration names."""

from pathlib import Path

import pulumi

from infra.spec import FILE, DeploymentSpec, load


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
    spec = load(
        Path(config.get("file") or FILE), name=config.get("name") or None, profile=config.get("profile") or None
    )
    package = config.get("package")
    declare(
        config.require("cloud"),
        spec,
        Path(package) if package else None,
        deletable=config.get_bool("deletable") or False,
        operator_type=config.get("operatorType") or "User",
    )


if __name__ == "__main__":
    main()
