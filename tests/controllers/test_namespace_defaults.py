"""What every namespace gets: a service account and a root certificate."""

from tiphys.client.resources import CONFIGMAPS, NAMESPACES, SERVICEACCOUNTS
from tiphys.controllers import catalog, serviceaccount
from tiphys.machinery import meta
from tiphys.testing.world import World


async def test_every_namespace_has_a_default_service_account(world: World) -> None:
    world.api.put(NAMESPACES, {"metadata": {"name": "default"}})
    await world.start(serviceaccount.CONTROLLER)
    world.api.put(NAMESPACES, {"metadata": {"name": "team"}})
    await world.settle()
    assert [meta.namespaced_name(obj) for obj in world.api.objects(SERVICEACCOUNTS)] == [
        "default/default",
        "team/default",
    ]
    await world.client.delete(SERVICEACCOUNTS, "default", "team")
    await world.settle()
    assert len(world.api.objects(SERVICEACCOUNTS)) == 2


async def test_every_namespace_has_the_root_certificate_as_it_must_be(world: World) -> None:
    world.api.put(NAMESPACES, {"metadata": {"name": "default"}})
    options = catalog.Options(root_ca="PEM")
    await world.start(catalog.make("root-ca-certificate-publisher-controller", options))
    (published,) = world.api.objects(CONFIGMAPS)
    assert (meta.name(published), published["data"]) == ("kube-root-ca.crt", {"ca.crt": "PEM"})
    world.api.put(CONFIGMAPS, {**published, "data": {"ca.crt": "forged"}})
    await world.settle()
    assert world.api.objects(CONFIGMAPS)[0]["data"] == {"ca.crt": "PEM"}


async def test_a_namespace_that_goes_away_gets_nothing(world: World) -> None:
    world.api.put(NAMESPACES, {"metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    options = catalog.Options(root_ca="PEM")
    await world.start(
        serviceaccount.CONTROLLER, catalog.make("root-ca-certificate-publisher-controller", options)
    )
    assert world.api.objects(SERVICEACCOUNTS) == []
    assert world.api.objects(CONFIGMAPS) == []
