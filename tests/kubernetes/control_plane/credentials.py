"""Who is who to a control plane: certificates of one authority, and kubeconfigs that hold them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

from tests.kubernetes import kubeconfigs

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """Files of a certificate and of its key."""

    certificate: Path
    key: Path


class Authority:
    """Whom a control plane believes, and who believes it.

    Attributes:
        certificate: File of its own certificate.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self.certificate = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.certificate))

    def issue(self, name: str, *addresses: str, group: str | None = None) -> Pair:
        """Make a certificate.

        Args:
            name: The user that its holder is.
            addresses: Under which its holder serves.
            group: The group that the user is in.
        """
        # Go refuses a certificate whose list of addresses is empty.
        places = addresses or ("client.invalid",)
        issued = self._authority.issue_cert(*places, common_name=name, organization_name=group)
        file = name.replace(":", "-")
        pair = Pair(self._folder / f"{file}.pem", self._folder / f"{file}.key.pem")
        issued.cert_chain_pems[0].write_to_path(str(pair.certificate))
        issued.private_key_pem.write_to_path(str(pair.key))
        return pair

    def kubeconfig(
        self, file: Path, server: str, user: Pair | str, *, namespace: str = "default"
    ) -> Path:
        """Write a kubeconfig that is good wherever it is copied.

        Args:
            file: Where to.
            server: Address of the API server.
            user: A client's certificate, or a token.
            namespace: The one of its context.

        Returns:
            The file.
        """
        if isinstance(user, str):
            credentials = {"token": user}
        else:
            credentials = {
                "client-certificate-data": _base64(user.certificate),
                "client-key-data": _base64(user.key),
            }
        cluster = {"server": server, "certificate-authority-data": _base64(self.certificate)}
        return kubeconfigs.write(file, cluster, credentials, namespace=namespace)


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode("ascii")
