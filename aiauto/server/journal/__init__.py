"""The journal of a workspace: what its studies and trials are made of."""

from aiauto.server.journal.journal import Journal
from aiauto.server.journal.ledger import Ledger, TrialChange
from aiauto.server.journal.overviews import Overviews
from aiauto.server.journal.rate import AppendRate
from aiauto.server.journal.snapshots import Snapshots

__all__ = ["AppendRate", "Journal", "Ledger", "Overviews", "Snapshots", "TrialChange"]
