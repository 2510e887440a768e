"""From settings to the encryption of a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tiphys.api.scheme import built_in
from tiphys.apiserver.config_reloads import ConfigReloads
from tiphys.apiserver.settings import Settings
from tiphys.machinery.clock import Clock
from tiphys.store.interface import Store

if TYPE_CHECKING:
    from tiphys.apiserver.encryption.keeper import Keeper


def encryption(settings: Settings, store: Store, clock: Clock, reloads: ConfigReloads) -> Keeper | None:
    """None when nothing is to be encrypted: then not even the libraries are loaded. Raises ConfigurationError."""
    if not settings.encryption_provider_config:
        return None
    from tiphys.apiserver.encryption.keeper import Keeper
    from tiphys.apiserver.encryption.store import EncryptedStore

    # The groups that are built in keep their objects by the resource alone, all others are of definitions.
    own = {row.group for row in built_in()} | {"core"}
    encrypted = EncryptedStore(store, lambda group: group not in own)
    path = Path(settings.encryption_provider_config)
    return Keeper(path, encrypted, clock, reloads=reloads, reload=settings.encryption_reload)
