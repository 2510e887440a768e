"""Where the content of a volume comes from. Most sources only have fields that must be there."""

from __future__ import annotations

import re
from collections.abc import Callable

from tiphys.api.core.validation.paths import no_backsteps
from tiphys.api.resource import Object
from tiphys.api.validation import Errors, by_rule, dns_label, dns_subdomain, in_range, one_of, required_name
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path

SourceCheck = Callable[[Object, Path], Errors]

ONLY_ONE = "may not specify more than 1 volume type"
DRIVER_NAME_LIMIT = 63
_HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_QUALIFIER_FORMATS = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9\-.]+)(:[^,;*&$|\s]+)$", re.ASCII),
    "eui": re.compile(r"^eui.[A-Za-z0-9]{16}$", re.ASCII),
    "naa": re.compile(r"^naa.[A-Za-z0-9]{32}$", re.ASCII),
}
_HOST_PORT = "must be a host:port pair or multiple pairs separated by commas"
_MANAGED_DISK = (
    "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
)
_BLOB_DISK = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"


def required(*fields: str) -> SourceCheck:
    """A check that these fields are there."""

    def check(source: Object, path: Path) -> Errors:
        return [FieldError.required(path.child(field)) for field in fields if not source.get(field)]

    return check


def secret_reference(reference: Object | None, path: Path, *, namespaced: bool) -> Errors:
    """A `secretRef` of a driver: its name, and in a persistent volume its namespace."""
    if reference is None:
        return []
    fields = ("name", "namespace") if namespaced else ("name",)
    return required(*fields)(reference, path)


def host_path(source: Object, path: Path) -> Errors:
    if not source.get("path"):
        return [FieldError.required(path.child("path"))]
    errors = no_backsteps(source["path"], path.child("path"))
    if source.get("type") is not None:
        errors += one_of(source["type"], _HOST_PATH_TYPES, path.child("type"))
    return errors


def local(source: Object, path: Path) -> Errors:
    if not source.get("path"):
        return [FieldError.required(path.child("path"))]
    return no_backsteps(source["path"], path.child("path"))


def nfs(source: Object, path: Path) -> Errors:
    errors = required("server", "path")(source, path)
    exported = source.get("path") or ""
    if not exported.startswith("/"):
        errors.append(FieldError.invalid(path.child("path"), exported, "must be an absolute path"))
    return errors


def disk(identifier: str) -> SourceCheck:
    """A disk of a cloud, with a partition."""

    def check(source: Object, path: Path) -> Errors:
        errors = required(identifier)(source, path)
        partition = source.get("partition") or 0
        if not 0 <= partition <= 255:
            # The message is off by one: upstream's, kept.
            errors.append(FieldError.invalid(path.child("partition"), partition, names.range_message(1, 255)))
        return errors

    return check


def iscsi(source: Object, path: Path) -> Errors:
    errors = required("targetPortal", "iqn")(source, path)
    if iqn := source.get("iqn"):
        errors += _qualifier(iqn, path.child("iqn"))
    errors += in_range(source.get("lun") or 0, 0, 255, path.child("lun"))
    authenticated = source.get("chapAuthDiscovery") or source.get("chapAuthSession")
    if authenticated and source.get("secretRef") is None:
        errors.append(FieldError.required(path.child("secretRef")))
    if (initiator := source.get("initiatorName")) is not None:
        errors += _qualifier(initiator, path.child("initiatorname"))
    return errors


def _qualifier(text: str, path: Path) -> Errors:
    format = _QUALIFIER_FORMATS.get(text[:3])
    if format is None:
        return [FieldError.invalid(path, text, "must be valid format starting with iqn, eui, or naa")]
    return [] if format.search(text) else [FieldError.invalid(path, text, "must be valid format")]


def fibre_channel(source: Object, path: Path) -> Errors:
    targets, wwids = source.get("targetWWNs"), source.get("wwids")
    here = path.child("targetWWNs")
    errors: Errors = []
    if not targets and not wwids:
        errors.append(FieldError.required(here, "must specify either targetWWNs or wwids, but not both"))
    if targets and wwids:
        detail = "targetWWNs and wwids can not be specified simultaneously"
        errors.append(FieldError.invalid(here, targets, detail))
    if targets:
        if source.get("lun") is None:
            errors.append(
                FieldError.required(path.child("lun"), "lun is required if targetWWNs is specified")
            )
        else:
            errors += in_range(source["lun"], 0, 255, path.child("lun"))
    return errors


def quobyte(source: Object, path: Path) -> Errors:
    registry = source.get("registry")
    errors: Errors = []
    if not registry:
        errors.append(FieldError.required(path.child("registry"), _HOST_PORT))
    elif len(source.get("tenant") or "") >= 65:
        detail = "must be a UUID and may not exceed a length of 64 characters"
        errors.append(FieldError.required(path.child("tenant"), detail))
    else:
        bad = [pair for pair in registry.split(",") if pair.count(":") != 1]
        errors += [FieldError.invalid(path.child("registry"), registry, _HOST_PORT) for _ in bad]
    return errors + required("volume")(source, path)


