"""Names that scripts for the released client import, and that nothing here needs."""

from __future__ import annotations

import os
from typing import Final

from aiauto import config

__all__ = ["AIAUTO_BASE_URL", "AIAUTO_INSECURE"]

AIAUTO_BASE_URL: Final[str] = os.environ.get(config.BASE_URL_VARIABLE) or config.HOSTED_URL
"""What a token without an address means, as the environment had it at first use."""

AIAUTO_INSECURE: Final[bool] = config.is_insecure()
"""Whether certificates go unchecked, as the environment had it at first use."""
