"""What the runtime is asked to make of a pod: names, DNS, hosts, security, mounts, ports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiphys.kubelet import labels
from tiphys.kubelet.container_config import Gathered, Names, container_config, sandbox_config
from tiphys.kubelet.dns import (
    ClusterDNS,
    NameTooLong,
    hostname,
    hosts_file,
    parse_resolver,
    pod_dns,
    uts_name,
)
from tiphys.kubelet.files import Files, uid_of_logs
from tiphys.kubelet.resources import Enforcement
from tiphys.kubelet.runtimes.interface import DNSConfig, Image, Mount, PortMapping
from tiphys.kubelet.runtimes.security import AppArmorProfile, SeccompProfile, SELinuxOptions
from tiphys.kubelet.security import (
    MASKED_PATHS,
    SeccompProfiles,
    container_security,
    root_problem,
    sandbox_security,
    user_namespace_problem,
)

CLUSTER = ClusterDNS()


def pod(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "busybox"}], **spec},
    }


# DNS and hosts


@pytest.mark.parametrize(
    ("spec", "config"),
    [
        (
            {},
            DNSConfig(
                ("10.96.0.10",),
                ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local"),
                ("ndots:5",),
            ),
        ),
        ({"dnsPolicy": "Default"}, None),
        ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, None),
        (
            {
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": ["1.1.1.1"],
                    "searches": ["my.own"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
            },
            DNSConfig(("1.1.1.1",), ("my.own",), ("ndots:2", "edns0")),
        ),
        (
            {
                "dnsConfig": {
                    "nameservers": ["1.1.1.1", "10.96.0.10"],
                    "searches": ["my.own"],
                    "options": [{"name": "ndots", "value": "1"}],
                }
            },
            DNSConfig(
                ("10.96.0.10", "1.1.1.1"),
                ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "my.own"),
                ("ndots:1",),
            ),
        ),
    ],
)
def test_dns(spec: dict[str, Any], config: DNSConfig | None) -> None:
    assert pod_dns(pod(**spec), CLUSTER, DNSConfig()).config == config


def test_dns_of_the_cluster_in_the_nodes_network() -> None:
    wanted = pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet")
    found = pod_dns(wanted, CLUSTER, DNSConfig()).config
    assert found is not None
    assert found.servers == ("10.96.0.10",)


def test_what_the_node_uses_is_the_base_of_its_policy_and_searched_last_in_the_clusters() -> None:
    text = """# made by hand
