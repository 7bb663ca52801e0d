"""Studies."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from optuna.study import StudyDirection
from sqlalchemy import func, select

from aiauto.errors import AlreadyExistsError, InvalidArgumentError
from aiauto.server.batches.retries import SERVER_WORKER_ID
from aiauto.server.database.models import Study, TrialBatch, Workspace
from aiauto.server.journal.entries import Operation
from aiauto.server.messages import study_info
from aiauto.server.services.adoption import STUDY_NAME, adopt
from aiauto.server.services.calls import Calls
from aiauto.server.services.ownership import workspace_of
from aiauto.server.services.removal import end_batches

if TYPE_CHECKING:
    from aiauto_gen.connect import Context
    from sqlalchemy.orm import Session

MAX_DIRECTIONS = 100
MAX_SPEC_CHARACTERS = 8 * 1024 * 1024


class StudyCalls(Calls):
    """The calls about studies."""

    async def create_study(
        self, request: v1.CreateStudyRequest, context: Context
    ) -> v1.CreateStudyResponse:
        """Make a study, or open the one that has the same definition."""
        del context
        spec = request.spec or v1.StudySpec()
        wanted = _checked(spec)
        user_id = self._user_id

        def unit(session: Session) -> None:
            workspace = workspace_of(session, user_id)
            study = session.scalar(
                select(Study).where(
                    Study.workspace_id == workspace.id, Study.name == spec.study_name
                )
            )
            ledger = self._parts.journal.ledger(session, workspace.id)
            optuna_study_id = ledger.study_id(spec.study_name)
            if study is not None and optuna_study_id == study.optuna_study_id:
                if study.adopted:
                    _define(study, wanted)
                else:
                    _check_same(study, wanted)
                return
            if study is not None:
                # Deleted in the Optuna storage, by the dashboard for example.
                session.delete(study)
                session.flush()
            if optuna_study_id is None:
                directions = [
                    int(StudyDirection[one.upper()]) for one in wanted["directions"].split(",")
                ]
                entry = {
                    "op_code": int(Operation.CREATE_STUDY),
                    "worker_id": SERVER_WORKER_ID,
                    "study_name": spec.study_name,
                    "directions": directions,
                }
                self._parts.journal.append(session, workspace.id, [entry])
                optuna_study_id = ledger.study_id(spec.study_name)
            else:
                # Made directly in the Optuna storage: taken over if it is the same.
                known = ledger.studies[optuna_study_id].directions
                _check_directions(",".join(one.name.lower() for one in known), wanted)
            count = select(func.count()).where(Study.workspace_id == workspace.id)
            self._parts.limits.check_room(
                "max_studies",
                session.scalar(count),
                has="You have {} studies",
                advice="delete some",
            )
            session.add(
                Study(
                    workspace_id=workspace.id,
                    name=spec.study_name,
                    optuna_study_id=optuna_study_id,
                    **wanted,
                )
            )

        await self._parts.database.write(unit)
        return v1.CreateStudyResponse(study_name=spec.study_name)

    async def list_studies(
        self, request: v1.ListStudiesRequest, context: Context
    ) -> v1.ListStudiesResponse:
        """List the caller's studies, those that were made in the Optuna storage included."""
        del context
        user_id = self._user_id

        workspace_id = await self._parts.accounts.workspace_of(user_id)
        if workspace_id is None:
            return v1.ListStudiesResponse()
        # Before the batches are read, so that no trial of theirs seems to be somebody else's.
        there = await adopt(self._parts, workspace_id)

        def unit(session: Session) -> list[v1.StudyInfo]:
            studies = select(Study).where(Study.workspace_id == workspace_id)
            if request.study_name:
                studies = studies.where(Study.name == request.study_name)
            batches: defaultdict[int, list[TrialBatch]] = defaultdict(list)
            of_them = studies.with_only_columns(Study.id)
            for batch in session.scalars(
                select(TrialBatch).where(TrialBatch.study_id.in_(of_them))
            ):
                batches[batch.study_id].append(batch)
            return [
                study_info(
                    study,
                    user_id,
                    batches[study.id],
                    there.get(study.optuna_study_id),
                    include_best=request.include_best,
                )
                for study in session.scalars(studies.order_by(Study.id))
            ]

        return v1.ListStudiesResponse(studies=await self._parts.database.read(unit))

    async def delete_study(
        self, request: v1.DeleteStudyRequest, context: Context
    ) -> v1.DeleteStudyResponse:
        """Delete a study with its batches and trials. One that is not there is deleted already."""
        del context
        user_id = self._user_id

        theirs = Workspace.user_id == user_id, Study.name == request.name
        await end_batches(self._parts, "The study was deleted.", *theirs)
        workspace_id = await self._parts.accounts.workspace_of(user_id)
        if workspace_id is not None:
            # Before the study, which tells what its artifacts are.
            files = self._parts.files
            await files.call(files.retention.delete_of_study, workspace_id, request.name)

        def remove(session: Session) -> None:
            workspace = session.scalar(select(Workspace).where(Workspace.user_id == user_id))
            if workspace is None:
                return
            ledger = self._parts.journal.ledger(session, workspace.id)
            if (optuna_study_id := ledger.study_id(request.name)) is not None:
                entry = {
                    "op_code": int(Operation.DELETE_STUDY),
                    "worker_id": SERVER_WORKER_ID,
                    "study_id": optuna_study_id,
                }
                self._parts.journal.append(session, workspace.id, [entry])
            study = session.scalar(
                select(Study).where(Study.workspace_id == workspace.id, Study.name == request.name)
            )
            if study is not None:
                session.delete(study)

        await self._parts.database.write(remove)
        return v1.DeleteStudyResponse()


