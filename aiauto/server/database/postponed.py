"""Units of work that are put off: what they need takes long to make, and others must not wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future


class PostponedError(Exception):
    """Raised by a unit that is to be run again, from its beginning, once something is ready.

    Whoever asked for the unit sees nothing of it but the time that it takes. What the unit has done
    before it raised is undone, as with any other error.
    """

    def __init__(self, until: Future[None]) -> None:
        """Put a unit off.

        Args:
            until: Done when it is to be run again. What this raises, the unit raises.
        """
        super().__init__("the unit is run again when what it needs is ready")
        self.until = until
