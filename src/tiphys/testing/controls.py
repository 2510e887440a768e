"""What a test may do to a cluster besides asking its API: `cluster.pods`, `.nodes`, `.faults`, `.controllers`, `.clock`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from tiphys.machinery.frozen import frozen
from tiphys.testing.links import Link


class Control:
    def __init__(self, link: Link) -> None:
        self._link = link

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._link.call(method, **arguments).result()


@frozen
class Undo:
    """A rule or a fault that is in force; `remove()` it, or use it as a context manager."""

    link: Link
    method: str
    number: int

    def remove(self) -> None:
        self.link.call(self.method, number=self.number).result()

    def __enter__(self) -> Undo:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Clock(Control):
    """The cluster's time."""

    def now(self) -> datetime:
        return datetime.fromisoformat(self._call("now"))

    def advance(self, by: float | timedelta) -> None:
        """Lets seconds (or a timedelta) pass at once; all that is due within happens, in order, and nothing sleeps."""
        self._call("advance", seconds=by.total_seconds() if isinstance(by, timedelta) else by)

    def set_speed(self, speed: float) -> None:
        """1 as the machine's, 0 stands still until `advance` or a wait, 60 a minute in each second."""
        self._call("set_speed", speed=speed)

    def rest(self) -> None:
        """Waits until the cluster has nothing to do at this moment."""
        self._call("rest")


class Pods(Control):
    """What simulated pods do. A rule is about all pods, present and to come, that its patterns mean."""

    def behave(
        self,
        pod: str = "*",
        *,
        namespace: str = "*",
        container: str = "*",
        image: str = "*",
        lives: int | None = None,
        start_seconds: float | None = None,
        run_seconds: float | None = None,
        exit_code: int | None = None,
        reason: str | None = None,
        ready: bool | None = None,
        ready_after_seconds: float | None = None,
        cpu: str | None = None,
        memory: str | None = None,
        logs: Sequence[str] | None = None,
        answers: Mapping[str, tuple[str, int]] | None = None,
        pull_seconds: float | None = None,
        pull_error: str | None = None,
    ) -> Undo:
        """A rule, as `tiphys.kubelet.runtimes.behaviour.Behaviour` explains it:

        behave("web-*", exit_code=1, lives=2)        crashes at once, twice, then runs
        behave("job-*", run_seconds=30)              succeeds after 30 s
        behave("db-*", ready_after_seconds=10)       needs its time
        behave("web-*", cpu="800m", memory="1Gi")    uses so much (else half of what it requests)
        behave(image="nginx:broken", pull_error="manifest unknown")
        behave("db-0", answers={"pg_isready*": ("accepting connections\\n", 0)})
        """
        rule = {
            "pod": pod,
            "namespace": namespace,
            "container": container,
            "image": image,
            "lives": lives,
            "start_seconds": start_seconds,
            "run_seconds": run_seconds,
            "exit_code": exit_code,
            "reason": reason,
            "ready": ready,
            "ready_after_seconds": ready_after_seconds,
            "cpu": cpu,
            "memory": memory,
            "logs": None if logs is None else list(logs),
            "answers": None if answers is None else {line: list(answer) for line, answer in answers.items()},
            "pull_seconds": pull_seconds,
            "pull_error": pull_error,
        }
        return Undo(self._link, "forget_behaviour", self._call("behave", behaviour=rule))

    def crash(
        self,
        pod: str,
        *,
        namespace: str = "default",
        container: str = "",
        exit_code: int = 1,
        reason: str = "",
    ) -> None:
        """Ends the running containers of a pod now, or the named one: `exit_code=137, reason="OOMKilled"`. LookupError when none runs."""
        self._call(
            "end_containers",
            namespace=namespace,
            pod=pod,
            container=container,
            exit_code=exit_code,
            reason=reason,
        )

    def log(self, pod: str, text: str, *, namespace: str = "default", container: str = "") -> None:
        """Writes lines to the log of a pod's running containers."""
        self._call("write_log", namespace=namespace, pod=pod, container=container, text=text)

    def forget(self) -> None:
        """No rule is in force any more."""
        self._call("clear_behaviours")


class Nodes(Control):
    """The simulated nodes."""

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self._call("nodes")]

    @property
    def powered(self) -> list[str]:
        return [name for name, is_on in self._call("nodes") if is_on]

    def add(self, *names: str) -> None:
        self._call("add_nodes", names=list(names))

    def power_off(self, name: str) -> None:
        """As if its cable were pulled. NotReady follows after 50 s, eviction after 300 more: see `clock.advance`."""
        self._call("power", name=name, on=False)

    def power_on(self, name: str) -> None:
        """Its pods' containers start anew."""
        self._call("power", name=name, on=True)

    def remove(self, name: str) -> None:
        """Off, and out of the API."""
        self._call("remove_node", name=name)


class Controllers(Control):
    """By upstream's names (`--controllers`), and "scheduler"."""

    @property
    def running(self) -> list[str]:
        found: list[str] = self._call("controllers")
        return found

    def stop(self, name: str) -> None:
        self._call("switch_off", name=name)

    def start(self, name: str) -> None:
        self._call("switch_on", name=name)


class Faults(Control):
    """What goes wrong between clients and the API."""

    def add(
        self,
        *,
        code: int = 0,
        reason: str = "",
        message: str = "",
        retry_after_seconds: int = 0,
        delay_seconds: float = 0.0,
        disconnect: bool = False,
        after: bool = False,
        times: int | None = None,
        probability: float = 1.0,
        **patterns: str,
    ) -> Undo:
        """A fault, as `tiphys.testing.requests.Fault` explains it. `patterns`: user, verb, method, path, group, resource, subresource, namespace, name,
        user_agent.

        add(verb="update", resource="deployments", code=409, times=1)      one conflict, in upstream's words
        add(verb="create", code=504, after=True, times=1)                  a time-out that did its work all the same
        add(user="*my-operator", delay_seconds=2)                          a slow API for one client
        add(disconnect=True, probability=0.1)                              a bad network
        """
        fault = {
            "code": code,
            "reason": reason,
            "message": message,
            "retry_after_seconds": retry_after_seconds,
            "delay_seconds": delay_seconds,
            "disconnect": disconnect,
            "after": after,
            "times": times,
            "probability": probability,
            **patterns,
        }
        return Undo(self._link, "remove_fault", self._call("add_fault", fault=fault))

    def clear(self) -> None:
        self._call("clear_faults")

    def end_watches(self, how: Literal["close", "abort", "expire"] = "close") -> int:
        """Ends all clients' watches: properly, by cutting them off, or with 410 and history forgotten; how many there were."""
        ended: int = self._call("end_watches", how=how)
        return ended
