"""The life of one Pod on a node."""

from __future__ import annotations

import asyncio
import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from tests.kubernetes.api.kinds import POD, Object, items, part
from tests.kubernetes.node import environment, volumes
from tests.kubernetes.node.containers import IMAGE_FOLDER, PATH, Container, Sandbox
from tests.kubernetes.node.environment import ConfigError, expand
from tests.kubernetes.node.images import Image, PullError
from tests.kubernetes.node.logs import Log
from tests.kubernetes.node.references import References
from tests.kubernetes.node.statuses import Story

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.kubernetes.node.images import Images
    from tests.kubernetes.node.reporting import Reporter

_PULL_REASONS: Final = {"ErrImagePull": "ImagePullBackOff"}


class PodLife:
    """Runs one Pod.

    Args:
        pod: The Pod, which is bound to the node.
        folder: Where its files go.
        claims: Where claims of storage are.
        images: The node's.
        reporter: Tells the API.
        backoff_seconds: How long it waits before it tries again what failed.
    """

    def __init__(
        self,
        pod: Object,
        folder: Path,
        claims: Path,
        images: Images,
        reporter: Reporter,
        backoff_seconds: float,
    ) -> None:
        self.pod = pod
        self._folder = folder
        self._claims = claims
        self._images = images
        self._reporter = reporter
        self._backoff = backoff_seconds
        self._story = Story()
        self._references = References(pod)
        self._volumes: dict[str, volumes.Volume] = {}
        self._sandbox = Sandbox({})
        self._ending = asyncio.Event()
        self._gone = asyncio.Event()
        folder.mkdir(parents=True)
        spec = pod["spec"]
        self._initial = [self._container(one) for one in items(spec, "initContainers")]
        self._main = [self._container(one) for one in spec["containers"]]
        first = "PodInitializing" if self._initial else "ContainerCreating"
        for container in (*self._initial, *self._main):
            container.state = {"waiting": {"reason": first}}

    def _container(self, spec: Object) -> Container:
        folder = self._folder / spec["name"]
        folder.mkdir()
        return Container(spec["name"], spec["image"], folder, Log(folder / "log"))

    # ------------------------------------------------------------------- what others tell it

    def changed(self, pod: Object) -> None:
        """The API has a newer version."""
        self.pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._ending.set()

    def removed(self) -> None:
        """The API has it no longer."""
        self._gone.set()
        self._ending.set()

    def evict(self, reason: str, message: str) -> None:
        """End it, because the node has no room."""
        self._story.reason, self._story.message = reason, message
        self._story.disrupted = message
        self._ending.set()

    def oom(self, name: str) -> None:
        """Kill a container as where memory runs out; the first where no name is given."""
        for container in self._main:
            if container.is_running and name in {"", container.name}:
                container.killed_for_memory = True
                container.signal(signal.SIGKILL)
                return
        raise AssertionError(f"no container {name} runs in {self.pod['metadata']['name']}")

    def log(self, name: str) -> Log | str:
        """What a container printed, or why there is nothing."""
        for container in (*self._initial, *self._main):
            if container.name == name:
                if "waiting" not in container.state:
                    return container.log
                where = f'container "{name}" in pod "{self.pod["metadata"]["name"]}"'
                reason: str = container.state["waiting"]["reason"]
                if reason == "ErrImagePull":
                    return f"{where} is waiting to start: image can't be pulled"
                if reason == "ImagePullBackOff":
                    return f"{where} is waiting to start: trying and failing to pull image"
                return f"{where} is waiting to start: {reason}"
        return f"container {name} not found"

    # ------------------------------------------------------------------------------ its life

    async def run(self) -> None:
        """Live, until the API has the Pod no longer."""
        try:
            await self._live()
            await self._ending.wait()
            if not self._gone.is_set():
                await self._reporter.remove(self.pod)
                await self._gone.wait()
        finally:
            await self.kill()
            shutil.rmtree(self._folder, ignore_errors=True)

    async def kill(self) -> None:
        """End all that runs at once."""
        for container in (*self._initial, *self._main):
            await container.kill()
        await self._sandbox.close()

    async def _live(self) -> None:
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        work = asyncio.create_task(self._work())
        asked = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait({work, asked}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not asked.done():
                self._story.reason = "DeadlineExceeded"
                self._story.message = (
                    "Pod was active on the node longer than the specified deadline"
                )
            if not work.done():
                await self._stop()
                await asyncio.wait({work}, timeout=0)
        finally:
            work.cancel()
            asked.cancel()
            with suppress(asyncio.CancelledError):
                await work
        self._story.end(self._initial, self._main)
        await self._report()

    async def _stop(self) -> None:
        """Ask what runs to end; kill what does not in time."""
        running = [one for one in (*self._initial, *self._main) if one.is_running]
        # Where the node has no room, nobody has time.
        grace = 0 if self._story.disrupted else self._grace()
        for container in running:
            await self._tell("Normal", "Killing", f"Stopping container {container.name}")
            container.signal(signal.SIGTERM if grace else signal.SIGKILL)
        ends = [asyncio.create_task(one.ended.wait()) for one in running]
        if ends:
            _, late = await asyncio.wait(ends, timeout=grace or None)
            for container in running:
                container.signal(signal.SIGKILL)
            await asyncio.gather(*late)

    def _grace(self) -> int:
        metadata = self.pod["metadata"]
        default: int = self.pod["spec"]["terminationGracePeriodSeconds"]
        return int(metadata.get("deletionGracePeriodSeconds", default))

    async def _work(self) -> None:
        """Everything from the volumes to the end of the last container."""
        if refused := self._refused():
            self._story.reason, self._story.message = "UnexpectedAdmissionError", refused
            return
        await self._report()
        await self._prepare()
        self._story.ready_to_start = True
        for container in self._initial:
            await self._go_through(container)
            if container.exit_code != 0:
                return
        for container in self._main:
            container.state = {"waiting": {"reason": "ContainerCreating"}}
        await asyncio.gather(*(self._go_through(one) for one in self._main))

    def _refused(self) -> str:
        spec = self.pod["spec"]
        if spec["restartPolicy"] != "Never":
            return (
                f"this node of the tests knows no restartPolicy {spec['restartPolicy']}, only Never"
            )
        if any(one.get("restartPolicy") for one in items(spec, "initContainers")):
            return "this node of the tests knows no sidecars (restartPolicy of a container)"
        probes = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle")
        asked = [name for one in spec["containers"] for name in probes if one.get(name)]
        return f"this node of the tests knows no {asked[0]}" if asked else ""

    async def _prepare(self) -> None:
        """Have the volumes; wait for what is not there yet."""
        while True:
            await self._references.fetch(self._reporter.client)
            try:
                folder = self._folder / "volumes"
                made = volumes.prepare(self.pod, self._references, folder, self._claims)
            except ConfigError as error:
                await self._tell("Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
                await asyncio.sleep(self._backoff)
                continue
            self._volumes, self._sandbox = made, Sandbox(made)
            await self._sandbox.start(self._parts())
            return

    def _parts(self) -> list[str]:
        """Folders in memory that containers ask for by `subPath`."""
        spec = self.pod["spec"]
        return [
            str(self._volumes[mount["name"]].folder / mount["subPath"])
            for container in (*spec["containers"], *items(spec, "initContainers"))
            for mount in items(container, "volumeMounts")
            if mount.get("subPath") and self._volumes[mount["name"]].tmpfs
        ]

    async def _go_through(self, container: Container) -> None:
        """Start a container as soon as it can be, and wait for its end."""
        spec = self._spec_of(container)
        image = await self._pull(container, spec)
        while True:
            try:
                launch = self._launch(container, spec, image)
                break
            except ConfigError as error:
                await self._wait(container, "CreateContainerConfigError", str(error))
                await self._tell("Warning", "Failed", f"Error: {error}")
                await asyncio.sleep(self._backoff)
                await self._references.fetch(self._reporter.client)
        await container.start(launch, self._sandbox)
        if container in self._main:
            self._story.phase = "Running"
        await self._tell("Normal", "Started", f"Started container {container.name}")
        end = asyncio.create_task(
            container.wait(fall_back=spec["terminationMessagePolicy"] == "FallbackToLogsOnError")
        )
        await self._report()
        await end
        await self._report()

    async def _pull(self, container: Container, spec: Object) -> Image:
        name, policy = container.image, spec["imagePullPolicy"]
        while True:
            present = self._images.is_here(name, policy)
            if not present:
                await self._tell("Normal", "Pulling", f'Pulling image "{name}"')
            try:
                image = self._images.pull(name, policy, self._references.pull_secrets())
            except PullError as error:
                await self._tell("Warning", "Failed", f'Failed to pull image "{name}": {error}')
                await self._wait(container, error.reason, error.message)
                await asyncio.sleep(self._backoff)
                if backing_off := _PULL_REASONS.get(error.reason):
                    told = f'Back-off pulling image "{name}"'
                    await self._tell("Normal", "BackOff", told)
                    await self._wait(container, backing_off, f"{told}: {error.reason}: {error}")
                    await asyncio.sleep(self._backoff)
                await self._references.fetch(self._reporter.client)
                continue
            told = f'Successfully pulled image "{name}"'
            if present:
                told = f'Container image "{name}" already present on machine'
            await self._tell("Normal", "Pulled", told)
            return image

    async def _wait(self, container: Container, reason: str, message: str) -> None:
        container.state = {"waiting": {"reason": reason, "message": message}}
        await self._report()

    def _spec_of(self, container: Container) -> Object:
        spec = self.pod["spec"]
        every = (*spec["containers"], *items(spec, "initContainers"))
        return next(one for one in every if one["name"] == container.name)

    def _launch(self, container: Container, spec: Object, image: Image) -> dict[str, Any]:
        """What the launcher is to make."""
        identity = self._identity(container, spec, image)
        pod = {**self.pod, "status": {**self.pod["status"], **self._reporter.addresses}}
        asked = environment.resolve(spec, pod, self._references)
        bins = f"{IMAGE_FOLDER}/bin:{PATH}" if image.prefix else PATH
        hostname = self.pod["spec"].get("hostname") or self.pod["metadata"]["name"]
        home = "/root" if identity["user"] == 0 else "/"
        base = {"PATH": bins, "HOSTNAME": hostname, "HOME": home, **image.environment}
        words = [*items(spec, "command"), *items(spec, "args")]
        if not spec.get("command"):
            raise ConfigError("Error: no command specified")
        mounts = volumes.mounts(spec, self._volumes, asked)
        words_file: Mapping[str, Any] = {
            "source": str(container.message_file),
            "target": spec["terminationMessagePath"],
            "read_only": False,
        }
        return {
            **identity,
            "command": [expand(word, asked) for word in words],
            "environment": {**base, **asked},
            "directory": spec.get("workingDir") or "/",
            "hostname": hostname[:63],
            "mounts": [*mounts, words_file],
            "prefix": str(image.prefix) if image.prefix else "",
            "image_folder": IMAGE_FOLDER,
        }

    def _identity(self, container: Container, spec: Object, image: Image) -> dict[str, Any]:
        of_pod: Object = part(self.pod["spec"], "securityContext")
        context = {**of_pod, **part(spec, "securityContext")}
        user: int = context.get("runAsUser", image.user)
        if context.get("runAsNonRoot") and user == 0:
            metadata = self.pod["metadata"]
            who = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
            raise ConfigError(
                f'container has runAsNonRoot and image will run as root (pod: "{who}", container: '
                f"{container.name})"
            )
        groups: list[int] = list(items(of_pod, "supplementalGroups"))
        groups += [of_pod["fsGroup"]] if of_pod.get("fsGroup") is not None else []
        return {
            "user": user,
            "group": context.get("runAsGroup", 0),
            "groups": groups,
            "read_only_root": bool(context.get("readOnlyRootFilesystem")),
            "no_new_privileges": context.get("allowPrivilegeEscalation") is False,
        }

    # ---------------------------------------------------------------------------- what it tells

    async def _report(self) -> None:
        if not self._gone.is_set():
            await self._reporter.report(self.pod, self._story, self._initial, self._main)

    async def _tell(self, severity: str, reason: str, message: str) -> None:
        await self._reporter.tell(POD, self.pod, severity, reason, message)
