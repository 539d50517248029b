"""What answers: the function, built from the archive, with an account of its own that may do three things."""

import hashlib
import math
from pathlib import Path

import pulumi
import pulumi_gcp as gcp

from infra.gcp import names
from infra.gcp.data import Data
from infra.spec import DeploymentSpec, environment

RUNTIME = "python313"
ENTRY_POINT = "main"
# For a cold start, the reads before the model and the write after it: the bot itself ends a late answer, and says why.
MARGIN_SECONDS = 15


class API(pulumi.ComponentResource):
    def __init__(self, spec: DeploymentSpec, package: Path, data: Data, opts: pulumi.ResourceOptions) -> None:
        super().__init__("wordup:gcp:API", "api", opts=opts)
        self._spec = spec
        self._child = pulumi.ResourceOptions(parent=self)
        bucket, archive = self._source(package)
        images, builder, may_build = self._builder(bucket)
        account, may_run = self._account(data)
        self.function = gcp.cloudfunctionsv2.Function(
            "function",
            name=names.function(spec),
            location=spec.gcp.region,
            build_config=gcp.cloudfunctionsv2.FunctionBuildConfigArgs(
                runtime=RUNTIME,
                entry_point=ENTRY_POINT,
                docker_repository=images.id,
                service_account=builder.name,
                source=gcp.cloudfunctionsv2.FunctionBuildConfigSourceArgs(
                    storage_source=gcp.cloudfunctionsv2.FunctionBuildConfigSourceStorageSourceArgs(
                        bucket=bucket.name, object=archive.name
                    )
                ),
            ),
            service_config=gcp.cloudfunctionsv2.FunctionServiceConfigArgs(
                available_memory=f"{spec.gcp.memory_mb}Mi",
                # One instance serves several requests at a time only with a whole processor.
                available_cpu="1",
                min_instance_count=0,
                max_instance_count=spec.gcp.max_instances,
                max_instance_request_concurrency=spec.gcp.concurrency,
                timeout_seconds=timeout_seconds(spec),
                service_account_email=account.email,
                ingress_settings="ALLOW_ALL",
                all_traffic_on_latest_revision=True,
                environment_variables=dict(environment(spec, "gcp")),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*may_build, *may_run]),
        )
        if spec.gcp.public:
            gcp.cloudrunv2.ServiceIamMember(
                "public-invoker",
                name=self.function.name,
                location=spec.gcp.region,
                role="roles/run.invoker",
                member="allUsers",
                opts=self._child,
            )
        # Not `url`: that address has a path of its own in front of the bot's.
        self.url = self.function.service_config.apply(lambda config: config.uri if config else None)
        self.register_outputs({})

    def _source(self, package: Path) -> tuple[gcp.storage.Bucket, gcp.storage.BucketObject]:
        bucket = gcp.storage.Bucket(
            "source",
            name=names.source_bucket(self._spec),
            location=self._spec.gcp.region,
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            force_destroy=True,
            opts=self._child,
        )
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        archive = gcp.storage.BucketObject(
            "archive",
            bucket=bucket.name,
            name=f"{digest}.zip",
            source=pulumi.FileAsset(str(package)),
            opts=self._child,
        )
        return bucket, archive

    def _builder(
        self, bucket: gcp.storage.Bucket
    ) -> tuple[gcp.artifactregistry.Repository, gcp.serviceaccount.Account, list[pulumi.Resource]]:
        """Where images go, and the account that builds them: the project's default one may do far more.

        Its roles are those of https://cloud.google.com/functions/docs/securing/build-custom-sa, each on one thing.
        """
        images = gcp.artifactregistry.Repository(
            "images",
            repository_id=self._spec.name,
            location=self._spec.gcp.region,
            format="DOCKER",
            cleanup_policies=[
                gcp.artifactregistry.RepositoryCleanupPolicyArgs(
                    id="keep-newest",
                    action="KEEP",
                    most_recent_versions=gcp.artifactregistry.RepositoryCleanupPolicyMostRecentVersionsArgs(
                        keep_count=3
                    ),
                ),
                gcp.artifactregistry.RepositoryCleanupPolicyArgs(
                    id="delete-older",
                    action="DELETE",
                    condition=gcp.artifactregistry.RepositoryCleanupPolicyConditionArgs(older_than="86400s"),
                ),
            ],
            opts=self._child,
        )
        builder = gcp.serviceaccount.Account(
            "builder",
            account_id=f"{self._spec.name}-build",
            display_name=f"Builds the image of {self._spec.name}",
            opts=self._child,
        )
        grants: list[pulumi.Resource] = [
            gcp.projects.IAMMember(
                "builder-logs",
                project=self._spec.gcp.project,
                role="roles/logging.logWriter",
                member=builder.member,
                opts=self._child,
            ),
            gcp.artifactregistry.RepositoryIamMember(
                "builder-images",
                repository=images.repository_id,
                location=self._spec.gcp.region,
                role="roles/artifactregistry.writer",
                member=builder.member,
                opts=self._child,
            ),
            gcp.storage.BucketIAMMember(
                "builder-source",
                bucket=bucket.name,
                role="roles/storage.objectViewer",
                member=builder.member,
                opts=self._child,
            ),
            gcp.projects.IAMMember(
                "builder-copies",
                project=self._spec.gcp.project,
                role="roles/storage.objectViewer",
                member=builder.member,
                condition=gcp.projects.IAMMemberConditionArgs(
                    title="Cloud Functions copies of the source",
                    expression='resource.name.startsWith("projects/_/buckets/gcf-v2-sources-")',
                ),
                opts=self._child,
            ),
        ]
        return images, builder, grants

    def _account(self, data: Data) -> tuple[gcp.serviceaccount.Account, list[pulumi.Resource]]:
        """The function's own account. It needs no role to log: Cloud Run collects what a container prints."""
        account = gcp.serviceaccount.Account(
            "runner",
            account_id=f"{self._spec.name}-run",
            display_name=f"Runs {self._spec.name}",
            opts=self._child,
        )
        project = self._spec.gcp.project
        grants: list[pulumi.Resource] = [
            gcp.projects.IAMMember(
                "runner-rows",
                project=project,
                role="roles/datastore.user",
                member=account.member,
                condition=gcp.projects.IAMMemberConditionArgs(
                    title="Its own database",
                    expression=data.database.name.apply(
                        lambda name: f'resource.name == "projects/{project}/databases/{name}"'
                    ),
                ),
                opts=self._child,
            ),
            gcp.secretmanager.SecretIamMember(
                "runner-secret",
                secret_id=data.secret.id,
                role="roles/secretmanager.secretAccessor",
                member=account.member,
                opts=self._child,
            ),
        ]
        return account, grants


def timeout_seconds(spec: DeploymentSpec) -> int:
    return math.ceil(max(spec.bot.provider_timeout_seconds, spec.bot.stream_timeout_seconds)) + MARGIN_SECONDS
