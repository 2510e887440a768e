"""AlwaysAdmit and AlwaysDeny: for those who want to see what a chain does. Upstream has deprecated both."""

from __future__ import annotations

from tiphys.apiserver.admission.attributes import Attributes


class AlwaysAdmit:
    name = "AlwaysAdmit"

    def validate(self, attributes: Attributes) -> None:
        """Nothing is refused."""


class AlwaysDeny:
    name = "AlwaysDeny"

    def admit(self, attributes: Attributes) -> None:
        raise attributes.forbidden("admission control is denying all modifications")

    def validate(self, attributes: Attributes) -> None:
        self.admit(attributes)
