"""Security contexts of pods and containers: users, profiles, sysctls, Windows options."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tiphys.api.core.validation.paths import local_descending_path
from tiphys.api.resource import Object
from tiphys.api.validation import Errors, by_rule, one_of
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path

_PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
_PATH_LIMIT = 4095
_SYSCTL_LIMIT = 253
_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = re.compile(rf"({_SYSCTL_SEGMENT}[\./])*{_SYSCTL_SEGMENT}")
_IPC_SYSCTLS = ("kernel.sem", "kernel.shm", "kernel.msg", "fs.mqueue.")


def containers_with_paths(spec: Object, path: Path) -> Iterator[tuple[Object, Path]]:
    """Every container of a pod: init containers, containers, ephemeral containers."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for position, container in enumerate(spec.get(field) or ()):
            yield container, path.child(field).index(position)


def pod_security_context(context: Object | None, spec: Object, path: Path) -> Errors:
    if not context:
        return []
    errors: Errors = []
    for field in ("fsGroup", "runAsUser", "runAsGroup"):
        errors += _identifier(context.get(field), path.child(field))
    for position, group in enumerate(context.get("supplementalGroups") or ()):
        errors += _identifier(group, path.child("supplementalGroups").index(position))
    if context.get("sysctls"):
        errors += _sysctls(context["sysctls"], spec, path.child("sysctls"))
    for field, allowed in (
        ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
        ("supplementalGroupsPolicy", ("Merge", "Strict")),
        ("seLinuxChangePolicy", ("MountOption", "Recursive")),
    ):
        if context.get(field) is not None:
            errors += one_of(context[field], allowed, path.child(field))
    errors += _profiles(context, path)
    return errors + windows_options(context.get("windowsOptions"), path.child("windowsOptions"))


def container_security_context(context: Object | None, path: Path, *, host_users: bool) -> Errors:
    if not context:
        return []
    errors: Errors = []
    for field in ("runAsUser", "runAsGroup"):
        errors += _identifier(context.get(field), path.child(field))
    mount = context.get("procMount")
    if mount is not None:
        here = path.child("procMount")
        errors += one_of(mount, ("Default", "Unmasked"), here)
        if host_users and mount == "Unmasked":
            errors.append(FieldError.invalid(here, mount, "`hostUsers` must be false to use `Unmasked`"))
    errors += _escalation(context, path)
    errors += _profiles(context, path)
    return errors + windows_options(context.get("windowsOptions"), path.child("windowsOptions"))


def _escalation(context: Object, path: Path) -> Errors:
    if context.get("allowPrivilegeEscalation") is not False:
        return []
    errors: Errors = []
    if context.get("privileged"):
        detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        errors.append(FieldError.invalid(path, context, detail))
    if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
        detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
        errors.append(FieldError.invalid(path, context, detail))
    return errors


def _identifier(value: int | None, path: Path) -> Errors:
    """A user or group ID."""
    if value is None:
        return []
    return [FieldError.invalid(path, value, message) for message in names.user_id(value)]


def _profiles(context: Object, path: Path) -> Errors:
    errors: Errors = []
    if (seccomp := context.get("seccompProfile")) is not None:
        errors += _seccomp_profile(seccomp, path.child("seccompProfile"))
    if (app_armor := context.get("appArmorProfile")) is not None:
        errors += _app_armor_profile(app_armor, path.child("appArmorProfile"))
    return errors


def _seccomp_profile(profile: Object, path: Path) -> Errors:
    errors = _profile_type(profile, "type is required when seccompProfile is set", path.child("type"))
    local = profile.get("localhostProfile")
    here = path.child("localhostProfile")
    if profile.get("type") != "Localhost":
        if local is not None:
            errors.append(FieldError.invalid(here, profile, "can only be set when seccomp type is Localhost"))
    elif local is None:
        errors.append(FieldError.required(here, "must be set when seccomp type is Localhost"))
    else:
        errors += local_descending_path(local, here)
    return errors


