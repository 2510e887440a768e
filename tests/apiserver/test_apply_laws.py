"""What must always be so, whoever applies and updates in whatever order (Hypothesis, over the API itself)."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import Answer, Client, Object, running
from test_managed_fields import entries

from tiphys.testing.clock import FakeClock

APPLY = "application/apply-patch+yaml"
MAPS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"
KEPT = "kept"
LAWS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

names = st.sampled_from(["a", "b", "c", "d"])
values = st.sampled_from(["1", "2"])
data = st.dictionaries(names, values, max_size=4)
managers = st.sampled_from(["one", "two", "three"])
applies = st.tuples(st.just("apply"), managers, data, st.booleans())
updates = st.tuples(st.just("update"), managers, data, st.just(False))
merges = st.tuples(
    st.just("merge"), managers, st.dictionaries(names, st.one_of(st.none(), values)), st.just(False)
)
steps = st.lists(st.one_of(applies, updates, merges), min_size=1, max_size=8)


def config_map(content: Object) -> Object:
    # An empty map would be something to own, too, though the stored object cannot show it.
    found: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    return {**found, "data": content} if content else found


class World:
    """One ConfigMap, and what should be in it: key → (value, who owns it)."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.values: dict[str, str] = {}
        self.owners: dict[str, set[tuple[str, str]]] = {}
        self.exists = False

    async def step(self, kind: str, manager: str, content: dict[str, Any], *, force: bool) -> None:
        if kind == "apply":
            await self.apply(manager, content, force=force)
        elif self.exists:
            await self.update(kind, manager, content)

    async def apply(self, manager: str, content: dict[str, str], *, force: bool) -> None:
        me = (manager, "Apply")
        fought = {
            key
            for key, value in content.items()
            if self.values.get(key, value) != value and self.owners.get(key, set()) - {me}
        }
        query = f"fieldManager={manager}&force={str(force).lower()}"
        if not self.exists:
            # Somebody always owns something: an object that nobody owns anything of is not tracked until it is applied to.
            kept = config_map({KEPT: "0"})
            await self.client.call("PATCH", f"{MAPS}/x?fieldManager=keeper", kept, content_type=APPLY)
        answer = await self.client.call("PATCH", f"{MAPS}/x?{query}", config_map(content), content_type=APPLY)
        if fought and not force:
            assert answer.status == 409
            assert {cause["field"] for cause in answer.body["details"]["causes"]} == {
                f".data.{key}" for key in fought
            }
            return
        assert answer.status in (200, 201), answer.body
        for key in list(self.values):
            if me in self.owners.get(key, set()) and key not in content:
                self.owners[key].discard(me)
                if not self.owners[key]:
                    del self.values[key], self.owners[key]
        for key, value in content.items():
            if self.values.get(key, value) != value:
                self.owners[key] = set()
            self.values[key] = value
            self.owners.setdefault(key, set()).add(me)
        self.exists = True
        await self.check(answer)
        again = await self.client.call("PATCH", f"{MAPS}/x?{query}", config_map(content), content_type=APPLY)
        assert again.body == answer.body, "an apply repeated changes nothing"

    async def update(self, kind: str, manager: str, content: dict[str, Any]) -> None:
        me = (manager, "Update")
        target = f"{MAPS}/x?fieldManager={manager}"
        if kind == "merge":
            wanted = {key: value for key, value in {**self.values, **content}.items() if value is not None}
            answer = await self.client.call(
                "PATCH", target, {"data": content}, content_type="application/merge-patch+json"
            )
        else:
            wanted = content
            answer = await self.client.call("PUT", target, config_map({**content, KEPT: "0"}))
        assert answer.status == 200, answer.body
        for key in self.values.keys() - wanted.keys():
            del self.owners[key]
        for key, value in wanted.items():
            if self.values.get(key) != value:
                self.owners[key] = {me}
        self.values = dict(wanted)
        await self.check(answer)

    async def check(self, answer: Answer) -> None:
        assert answer.body["data"] == {**self.values, KEPT: "0"}
        found: dict[str, set[tuple[str, str]]] = {}
        for entry in entries(answer.body):
            for field in entry["fieldsV1"].get("f:data", {}):
                if field not in (".", f"f:{KEPT}"):
                    found.setdefault(field[2:], set()).add((entry["manager"], entry["operation"]))
        assert found == self.owners
        assert (await self.client.get(f"{MAPS}/x")) == answer.body


@LAWS
@given(steps=steps)
def test_every_key_is_there_as_long_as_somebody_wants_it(signing_key: bytes, steps: list[Any]) -> None:
    async def run() -> None:
        async with running(FakeClock(), signing_key) as server:
            world = World(Client(server))
            for kind, manager, content, force in steps:
                await world.step(kind, manager, content, force=force)

    asyncio.run(run())


# No answer is a 500 for something that fits the schema, and none hangs.

ports = st.fixed_dictionaries(
    {"port": st.integers(1, 4)},
    optional={
        "protocol": st.sampled_from(["TCP", "UDP"]),
        "name": st.sampled_from(["p", "q"]),
        "nodePort": st.just(None),
    },
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "ports": st.lists(ports, max_size=3),
        "selector": st.one_of(st.none(), st.dictionaries(names, values, max_size=2)),
        "type": st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]),
        "externalIPs": st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2"]), max_size=2),
    },
)


@LAWS
@given(bodies=st.lists(st.tuples(managers, specs, st.booleans()), min_size=1, max_size=6))
def test_services_by_several_appliers(signing_key: bytes, bodies: list[Any]) -> None:
    async def run() -> None:
        async with running(FakeClock(), signing_key) as server:
            client = Client(server)
            for manager, spec, force in bodies:
                body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": spec}
                target = f"{SERVICES}/x?fieldManager={manager}&force={str(force).lower()}"
                answer = await client.call("PATCH", target, body, content_type=APPLY)
                if answer.status == 500:
                    assert "duplicate entries for key" in answer.body["message"]
                    continue
                assert answer.status in (200, 201, 409, 422), answer.body
                if answer.status < 300:
                    again = await client.call("PATCH", target, body, content_type=APPLY)
                    assert again.body == answer.body

    asyncio.run(run())