def flocker(source: Object, path: Path) -> Errors:
    name, uuid = source.get("datasetName") or "", source.get("datasetUUID")
    errors: Errors = []
    if not name and not uuid:
        errors.append(FieldError.required(path, "one of datasetName and datasetUUID is required"))
    if name and uuid:
        detail = "datasetName and datasetUUID can not be specified simultaneously"
        errors.append(FieldError.invalid(path, "resource", detail))
    if "/" in name:
        errors.append(FieldError.invalid(path.child("datasetName"), name, "must not contain '/'"))
    return errors


def cinder(source: Object, path: Path) -> Errors:
    errors = required("volumeID")(source, path)
    return errors + secret_reference(source.get("secretRef"), path.child("secretRef"), namespaced=False)


def persistent_cinder(source: Object, path: Path) -> Errors:
    errors = required("volumeID")(source, path)
    return errors + secret_reference(source.get("secretRef"), path.child("secretRef"), namespaced=True)


def flex_volume(source: Object, path: Path) -> Errors:
    errors = required("driver")(source, path)
    for key in source.get("options") or {}:
        domain = "." + key.partition("/")[0].lower()
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            detail = "kubernetes.io and k8s.io namespaces are reserved"
            errors.append(FieldError.invalid(path.child("options").key(key), key, detail))
    return errors


def persistent_azure_file(source: Object, path: Path) -> Errors:
    errors = required("secretName", "shareName")(source, path)
    if source.get("secretNamespace") == "":
        errors.append(FieldError.required(path.child("secretNamespace")))
    return errors


def azure_disk(source: Object, path: Path) -> Errors:
    errors = required("diskName", "diskURI")(source, path)
    kind, uri = source.get("kind"), source.get("diskURI") or ""
    if (mode := source.get("cachingMode")) is not None:
        errors += one_of(mode, ("None", "ReadOnly", "ReadWrite"), path.child("cachingMode"))
    if kind is not None:
        errors += one_of(kind, ("Dedicated", "Managed", "Shared"), path.child("kind"))
        managed = kind == "Managed"
        if not uri.startswith("/subscriptions/" if managed else "https://"):
            supported = (_MANAGED_DISK if managed else _BLOB_DISK,)
            errors.append(FieldError.not_supported(path.child("diskURI"), uri, supported))
    return errors


def storage_os(source: Object, path: Path) -> Errors:
    return _storage_os(source, path, namespaced=False)


def persistent_storage_os(source: Object, path: Path) -> Errors:
    return _storage_os(source, path, namespaced=True)


def _storage_os(source: Object, path: Path, *, namespaced: bool) -> Errors:
    errors = required_name(names.dns1123_label, source.get("volumeName"), path.child("volumeName"))
    if source.get("volumeNamespace"):
        errors += dns_label(source["volumeNamespace"], path.child("volumeNamespace"))
    return errors + secret_reference(source.get("secretRef"), path.child("secretRef"), namespaced=namespaced)


def persistent_glusterfs(source: Object, path: Path) -> Errors:
    errors = required("endpoints", "path")(source, path)
    namespace = source.get("endpointsNamespace")
    here = path.child("endpointsNamespace")
    if namespace == "":
        detail = "if the endpointnamespace is set, it must be a valid namespace name"
        errors.append(FieldError.invalid(here, namespace, detail))
    elif namespace is not None:
        errors += by_rule(names.dns1123_label, namespace, here)
    return errors


def csi_driver_name(name: str, path: Path) -> Errors:
    errors: Errors = [] if name else [FieldError.required(path)]
    if len(name) > DRIVER_NAME_LIMIT:
        errors.append(FieldError.too_long(path, DRIVER_NAME_LIMIT))
    return errors + [FieldError.invalid(path, name, each) for each in names.dns1123_subdomain(name.lower())]


def csi(source: Object, path: Path) -> Errors:
    errors = csi_driver_name(source.get("driver") or "", path.child("driver"))
    reference = source.get("nodePublishSecretRef")
    if reference is None:
        return errors
    if not reference.get("name"):
        return [*errors, FieldError.required(path.child("nodePublishSecretRef", "name"))]
    return errors + dns_subdomain(reference["name"], path.child("name"))


def persistent_csi(source: Object, path: Path) -> Errors:
    errors = csi_driver_name(source.get("driver") or "", path.child("driver"))
    errors += required("volumeHandle")(source, path)
    for action in ("controllerPublish", "controllerExpand", "nodePublish", "nodeExpand"):
        reference = source.get(f"{action}SecretRef")
        if reference is not None:
            here = path.child(f"{action}SecretRef")
            errors += required_name(names.dns1123_subdomain, reference.get("name"), here.child("name"))
            errors += required_name(names.dns1123_label, reference.get("namespace"), here.child("namespace"))
    return errors