def _profile_type(profile: Object, missing: str, path: Path) -> Errors:
    if not profile.get("type"):
        return [FieldError.required(path, missing)]
    return one_of(profile["type"], _PROFILE_TYPES, path)


def _app_armor_profile(profile: Object, path: Path) -> Errors:
    errors = _profile_type(profile, "type is required when appArmorProfile is set", path.child("type"))
    local = profile.get("localhostProfile")
    here = path.child("localhostProfile")
    if profile.get("type") != "Localhost":
        if local is not None and not errors:
            errors.append(FieldError.invalid(here, local, "can only be set when AppArmor type is Localhost"))
        return errors
    if local is None or not local:
        errors.append(FieldError.required(here, "must be set when AppArmor type is Localhost"))
    elif local.strip() != local:
        errors.append(FieldError.invalid(here, local, "must not be padded with whitespace"))
    if local is not None and len(local) > _PATH_LIMIT:
        errors.append(FieldError.too_long(here, _PATH_LIMIT))
    return errors


def _sysctls(sysctls: list[Object], spec: Object, path: Path) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for position, sysctl in enumerate(sysctls):
        here, name = path.index(position).child("name"), sysctl.get("name") or ""
        if not name:
            errors.append(FieldError.required(here))
        elif len(name) > _SYSCTL_LIMIT or not _SYSCTL.fullmatch(name):
            detail = f"must have at most {_SYSCTL_LIMIT} characters and match regex ^{_SYSCTL.pattern}$"
            errors.append(FieldError.invalid(here, name, detail))
        elif name in seen:
            errors.append(FieldError.duplicate(here, name))
        errors += _host_sysctl(name, spec, here)
        seen.add(name)
    return errors


def _host_sysctl(name: str, spec: Object, path: Path) -> Errors:
    """A pod that shares a namespace with the host would change the host."""
    dotted = name.replace("/", ".")
    if spec.get("hostNetwork") and dotted.startswith("net."):
        return [FieldError.invalid(path, name, "may not be specified when 'hostNetwork' is true")]
    if spec.get("hostIPC") and dotted.startswith(_IPC_SYSCTLS):
        return [FieldError.invalid(path, name, "may not be specified when 'hostIPC' is true")]
    return []


# Windows

_SPEC_LIMIT_KIB = 64
_DOMAIN_LIMIT = 256
_USER_LIMIT = 104
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NET_BIOS = re.compile(r"""[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}""")
_DNS_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DNS_DOMAIN = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_USER_CHARACTERS = re.compile(r"""["/\\:;|=,+*?<>@\[\]]""")


def windows_options(options: Object | None, path: Path) -> Errors:
    if not options:
        return []
    errors: Errors = []
    if (name := options.get("gmsaCredentialSpecName")) is not None:
        errors += by_rule(names.dns1123_subdomain, name, path.child("gmsaCredentialSpecName"))
    if (text := options.get("gmsaCredentialSpec")) is not None:
        here = path.child("gmsaCredentialSpec")
        if not text:
            errors.append(FieldError.invalid(here, text, "gmsaCredentialSpec cannot be an empty string"))
        elif len(text) > _SPEC_LIMIT_KIB * 1024:
            detail = f"gmsaCredentialSpec size must be under {_SPEC_LIMIT_KIB} KiB"
            errors.append(FieldError.invalid(here, text, detail))
    if (user := options.get("runAsUserName")) is not None:
        here = path.child("runAsUserName")
        errors += [
            FieldError.invalid(here, user, f"runAsUserName{detail}") for detail in _user_name_faults(user)
        ]
    return errors


