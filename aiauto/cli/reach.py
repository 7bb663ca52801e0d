"""Which server the command speaks with, and the studies there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiauto.errors import NotFoundError

if TYPE_CHECKING:
    from aiauto_gen.aiauto import v1

    from aiauto.config import Embedded, Remote
    from aiauto.connection import Connection
    from aiauto.controller import AIAutoController
    from aiauto.study import StudyWrapper


@dataclass
class Chosen:
    """The server that the options in front of the command name.

    Attributes:
        base_url: Its address.
        token: The token for it.
    """

    base_url: str | None = None
    token: str | None = None


chosen: Chosen = Chosen()


def target() -> Remote | Embedded:
    """Which server is meant: options before variables before the stored login."""
    from aiauto import config  # noqa: PLC0415 - help needs none of it

    return config.resolve(chosen.token, chosen.base_url)


def connection() -> Connection:
    """The way to that server, with a workspace there. It is started if it is this machine's own."""
    found = server()
    found.workspace()  # a token that is not good is told with advice
    return found


def server() -> Connection:
    """The same, whether or not there is a workspace."""
    from aiauto.connection import connect_to  # noqa: PLC0415 - as above

    return connect_to(target())


def controller() -> AIAutoController:
    """The SDK's controller for that server."""
    from aiauto.controller import AIAutoController  # noqa: PLC0415 - as above

    return AIAutoController(chosen.token, chosen.base_url)


def spec_of(found: Connection, study_name: str) -> v1.StudySpec | None:
    """What a study is; None where there is none of that name."""
    info = _find(found, study_name)
    return None if info is None else _spec(info)


def study(found: Connection, study_name: str) -> StudyWrapper:
    """Open a study that is there.

    Raises:
        NotFoundError: There is none of that name.
    """
    return wrapped(found, study_info(found, study_name))


def wrapped(found: Connection, info: v1.StudyInfo) -> StudyWrapper:
    """A study that was asked for, as scripts have it."""
    from aiauto.study import StudyWrapper  # noqa: PLC0415 - as above

    return StudyWrapper(found, _spec(info))


def study_info(found: Connection, study_name: str) -> v1.StudyInfo:
    """Ask for a study that is there.

    Raises:
        NotFoundError: There is none of that name.
    """
    info = _find(found, study_name)
    if info is None:
        message = f"There is no study {study_name!r}: `aiauto study list` shows those there are."
        raise NotFoundError(message)
    return info


def _find(found: Connection, study_name: str) -> v1.StudyInfo | None:
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - as above

    # A server of the hosted schema lists all, whatever it is asked for.
    listed = found.service.list_studies(v1.ListStudiesRequest(study_name=study_name)).studies
    return next((one for one in listed if one.study_name == study_name), None)


def _spec(info: v1.StudyInfo) -> v1.StudySpec:
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - as above

    spec = v1.StudySpec(
        study_name=info.study_name,
        sampler_json=info.sampler_json,
        pruner_json=info.pruner_json,
    )
    if info.directions:
        spec.directions = v1.DirectionList(values=list(info.directions))
    else:
        spec.direction = info.direction
    return spec


def batch(found: Connection, trialbatch_name: str) -> v1.TrialBatchInfo:
    """Ask for a batch.

    Raises:
        NotFoundError: There is none of that name.
    """
    from aiauto_gen.aiauto import v1  # noqa: PLC0415 - as above

    answer = found.service.get_trial_batch(v1.GetTrialBatchRequest(name=trialbatch_name))
    return answer.trial_batch or v1.TrialBatchInfo(name=trialbatch_name)
