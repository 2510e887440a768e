"""What control groups have used, read from trees of files as the two versions of cgroups have them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tiphys.kubelet.stats.cgroup_usage import CgroupUsage
from tiphys.kubelet.stats.usage import DeviceIO, Pressure, PressureLine, Throttling

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
GROUP = "/tiphys/node-1/kubepods/pod1"
NO_LIMIT = "9223372036854771712"


def write(top: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = top / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return top


@pytest.fixture
def v1(tmp_path: Path) -> CgroupUsage:
    group = GROUP.strip("/")
    return CgroupUsage(
        write(
            tmp_path,
            {
                f"cpuacct/{group}/cpuacct.usage": "1500000000\n",
                f"cpuacct/{group}/cpuacct.stat": "user 100\nsystem 50\n",
                f"cpu/{group}/cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 900\n",
                f"memory/{group}/memory.usage_in_bytes": "1000\n",
                f"memory/{group}/memory.limit_in_bytes": "4000\n",
                f"memory/{group}/memory.memsw.limit_in_bytes": "5000\n",
                f"memory/{group}/memory.max_usage_in_bytes": "2000\n",
                f"memory/{group}/memory.failcnt": "3\n",
                f"memory/{group}/memory.stat": "cache 1\nhierarchical_memory_limit 4000\ntotal_cache 600\ntotal_rss 300\n"
                "total_mapped_file 20\ntotal_swap 100\ntotal_pgfault 7\ntotal_pgmajfault 2\ntotal_inactive_file 250\n",
                f"memory/{group}/cgroup.procs": "",
                f"memory/{group}/sandbox/cgroup.procs": "41\n",
                f"memory/{group}/main/cgroup.procs": "42\n43\n",
                f"pids/{group}/pids.current": "5\n",
                f"blkio/{group}/blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\nTotal 30\n",
                f"blkio/{group}/blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\nTotal 3\n",
            },
        )
    )


@pytest.fixture
def v2(tmp_path: Path) -> CgroupUsage:
    group = GROUP.strip("/")
    stalls = (
        "some avg10=1.50 avg60=0.50 avg300=0.10 total=700\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=30\n"
    )
    return CgroupUsage(
        write(
            tmp_path,
            {
                "cgroup.controllers": "cpu memory pids io\n",
                f"{group}/cpu.stat": "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n"
                "nr_periods 10\nnr_throttled 4\nthrottled_usec 9\n",
                f"{group}/cpu.pressure": stalls,
                f"{group}/memory.pressure": stalls,
                f"{group}/io.pressure": stalls,
                f"{group}/memory.current": "1000\n",
                f"{group}/memory.max": "4000\n",
                f"{group}/memory.peak": "2000\n",
                f"{group}/memory.events": "low 0\nhigh 0\nmax 3\noom 1\n",
                f"{group}/memory.swap.current": "100\n",
                f"{group}/memory.swap.max": "1000\n",
                f"{group}/memory.stat": "anon 300\nfile 600\nfile_mapped 20\ninactive_file 250\npgfault 7\npgmajfault 2\n",
                f"{group}/cgroup.procs": "",
                f"{group}/sandbox/cgroup.procs": "41\n",
                f"{group}/main/cgroup.procs": "42\n43\n",
                f"{group}/pids.current": "5\n",
                f"{group}/io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
            },
        )
    )


@pytest.fixture(params=["v1", "v2"])
def cgroups(request: pytest.FixtureRequest) -> CgroupUsage:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, CgroupUsage)
    return found


def test_both_versions_tell_the_same(cgroups: CgroupUsage) -> None:
    cpu, memory = cgroups.cpu(GROUP, NOON), cgroups.memory(GROUP, NOON)
    assert cpu is not None
    assert memory is not None
    assert (cpu.time, cpu.usage_nanoseconds) == (NOON, 1_500_000_000)
    assert (cpu.user_nanoseconds, cpu.system_nanoseconds) == (1_000_000_000, 500_000_000)
    assert (memory.usage_bytes, memory.working_set_bytes, memory.rss_bytes) == (1000, 750, 300)
    assert (memory.cache_bytes, memory.mapped_file_bytes) == (600, 20)
    assert (memory.page_faults, memory.major_page_faults) == (7, 2)
    assert (memory.limit_bytes, memory.available_bytes) == (4000, 3250)
    assert (memory.swap_bytes, memory.swap_limit_bytes, memory.swap_available_bytes) == (100, 1000, 900)
    assert cgroups.memory_peak_bytes(GROUP) == 2000
    assert cgroups.memory_failures(GROUP) == 3
    assert cgroups.processes(f"{GROUP}/main") == [42, 43]
    assert cgroups.process_count(GROUP) == 3
    assert cgroups.threads(GROUP) == 5
    assert cgroups.io(GROUP) == DeviceIO({"8:0": 10}, {"8:0": 20}, {"8:0": 1}, {"8:0": 2})


def test_version_1_counts_throttling_in_nanoseconds(v1: CgroupUsage) -> None:
    assert v1.throttling(GROUP) == Throttling(10, 4, 900)


def test_version_2_counts_throttling_in_microseconds(v2: CgroupUsage) -> None:
    assert v2.throttling(GROUP) == Throttling(10, 4, 9000)


def test_only_version_2_tells_of_stalls(v1: CgroupUsage, v2: CgroupUsage) -> None:
    stalls = Pressure(PressureLine(1.5, 0.5, 0.1, 700), PressureLine(total_microseconds=30))
    cpu, memory = v2.cpu(GROUP, NOON), v2.memory(GROUP, NOON)
    assert cpu is not None
    assert memory is not None
    assert (cpu.pressure, memory.pressure, v2.io_pressure(GROUP)) == (stalls, stalls, stalls)


def test_version_1_has_no_stalls_of_a_group(v1: CgroupUsage) -> None:
    assert v1.io_pressure(GROUP) is None


def test_a_group_that_is_not_there_has_used_nothing_known(cgroups: CgroupUsage) -> None:
    gone = "/tiphys/node-1/kubepods/pod2"
    assert cgroups.cpu(gone, NOON) is None
    assert cgroups.memory(gone, NOON) is None
    assert cgroups.throttling(gone) is None
    assert (cgroups.processes(gone), cgroups.process_count(gone), cgroups.threads(gone)) == ([], 0, 0)
    assert cgroups.io(gone) == DeviceIO()


def test_no_limit_is_none(tmp_path: Path, v1: CgroupUsage) -> None:
    write(tmp_path, {f"memory/{GROUP.strip('/')}/memory.limit_in_bytes": f"{NO_LIMIT}\n"})
    memory = v1.memory(GROUP, NOON)
    assert memory is not None
    assert (memory.limit_bytes, memory.available_bytes, memory.swap_limit_bytes) == (None, None, None)


def test_max_is_no_limit(tmp_path: Path, v2: CgroupUsage) -> None:
    write(
        tmp_path,
        {f"{GROUP.strip('/')}/memory.max": "max\n", f"{GROUP.strip('/')}/memory.swap.max": "max\n"},
    )
    memory = v2.memory(GROUP, NOON)
    assert memory is not None
    assert (memory.limit_bytes, memory.swap_limit_bytes) == (None, None)


def test_a_group_without_a_quota_is_not_throttled(tmp_path: Path, v2: CgroupUsage) -> None:
    write(tmp_path, {f"{GROUP.strip('/')}/cpu.stat": "usage_usec 5\nnr_periods 0\nnr_throttled 0\n"})
    assert v2.throttling(GROUP) is None
