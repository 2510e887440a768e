"""The file of `--admission-control-config-file`: an AdmissionConfiguration says what single plugins are told.

A plugin's part stands in the file itself or in a file of its own, whose path is relative to the first one.
Form and rules are those of apiserver.config.k8s.io/v1 (https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

from tiphys.apiserver.settings import ConfigurationError
from tiphys.machinery import yaml
from tiphys.machinery.fields import FieldError
from tiphys.machinery.quoting import quote
from tiphys.machinery.yaml_lines import placed

Configuration = Mapping[str, Any]
"""What a plugin is told: the object of its configuration, which has an apiVersion and a kind of its own."""


class Told(dict[str, Any]):
    """A Configuration that knows where it stands: in a file, there below a field."""

    def __init__(self, found: Mapping[str, Any], file: Path, text: bytes, below: str = "") -> None:
        super().__init__(found)
        self.file, self.text, self.below = file, text, below

    def placed(self, problem: str) -> str:
        return f"{self.file}: {placed(self.text, problem, below=self.below)}"


FLAG = "--admission-control-config-file"
_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1")
_LEGACY = {"imagePolicy": "ImagePolicyWebhook", "podNodeSelectorPluginConfig": "PodNodeSelector"}
"""Two plugins are older than the AdmissionConfiguration: their own file may stand in its place."""


def read_configurations(path: str) -> Mapping[str, Configuration]:
    """What each plugin is told, by its name; nothing for an empty path. Raises ConfigurationError."""
    if not path:
        return {}
    file = Path(path)
    whole = _read(file)
    legacy = {plugin: whole for key, plugin in _LEGACY.items() if key in whole and "kind" not in whole}
    if legacy:
        return legacy
    if whole.get("apiVersion") not in _VERSIONS or whole.get("kind") != "AdmissionConfiguration":
        found = f"{whole.get('kind')} of {whole.get('apiVersion')}"
        raise _bad(whole, f"it is {found}, not an AdmissionConfiguration of {_VERSIONS[0]}")
    _only(whole, whole, ("apiVersion", "kind", "plugins"), "")
    plugins = whole.get("plugins")
    if not isinstance(plugins, list | NoneType):
        raise _bad(whole, "plugins: it is no list")
    configurations: dict[str, Configuration] = {}
    for position, plugin in enumerate(plugins or ()):
        name, found_configuration = _plugin(whole, plugin, f"plugins[{position}]")
        if found_configuration is not None:
            configurations.setdefault(name, found_configuration)
    return configurations


def _plugin(whole: Told, plugin: Any, where: str) -> tuple[str, Configuration | None]:
    if not isinstance(plugin, dict):
        raise _bad(whole, f"{where}: it is no object")
    _only(whole, plugin, ("name", "path", "configuration"), f"{where}.")
    name = plugin.get("name")
    if not isinstance(name, str | NoneType):
        raise _bad(whole, f"{where}.name: it is no string")
    if not name:
        raise _bad(whole, f"{where}.name: Required value")
    if plugin.get("path"):
        return name, _read(whole.file.parent / str(plugin["path"]))
    configuration = plugin.get("configuration")
    if configuration is None:
        return name, None
    if not isinstance(configuration, dict):
        raise _bad(whole, f"{where}.configuration: it is no object")
    return name, Told(configuration, whole.file, whole.text, f"{where}.configuration")


def _only(whole: Told, found: Configuration, known: Sequence[str], where: str) -> None:
    for name in sorted(set(found) - set(known)):
        raise _bad(whole, f"unknown field {quote(where + name)}")


def _read(file: Path) -> Told:
    try:
        text = file.read_bytes()
        loaded = yaml.load(text)
    except OSError as error:
        raise ConfigurationError(f"{FLAG}: {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{FLAG}: {file}: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise ConfigurationError(f"{FLAG}: {file}: it is no object")
    return Told(loaded, file, text)


def _bad(whole: Told, problem: str) -> ConfigurationError:
    return ConfigurationError(f"{FLAG}: {whole.placed(problem)}")


def refusal(plugin: str, told: Configuration | None, problem: str) -> ConfigurationError:
    """What to say of a plugin's part."""
    where = f"{plugin}: {problem}"
    return ConfigurationError(f"{FLAG}: {told.placed(where) if isinstance(told, Told) else where}")


# What plugins make of their part.


class BadConfiguration(ValueError):
    """What is wrong with a plugin's configuration; the chain says whose it is."""


def expect(configuration: Configuration, kind: str, versions: Sequence[str], fields: Sequence[str]) -> None:
    """Raises BadConfiguration unless it is of a kind, one of its versions, and has no other fields."""
    if configuration.get("kind") != kind or configuration.get("apiVersion") not in versions:
        found = f"{configuration.get('kind')} of {configuration.get('apiVersion')}"
        raise BadConfiguration(f"it is {found}, not a {kind} of {versions[0]}")
    refuse_unknown(configuration, ("apiVersion", "kind", *fields), "")


def refuse_unknown(found: Configuration, known: Sequence[str], where: str) -> None:
    for name in sorted(set(found) - set(known)):
        raise BadConfiguration(f"unknown field {quote(where + name)}")


def refuse(problems: Sequence[FieldError]) -> None:
    """Raises BadConfiguration with the first problem, if there is one."""
    if problems:
        raise BadConfiguration(str(problems[0]))
