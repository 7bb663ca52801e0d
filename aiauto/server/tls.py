"""The certificate by which a server speaks HTTPS."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

from aiauto.errors import AIAutoError
from aiauto.server.regularly import regularly

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

LOOK_SECONDS = 60.0

logger: logging.Logger = logging.getLogger("aiauto.server")


class CertificateError(AIAutoError):
    """The certificate can't be used. The text says why and what to do."""


class Certificate:
    """A certificate and its key, read again when their files have changed.

    Certificates of today last for weeks, and whoever renews them should not have to stop trials.

    Attributes:
        context: What connections are accepted with.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        """Read the files.

        Args:
            cert: File with the certificate, and those between it and its authority, in PEM form.
            key: File with its key.

        Raises:
            CertificateError: They can't be read, or do not belong together.
        """
        self._cert, self._key = cert, key
        self.context: ssl.SSLContext = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._read_at = self._changed_at()
        self._load(self.context)

    async def keep_fresh(self, seconds: float = LOOK_SECONDS) -> NoReturn:
        """Look again and again whether the files have changed.

        Args:
            seconds: Pause between two looks.
        """
        await regularly(self._look, seconds, "The new certificate is not used")

    async def _look(self) -> None:
        changed_at = self._changed_at()
        if changed_at == self._read_at:
            return
        # One that is half written must not take the place of one that works.
        self._load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
        self._load(self.context)
        self._read_at = changed_at
        logger.info("using the certificate that is in %s now", self._cert)

    def _changed_at(self) -> tuple[int, int]:
        try:
            return self._cert.stat().st_mtime_ns, self._key.stat().st_mtime_ns
        except OSError as error:
            message = f"The certificate can't be read: {error.filename}: {error.strerror}."
            raise CertificateError(message) from error

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            # A password would be asked for at the terminal, where nobody may be.
            context.load_cert_chain(self._cert, self._key, password=_no_password)
        except _PasswordNeededError as error:
            message = f"The key in {self._key} has a password: store it without one."
            raise CertificateError(message) from error
        except (OSError, ssl.SSLError) as error:
            message = (
                f"{self._cert} and {self._key} can't be used as a certificate and its key: "
                f"{error.strerror or error}. Both must be in PEM form, and belong together."
            )
            raise CertificateError(message) from error


class _PasswordNeededError(Exception):
    pass


def _no_password() -> str:
    raise _PasswordNeededError
