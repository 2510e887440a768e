"""API aggregation: which server serves which group version, as APIServices say, and what follows from that.

Made with the API server and closed with it; `start` begins what runs by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tiphys.apiserver.aggregation.priorities import Priority
from tiphys.apiserver.aggregation.registration import Registration
from tiphys.apiserver.aggregation.services import GROUP, PLURAL, APIServices, priority_of
from tiphys.apiserver.openapi.library import EncodedPiece
from tiphys.machinery.gvk import GroupVersion

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer


class Aggregator:
    """What discovery and OpenAPI know of other servers, and who keeps APIServices."""

    def __init__(self, server: APIServer) -> None:
        self._server = server
        self.services = APIServices(server.writes.cache(GROUP, PLURAL))
        self.registration = Registration(server)

    @property
    def revision(self) -> int:
        """Rises whenever something that documents are made of may have changed."""
        return self.services.revision

    def start(self) -> None:
        self._server.spawn(self.registration.run())

    def priorities(self) -> Mapping[GroupVersion, Priority]:
        return {version: priority_of(service) for version, service in self.services}

    def remote(self) -> Mapping[GroupVersion, bytes]:
        return {}

    def index(self) -> Mapping[str, str]:
        return {}

    def pieces(self) -> Iterable[EncodedPiece]:
        return ()

    def close(self) -> None:
        self.registration.close()
        self.services.close()