nameserver 192.0.2.1
nameserver 192.0.2.2 # second
search example.com. corp.example
options timeout:2 rotate
"""
    node = parse_resolver(text)
    assert node == DNSConfig(
        ("192.0.2.1", "192.0.2.2"), ("example.com", "corp.example"), ("timeout:2", "rotate")
    )
    cluster = pod_dns(pod(), CLUSTER, node).config
    assert cluster is not None
    assert cluster.servers == ("10.96.0.10",)
    assert cluster.searches[-2:] == ("example.com", "corp.example")
    assert cluster.options == ("ndots:5",)
    own = {"nameservers": ["1.1.1.1"], "options": [{"name": "timeout", "value": "5"}]}
    assert pod_dns(pod(dnsPolicy="Default", dnsConfig=own), CLUSTER, node).config == DNSConfig(
        ("192.0.2.1", "192.0.2.2", "1.1.1.1"), ("example.com", "corp.example"), ("timeout:5", "rotate")
    )
    assert pod_dns(pod(dnsPolicy="None", dnsConfig=own), CLUSTER, node).config == DNSConfig(
        ("1.1.1.1",), (), ("timeout:5",)
    )


def test_what_no_resolver_takes_is_left_out_and_told() -> None:
    many = [f"zone-{number}.example" for number in range(40)]
    config = {"nameservers": [f"192.0.2.{number}" for number in range(5)], "searches": many}
    found = pod_dns(pod(dnsPolicy="None", dnsConfig=config), CLUSTER, DNSConfig())
    assert found.config is not None
    assert found.config.servers == ("192.0.2.0", "192.0.2.1", "192.0.2.2")
    assert found.config.searches == tuple(many[:32])
    assert found.warnings == (
        "Search Line limits were exceeded, some search paths have been omitted, "
        f"the applied search line is: {' '.join(many[:32])}",
        "Nameserver limits were exceeded, some nameservers have been omitted, "
        "the applied nameserver line is: 192.0.2.0 192.0.2.1 192.0.2.2",
    )


def test_a_search_line_has_an_end() -> None:
    long = [f"{number:02}{'a' * 198}" for number in range(12)]
    found = pod_dns(pod(dnsPolicy="None", dnsConfig={"searches": ["b" * 254, *long]}), CLUSTER, DNSConfig())
    assert found.config is not None
    assert found.config.searches == tuple(long[:10])


def test_names() -> None:
    override = pod(hostnameOverride="any.name.example", subdomain="sub", setHostnameAsFQDN=False)
    assert uts_name(override, CLUSTER) == "any.name.example"
    assert "10.1.0.2\tany.name.example\n" in hosts_file(override, ["10.1.0.2"], CLUSTER)
    with pytest.raises(NameTooLong) as refused:
        uts_name(pod(hostname="h" * 40, subdomain="sub", setHostnameAsFQDN=True), CLUSTER)
    assert str(refused.value) == (
        "failed to construct FQDN from pod hostname and cluster domain, "
        f"FQDN {'h' * 40}.sub.shop.svc.cluster.local is too long"
        " (64 characters is the max, 67 characters requested)"
    )
    assert hostname(pod()) == "web"
    assert hostname(pod(hostname="own")) == "own"
    assert hostname({**pod(), "metadata": {"name": "a" * 62 + ".-b"}}) == "a" * 62
    assert uts_name(pod(subdomain="sub", setHostnameAsFQDN=True), CLUSTER) == "web.sub.shop.svc.cluster.local"
    assert uts_name(pod(setHostnameAsFQDN=True), CLUSTER) == "web"


def test_hosts() -> None:
    text = hosts_file(
        pod(subdomain="sub", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["foo", "bar"]}]),
        ["10.1.0.2"],
        CLUSTER,
    )
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.1.0.2\tweb.sub.shop.svc.cluster.local\tweb\n" in text
    assert text.endswith("\n# Entries added by HostAliases.\n1.2.3.4\tfoo\tbar\n")


def test_hosts_in_the_nodes_network() -> None:
    text = hosts_file(pod(hostNetwork=True), ["10.0.0.1"], CLUSTER, "127.0.0.1 localhost\n")
    assert text == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"


# Sandboxes and containers


def test_a_sandbox() -> None:
    given = pod(
        terminationGracePeriodSeconds=5,
        containers=[
            {
                "name": "main",
                "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}],
                "securityContext": {"privileged": True},
            }
        ],
        securityContext={"sysctls": [{"name": "net.x", "value": "1"}], "runAsUser": 7},
        shareProcessNamespace=True,
    )
    config = sandbox_config(given, 2, "/logs", "/cg", Names(CLUSTER, DNSConfig(("10.96.0.10",))))
    assert (config.name, config.namespace, config.uid, config.attempt, config.hostname) == (
        "web",
        "shop",
        "u1",
        2,
        "web",
    )
    assert config.port_mappings == (PortMapping(80, 8080),)
    assert config.labels == {
        "app": "web",
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.pod.uid": "u1",
    }
    assert config.annotations[labels.GRACE_PERIOD] == "5"
    assert (config.sysctls, config.share_process_namespace) == ({"net.x": "1"}, True)
    assert (config.security.privileged, config.security.run_as_user) == (True, 7)


def test_a_sandbox_in_the_nodes_network_has_no_name_and_no_ports_of_its_own() -> None:
    given = pod(
        hostNetwork=True, containers=[{"name": "a", "ports": [{"containerPort": 80, "hostPort": 80}]}]
    )
    config = sandbox_config(given, 0, "/logs", "/cg", Names(CLUSTER, None))
    assert (config.hostname, config.port_mappings, config.host_network) == ("", (), True)


def test_labels_of_a_pod_cannot_take_ours() -> None:
    found = labels.of_pod({"metadata": {"name": "a", "uid": "u", "labels": {labels.POD_UID: "forged"}}})
    assert found[labels.POD_UID] == "u"


def test_a_container() -> None:
    container = {
        "name": "main",
        "image": "busybox",
        "command": ["sh", "-c", "echo $(NAME)"],
        "args": ["$(NAME)", "$(NONE)"],
        "workingDir": "/w",
        "tty": True,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    gathered = Gathered(
        "sha256:1", 3, {"NAME": "x"}, [Mount("/a", "/b")], Enforcement(1 << 30), SeccompProfiles()
    )
    config = container_config(pod(), container, gathered)
    assert config.command == ("sh", "-c", "echo x")
    assert config.args == ("x", "$(NONE)")
    assert (config.image, config.attempt, config.log_path) == ("sha256:1", 3, "main/3.log")
    assert (config.working_directory, config.tty, config.stdin) == ("/w", True, False)
    assert config.env == (("NAME", "x"),)
    assert config.annotations["io.kubernetes.container.restartCount"] == "3"
    assert config.annotations["io.kubernetes.container.terminationMessagePath"] == "/dev/termination-log"


def test_only_name_and_image_make_a_container_another_one() -> None:
    original = labels.container_hash({"name": "a", "image": "b"})
    assert labels.container_hash({"name": "a", "image": "b", "env": []}) == original
    assert labels.container_hash({"name": "a", "image": "c"}) != original


# Security


def test_a_containers_context_wins_over_the_pods() -> None:
    given = pod(
        securityContext={
            "runAsUser": 1,
            "runAsGroup": 2,
            "fsGroup": 3,
            "supplementalGroups": [4, 3],
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    )
    own = {
        "securityContext": {
            "runAsUser": 9,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
        }
    }
    found = container_security(given, own, None, SeccompProfiles())
    assert (found.run_as_user, found.run_as_group, found.supplemental_groups) == (9, 2, (3, 4))
    assert not found.is_strict_about_groups
    strict = pod(securityContext={"supplementalGroupsPolicy": "Strict"})
    assert container_security(strict, own, None, SeccompProfiles()).is_strict_about_groups
    assert sandbox_security(strict).is_strict_about_groups
    assert (found.no_new_privileges, found.read_only_root_filesystem) == (True, True)
    assert (found.add_capabilities, found.drop_capabilities) == (("NET_ADMIN",), ("ALL",))
    assert found.seccomp.type == "RuntimeDefault"
    assert found.masked_paths == MASKED_PATHS


def test_a_privileged_container_sees_everything() -> None:
    found = container_security(pod(), {"securityContext": {"privileged": True}}, None, SeccompProfiles())
    assert (found.privileged, found.masked_paths, found.readonly_paths) == (True, (), ())
    hotter = (*MASKED_PATHS, "/sys/devices/system/cpu/cpu0/thermal_throttle")
    assert container_security(pod(), {}, None, SeccompProfiles(), hotter).masked_paths == hotter
    unmasked = container_security(
        pod(), {"securityContext": {"procMount": "Unmasked"}}, None, SeccompProfiles()
    )
    assert unmasked.masked_paths == ()


@pytest.mark.parametrize(
    ("own", "image", "user"),
    [
        ({"runAsUser": 5}, Image("i", (), (), 0, username="me"), (5, "")),
        ({}, Image("i", (), (), 0, user=7), (7, "")),
        ({}, Image("i", (), (), 0, username="me"), (None, "me")),
        # A group alone needs a user beside it: an image that names none runs as root.
        ({"runAsGroup": 9}, Image("i", (), (), 0), (0, "")),
    ],
)
def test_whom_a_container_runs_as(own: dict[str, Any], image: Image, user: tuple[int | None, str]) -> None:
    found = container_security(pod(), {"securityContext": own}, image, SeccompProfiles())
    assert (found.run_as_user, found.run_as_username) == user


def test_profiles() -> None:
    given = pod(securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"}})
    found = container_security(given, {}, None, SeccompProfiles("/k/seccomp"))
    assert found.seccomp == SeccompProfile("Localhost", "/k/seccomp/a/b.json")
    assert container_security(pod(), {}, None, SeccompProfiles()).seccomp.type == "Unconfined"
    by_default = SeccompProfiles(is_default=True)
    assert container_security(pod(), {}, None, by_default).seccomp.type == "RuntimeDefault"
    own = {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}
    assert container_security(pod(), own, None, by_default).seccomp.type == "Unconfined"
    own = {
        "securityContext": {
            "seLinuxOptions": {"level": "s0"},
            "appArmorProfile": {"type": "Localhost", "localhostProfile": "mine"},
        }
    }
    found = container_security(given, own, None, SeccompProfiles())
    assert (found.apparmor, found.selinux) == (
        AppArmorProfile("Localhost", "mine"),
        SELinuxOptions(level="s0"),
    )


def test_users_of_its_own_are_refused_in_words() -> None:
    assert user_namespace_problem(pod(hostUsers=True)) == ""
    problem = user_namespace_problem(pod(hostUsers=False))
    assert problem.startswith("can't set `spec.hostUsers: false`, RuntimeClass handler")


WHERE = r'\(pod: "web_shop\(u1\)", container: main\)'


@pytest.mark.parametrize(
    ("own", "image", "problem"),
    [
        ({}, Image("i", (), (), 0), ""),
        ({"runAsNonRoot": True, "runAsUser": 5}, None, ""),
        ({"runAsNonRoot": True, "runAsUser": 0}, None, "container's runAsUser breaks non-root policy"),
        ({"runAsNonRoot": True}, Image("i", (), (), 0, user=5), ""),
        ({"runAsNonRoot": True}, Image("i", (), (), 0), "image will run as root"),
        ({"runAsNonRoot": True}, Image("i", (), (), 0, user=0), "image will run as root"),
        ({"runAsNonRoot": True}, Image("i", (), (), 0, username="me"), "non-numeric user (me)"),
    ],
)
def test_not_as_root(own: dict[str, Any], image: Image | None, problem: str) -> None:
    found = root_problem(pod(), {"name": "main", "securityContext": own}, image)
    assert (problem in found) if problem else found == ""


# Files


def test_where_files_lie() -> None:
    files = Files(Path("/n"))
    assert files.volume("u1", "emptyDir", "data") == Path("/n/pods/u1/volumes/kubernetes.io~empty-dir/data")
    assert files.pod_logs(pod()) == Path("/n/logs/shop_web_u1")
    assert uid_of_logs("shop_web_u1") == "u1"