def _checked(spec: v1.StudySpec) -> dict[str, str]:
    """The columns of a study, from what a caller wants."""
    if not STUDY_NAME.fullmatch(spec.study_name):
        raise InvalidArgumentError(
            f"study_name is {spec.study_name[:100]!r}: use 1 to 63 letters, digits, '_', '-' and "
            "'.', the first and last a letter or digit."
        )
    if (spec.direction is None) == (spec.directions is None):
        raise InvalidArgumentError("direction, directions: give one of the two.")
    directions = (
        [spec.direction]
        if spec.direction is not None
        else (spec.directions.values if spec.directions is not None else [])
    )
    if not 0 < len(directions) <= MAX_DIRECTIONS:
        raise InvalidArgumentError(f"directions: give 1 to {MAX_DIRECTIONS} of them.")
    for direction in directions:
        if direction not in {"minimize", "maximize"}:
            raise InvalidArgumentError(
                f"direction is {direction[:50]!r}: it must be 'minimize' or 'maximize'."
            )
    for name, text in (("sampler_json", spec.sampler_json), ("pruner_json", spec.pruner_json)):
        if len(text) > MAX_SPEC_CHARACTERS:
            raise InvalidArgumentError(
                f"{name} has {len(text)} characters: at most {MAX_SPEC_CHARACTERS} are allowed."
            )
        if text and not _is_json_object(text):
            raise InvalidArgumentError(f"{name} must be empty or a JSON object.")
    return {
        "directions": ",".join(directions),
        "sampler_json": spec.sampler_json,
        "pruner_json": spec.pruner_json,
    }


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _check_directions(there: str, wanted: dict[str, str]) -> None:
    if there != wanted["directions"]:
        raise AlreadyExistsError(
            f"direction: the study exists with {there}, not {wanted['directions']}. Use another "
            "name, or delete the study."
        )


def _define(study: Study, wanted: dict[str, str]) -> None:
    _check_directions(study.directions, wanted)
    study.sampler_json, study.pruner_json = wanted["sampler_json"], wanted["pruner_json"]
    study.adopted = False


def _check_same(study: Study, wanted: dict[str, str]) -> None:
    _check_directions(study.directions, wanted)
    for column, argument in (("sampler_json", "sampler"), ("pruner_json", "pruner")):
        if _definition(getattr(study, column)) != _definition(wanted[column]):
            raise AlreadyExistsError(
                f"{argument}: the study {study.name!r} exists with another {argument}. Use another "
                f"name, or give the same {argument}, or delete the study."
            )


def _definition(text: str) -> dict[str, object]:
    """What a sampler or pruner is; pickled, two equal ones need not be equal."""
    spec: dict[str, object] = json.loads(text) if text else {}
    spec.pop("pickled", None)
    return spec
