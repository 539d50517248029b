from collections.abc import Mapping, Sequence

import pytest

from infra import parity
from infra.parity import CLOUDS, ROWS
from infra.spec import Cloud
from infra.targets import Resource

Deployments = Mapping[Cloud, Sequence[Resource]]


@pytest.fixture(scope="module")
def found() -> Deployments:
    """The CDK's templates and both Pulumi plans."""
    return parity.deployments()


def test_every_capability_is_provided_on_every_cloud_or_its_lack_explained(found: Deployments) -> None:
    assert parity.holes(found) == []


def test_page_is_what_the_programs_make_of_it(found: Deployments) -> None:
    assert parity.PAGE.read_text("utf-8") == parity.page(found)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_resource_that_provides_something_is_missed(found: Deployments, cloud: Cloud) -> None:
    """Without its resource each cell is a hole, so no cell is filled by anything else."""
    for row in ROWS:
        cell = row.cells[cloud]
        needed = parity.providers(cell, found[cloud])
        rest = [resource for resource in found[cloud] if resource not in needed]

        assert bool(needed) != bool(cell.lacks), row.capability
        if needed:
            assert (row.capability, cloud) in [hole[:2] for hole in parity.holes({**found, cloud: rest})]


def test_reason_that_a_resource_made_untrue_is_a_hole(found: Deployments) -> None:
    backup = Resource(name="backup", type="azure-native:dataprotection:BackupInstance", inputs={}, depends_on=[])

    assert parity.holes({**found, "azure": [*found["azure"], backup]}) == [
        ("Restores production's rows to a moment", "azure", "is provided now; take its reason out")
    ]
