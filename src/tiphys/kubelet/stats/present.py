"""How many pods, containers and volumes a node has: counted when somebody asks, and kept by nobody in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tiphys.kubelet import spec
from tiphys.kubelet.kubelet import Kubelet
from tiphys.kubelet.metrics import KubeletMetrics
from tiphys.kubelet.worker import PodWorker
from tiphys.machinery import meta


def count(kubelets: Iterable[Kubelet], metrics: KubeletMetrics) -> None:
    """Sets the gauges."""
    present = metrics.present
    desired: Counter[str] = Counter({"": 0, "true": 0})
    active: Counter[str] = Counter({"": 0, "true": 0})
    working: Counter[tuple[str, str, str]] = Counter()
    volumes: Counter[tuple[str, str]] = Counter()
    states: Counter[str] = Counter()
    running = ephemeral = in_progress = 0
    pending: list[str] = []
    present.log_bytes.clear()
    for kubelet in kubelets:
        metrics.node_name.set(1, kubelet.host.node)
        known = {meta.uid(pod) for pod in kubelet.pods}
        desired.update(_static(pod) for pod in kubelet.pods)
        for worker in kubelet.workers:
            if worker.resizing.pending is not None:
                pending.append(worker.resizing.pending.reason)
            in_progress += worker.resizing.is_in_progress
            running += worker.measured() is not None
            active[_static(worker.pod)] += worker.is_running
            ephemeral += len(worker.pod["spec"].get("ephemeralContainers") or ())
            working[worker.stage, _config(worker, known), _static(worker.pod)] += 1
            states.update(life.status.state.lower() for life in worker.view.containers)
            actual, wanted = kubelet.host.provisions.volume_plugins(worker.pod)
            volumes.update((plugin, "actual_state_of_world") for plugin in actual)
            volumes.update((plugin, "desired_state_of_world") for plugin in wanted)
            _measure_logs(worker, metrics)
    metrics.resizes.seen(pending, in_progress)
    metrics.running_pods.set(running)
    for static in ("", "true"):
        metrics.desired_pods.set(desired[static], static)
        metrics.active_pods.set(active[static], static)
    present.mirror_pods.set(active["true"])
    present.ephemeral_containers.set(ephemeral)
    for gauge in (present.working_pods, present.volumes, metrics.running_containers):
        gauge.clear()
    for labels, number in working.items():
        present.working_pods.set(number, *labels)
    for (plugin, state), number in volumes.items():
        present.volumes.set(number, plugin, state)
    for state, number in states.items():
        metrics.running_containers.set(number, state)


def _static(pod: spec.Object) -> str:
    return "true" if spec.is_static(pod) else ""


def _config(worker: PodWorker, known: set[str]) -> str:
    """Who else knows the pod: nobody, or nobody but the runtime."""
    if worker.uid in known:
        return "desired"
    return "orphan" if worker.pod["spec"]["containers"] else "runtime_only"


def _measure_logs(worker: PodWorker, metrics: KubeletMetrics) -> None:
    """The files of a container's log are in a directory of their own."""
    directories = {
        life.status.name: Path(life.status.log_path).parent
        for life in worker.view.containers
        if life.status.log_path
    }
    for name, directory in directories.items():
        try:
            used = sum(file.stat().st_size for file in directory.iterdir())
        except OSError:
            continue  # it is just being removed
        labels = (worker.uid, meta.namespace(worker.pod), meta.name(worker.pod), name)
        metrics.present.log_bytes.set(used, *labels)