def _user_name_faults(name: str) -> list[str]:
    """What is wrong with `DOMAIN\\USER`."""
    if not name:
        return [" cannot be an empty string"]
    if _CONTROL.search(name):
        return [" cannot contain control characters"]
    if name.count("\\") > 1:
        return [" cannot contain more than one backslash"]
    domain, slash, user = name.rpartition("\\")
    faults = []
    if len(domain) >= _DOMAIN_LIMIT:
        faults.append(f"'s Domain length must be under {_DOMAIN_LIMIT} characters")
    if slash and not (_NET_BIOS.fullmatch(domain) or _DNS_DOMAIN.fullmatch(domain)):
        faults.append("'s Domain doesn't match the NetBios nor the DNS format")
    if not user:
        faults.append("'s User cannot be empty")
    elif len(user) > _USER_LIMIT:
        faults.append(f"'s User length must not be longer than {_USER_LIMIT} characters")
    if user and not user.strip(". "):
        faults.append("'s User cannot contain only periods or spaces")
    if _USER_CHARACTERS.search(user):
        faults.append("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
    return faults


def windows_host_process(spec: Object, path: Path) -> Errors:
    """Containers that run on a Windows host itself: all or none, and on its network."""
    of_pod = _host_process(spec)
    errors: Errors = []
    total = hosted = 0
    for container, here in containers_with_paths(spec, path):
        total += 1
        own = _host_process(container)
        if of_pod is not None and own is not None and own != of_pod:
            shown = "true" if of_pod else "false"
            place = here.child("securityContext", "windowsOptions", "hostProcess")
            detail = f"pod hostProcess value must be identical if both are specified, was {shown}"
            errors.append(FieldError.invalid(place, own, detail))
        hosted += bool(of_pod if own is None else own)
    if hosted and hosted != total:
        detail = (
            "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        )
        errors.append(FieldError.invalid(path, "", detail))
    if hosted and not spec.get("hostNetwork"):
        detail = "hostNetwork must be true if pod contains any hostProcess containers"
        errors.append(FieldError.invalid(path.child("hostNetwork"), False, detail))
    return errors


def _host_process(holder: Object) -> bool | None:
    value: bool | None = ((holder.get("securityContext") or {}).get("windowsOptions") or {}).get(
        "hostProcess"
    )
    return value


_NOT_ON_WINDOWS_POD = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
)
_NOT_ON_WINDOWS_SPEC = ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace")
_NOT_ON_WINDOWS_CONTAINER = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)


def operating_system(spec: Object, path: Path) -> Errors:
    """`spec.os`, and what does not exist on that system."""
    system = spec.get("os")
    if system is None:
        return []
    name = system.get("name")
    if not name:
        return [FieldError.required(path.child("os", "name"), "cannot be empty")]
    if name == "linux":
        return _only_for_windows(spec, path)
    if name == "windows":
        return _only_for_linux(spec, path)
    return [FieldError.not_supported(path.child("os"), name, ("linux", "windows"))]


def _only_for_windows(spec: Object, path: Path) -> Errors:
    holders = [(spec, path), *containers_with_paths(spec, path)]
    detail = "windows options cannot be set for a linux pod"
    return [
        FieldError.forbidden(here.child("securityContext", "windowsOptions"), detail)
        for holder, here in holders
        if (holder.get("securityContext") or {}).get("windowsOptions") is not None
    ]


def _only_for_linux(spec: Object, path: Path) -> Errors:
    places = [path.child(field) for field in _NOT_ON_WINDOWS_SPEC if spec.get(field) not in (None, False)]
    if spec.get("hostUsers") is False:
        places.append(path.child("hostUsers"))
    places += _set_fields(spec, _NOT_ON_WINDOWS_POD, path)
    for container, here in containers_with_paths(spec, path):
        places += _set_fields(container, _NOT_ON_WINDOWS_CONTAINER, here)
    return [FieldError.forbidden(place, "cannot be set for a windows pod") for place in places]


def _set_fields(holder: Object, fields: tuple[str, ...], path: Path) -> list[Path]:
    context = holder.get("securityContext") or {}
    return [path.child("securityContext", field) for field in fields if context.get(field) not in (None, [])]
