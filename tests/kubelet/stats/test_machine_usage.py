"""What a machine uses, from a /proc of our own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tiphys.kubelet.stats.machine_usage import MachineUsage
from tiphys.kubelet.stats.usage import InterfaceUsage, Pressure, PressureLine

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
NET_DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 317 24 0 0 0 0 0 0 317 24 0 0 0 0 0 0
  eth0:1001 11 1 2 0 0 0 0 2002 22 3 4 0 0 0 0
vethab1: 5 5 0 0 0 0 0 0 5 5 0 0 0 0 0 0
"""


def proc(tmp_path: Path) -> MachineUsage:
    files = {
        "stat": "cpu  100 10 50 9000 800 5 15 20 7 3\ncpu0 1 2 3\nbtime 1795000000\n",
        "meminfo": "MemTotal: 1000 kB\nMemFree: 400 kB\nCached: 200 kB\nInactive(file): 150 kB\nAnonPages: 90 kB\n"
        "Mapped: 8 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\n",
        "vmstat": "pgfault 700\npgmajfault 30\n",
        "loadavg": "0.52 0.58 0.59 3/1234 5678\n",
        "sys/kernel/pid_max": "32768\n",
        "sys/kernel/threads-max": "20000\n",
        "pressure/memory": "some avg10=2.00 avg60=1.00 avg300=0.50 total=9\n",
        "self/net/dev": NET_DEV,
        "77/net/dev": NET_DEV.replace("eth0:1001", "eth0: 9009"),
        "77/stat": "77 (a (b) c) S 1 77 77 0 -1 4194304 500 0 6 0 200 100 0 0 20 0 1 0 1500 10000 25 18446744073709551615",
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return MachineUsage(tmp_path)


def test_the_processor_is_busy_unless_it_idles_or_waits(tmp_path: Path) -> None:
    cpu = proc(tmp_path).cpu(NOON)
    assert cpu.usage_nanoseconds == (100 + 10 + 50 + 5 + 15 + 20) * 10_000_000
    assert (cpu.user_nanoseconds, cpu.system_nanoseconds) == (1_100_000_000, 900_000_000)


def test_files_that_nobody_uses_are_not_in_the_working_set(tmp_path: Path) -> None:
    memory = proc(tmp_path).memory(NOON)
    assert memory.usage_bytes == 600 * 1024
    assert memory.working_set_bytes == 450 * 1024
    assert memory.available_bytes == 550 * 1024
    assert (memory.rss_bytes, memory.page_faults, memory.major_page_faults) == (90 * 1024, 700, 30)
    assert (memory.swap_bytes, memory.swap_available_bytes) == (30 * 1024, 20 * 1024)
    assert memory.pressure == Pressure(PressureLine(2.0, 1.0, 0.5, 9))


def test_its_network_is_without_loopback_and_the_ends_of_pods_interfaces(tmp_path: Path) -> None:
    machine = proc(tmp_path)
    network, of_process = machine.network(NOON), machine.network(NOON, 77)
    assert network is not None
    assert network.interfaces == (InterfaceUsage("eth0", 1001, 11, 1, 2, 2002, 22, 3, 4),)
    assert of_process is not None
    assert of_process.interfaces[0].received_bytes == 9009
    assert machine.network(NOON, 78) is None


def test_how_many_processes_there_are_and_may_be(tmp_path: Path) -> None:
    assert proc(tmp_path).processes() == (1234, 20000)


def test_one_process(tmp_path: Path) -> None:
    found = proc(tmp_path).process("kubelet", 77, NOON)
    assert found is not None
    assert found.cpu is not None
    assert found.memory is not None
    assert (found.cpu.usage_nanoseconds, found.memory.rss_bytes) == (3_000_000_000, 25 * 4096)
    assert (found.memory.page_faults, found.memory.major_page_faults) == (500, 6)
    assert found.started_at == datetime.fromtimestamp(1795000015, UTC)


def test_what_the_kernel_does_not_tell_is_none(tmp_path: Path) -> None:
    machine = MachineUsage(tmp_path)
    assert machine.cpu(NOON).pressure is None
    assert machine.io_pressure() is None
    assert machine.process("kubelet", 77, NOON) is None
