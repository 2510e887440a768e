"""python -m bench: our figures as a table, with the goal of each beside it."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics

from bench import cluster as measured


def row(name: str, value: str, goal: str) -> None:
    print(f"| {name:<44} | {value:>26} | {goal:>16} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure Tiphys.")
    parser.add_argument("--no-containers", action="store_true", help="leave out what needs root")
    options = parser.parse_args()
    containers = not options.no_containers and os.geteuid() == 0
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}\n"
    )
    row("what", "measured (median)", "goal")
    row("-" * 44, "-" * 26, "-" * 16)
    if containers:
        times = measured.start_times("bench")
        row("up, existing, node Ready, containerd", f"{statistics.median(times):.2f} s", "2.0 s")
    times = measured.start_times("bench", "--runtime", "simulated")
    row("up, existing, node Ready, simulated", f"{statistics.median(times):.2f} s", "1.0 s")
    with measured.cluster("bench", "--runtime", "simulated") as made:
        made.up()
        memory, cpu = measured.idle(made)
        for name, size in memory.items():
            row(
                f"idle: {name}",
                f"{size:.0f} MiB, {cpu[name]:.1f} % of a core",
                "120 MiB, 1 %" if name == "control-plane" else "",
            )
        print_requests(asyncio.run(measured.requests(made.kubeconfig)))


def print_requests(found: dict[str, dict[str, float]]) -> None:
    goals = {"create ConfigMap": "4,000/s", "get ConfigMap": "15,000/s", "patch Pod": "1,500/s"}
    for name, goal in goals.items():
        figures = found[name]
        row(
            f"{name}, TLS, 32 in flight",
            f"{figures['per_second']:,.0f}/s, p99 {figures['p99_ms']:.1f} ms",
            goal,
        )
        if figures["failed"]:
            row(f"{name}: failed", f"{figures['failed']:.0f}", "0")
    listed = found["list 5,000 Pods"]
    rate = listed["bytes_per_second"] / 1e6
    row("list 5,000 Pods, JSON, TLS", f"{rate:,.0f} MB/s, {listed['p50_ms']:.0f} ms", "300 MB/s")
    watch = found["watch"]
    row("one write to 200 watchers", f"p50 {watch['p50_ms']:.1f}, p99 {watch['p99_ms']:.1f} ms", "p99 10 ms")


if __name__ == "__main__":
    main()
