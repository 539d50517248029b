"""What outlives the code: the database, the secret, the logs. In production they are protected and stay."""

import pulumi
import pulumi_gcp as gcp

from infra.gcp import names
from infra.spec import DeploymentSpec

RULES = """\
rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /{document=**} {
      allow read, write: if false;
    }
  }
}
"""


class Data(pulumi.ComponentResource):
    """`database` holds the rows, `secret` the signing keys and the provider's key, whose values never come by here."""

    def __init__(self, spec: DeploymentSpec, *, keep: bool, opts: pulumi.ResourceOptions) -> None:
        super().__init__("wordup:gcp:Data", "data", opts=opts)
        child = pulumi.ResourceOptions(parent=self, protect=keep)
        self.database = gcp.firestore.Database(
            "database",
            name=names.database(spec),
            location_id=spec.gcp.region,
            type="FIRESTORE_NATIVE",
            delete_protection_state="DELETE_PROTECTION_ENABLED" if keep else "DELETE_PROTECTION_DISABLED",
            point_in_time_recovery_enablement=(
                "POINT_IN_TIME_RECOVERY_ENABLED" if keep else "POINT_IN_TIME_RECOVERY_DISABLED"
            ),
            # Without it Pulumi would forget the database and leave it behind.
            deletion_policy="DELETE",
            opts=child,
        )
        self._fields(child)
        self._rules(spec, child)
        self.secret = gcp.secretmanager.Secret(
            "secret",
            secret_id=names.secret(spec),
            replication=gcp.secretmanager.SecretReplicationArgs(auto=gcp.secretmanager.SecretReplicationAutoArgs()),
            opts=child,
        )
        self._logs(spec, child)
        self.register_outputs({})

    def _fields(self, child: pulumi.ResourceOptions) -> None:
        """Expiry, and no index that nobody queries by: each would be paid for with every write."""
        unindexed = gcp.firestore.FieldIndexConfigArgs(indexes=[])
        gcp.firestore.Field(
            "expiry",
            database=self.database.name,
            collection=names.ROWS,
            field=names.EXPIRY,
            ttl_config=gcp.firestore.FieldTtlConfigArgs(),
            index_config=unindexed,
            opts=child,
        )
        for field in names.UNINDEXED:
            gcp.firestore.Field(
                f"unindexed-{field}",
                database=self.database.name,
                collection=names.ROWS,
                field=field,
                index_config=unindexed,
                opts=child,
            )

    def _rules(self, spec: DeploymentSpec, child: pulumi.ResourceOptions) -> None:
        """Denies browsers and apps, which security rules are for; the function's own right is IAM's."""
        ruleset = gcp.firebaserules.Ruleset(
            "rules",
            source=gcp.firebaserules.RulesetSourceArgs(
                files=[gcp.firebaserules.RulesetSourceFileArgs(name="firestore.rules", content=RULES)]
            ),
            opts=child,
        )
        gcp.firebaserules.Release(
            "rules-release",
            name=self.database.name.apply(lambda name: f"cloud.firestore/{name}"),
            ruleset_name=ruleset.name.apply(lambda name: f"projects/{spec.gcp.project}/rulesets/{name}"),
            opts=child,
        )

    def _logs(self, spec: DeploymentSpec, child: pulumi.ResourceOptions) -> None:
        """The function's lines, kept as long as wordup.toml says; in `_Default` it would be 30 days."""
        lines = f'resource.type="cloud_run_revision" resource.labels.service_name="{names.function(spec)}"'
        logs = gcp.logging.ProjectBucketConfig(
            "logs",
            project=spec.gcp.project,
            location=spec.gcp.region,
            bucket_id=names.logs(spec),
            retention_days=spec.gcp.log_retention_days,
            # Google keeps a deleted bucket's name for seven days, in which the deployment could not come back.
            deletion_policy="ABANDON",
            opts=child,
        )
        sink = gcp.logging.ProjectSink(
            "logs-sink",
            name=names.logs(spec),
            destination=logs.id.apply(lambda id: f"logging.googleapis.com/{id}"),
            filter=lines,
            unique_writer_identity=True,
            opts=child,
        )
        gcp.logging.ProjectExclusion(
            "logs-exclusion",
            name=names.logs(spec),
            description="Kept in a bucket of their own.",
            filter=lines,
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[sink])),
        )
