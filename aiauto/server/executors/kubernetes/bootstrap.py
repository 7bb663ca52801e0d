"""What a Pod runs first, in an image of which nothing is known but that it has Python.

It reaches the Pod as text, and must do with the standard library of Python 3.10: it brings aiauto,
in exactly the version of the server, into an environment of its own, in which the image's packages
are seen, and goes on as a worker there.
"""

import importlib.util
import os
import shutil
import site
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NoReturn

HOME = Path("/opt/aiauto")
OLDEST = (3, 10)
# For so long a server that is away is waited for: it may be started again.
PATIENCE_SECONDS = 600
TIMEOUT_SECONDS = 60
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0
UNAUTHORIZED, SERVER_ERRORS = 401, 500
# Of `aiauto.runner.worker.Exit`.
DONE, SERVER_LOST, CANT_RUN = 0, 4, 78


def main() -> None:
    """Become a worker."""
    if sys.version_info < OLDEST:
        fail(f"The image has Python {sys.version.split()[0]}: aiauto needs 3.10 or newer.")
    for name in ("home", "work", "artifacts"):
        (HOME / name).mkdir(parents=True, exist_ok=True)
    # Modules are looked for where a program starts: there are none, and it may write.
    os.chdir(HOME / "work")
    wheel = download(os.environ["AIAUTO_WHEEL_URL"])
    python = environment_with(wheel)
    os.execv(python, [str(python), "-m", "aiauto.runner"])  # noqa: S606 - a program of our own


def download(url: str) -> Path:
    """Fetch the server's own code, as often as that takes."""
    target = HOME / url.rpartition("/")[2]
    token = os.environ["AIAUTO_ENROLLMENT_TOKEN"]
    request = urllib.request.Request(  # noqa: S310 - the server's own address
        url, headers={"Authorization": f"Bearer {token}"}
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                target.write_bytes(answer.read())
                return target
        except urllib.error.HTTPError as error:
            if error.code == UNAUTHORIZED:
                fail("There is nothing left to do here: the batch is over.", DONE)
            if error.code < SERVER_ERRORS:
                fail(f"The server at {url} answers {error.code}: {error.reason}.")
            problem: Exception = error
        except OSError as error:
            problem = error
        if time.monotonic() > deadline:
            fail(f"The server can't be reached at {url}: {problem}", SERVER_LOST)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def environment_with(wheel: Path) -> Path:
    """Make an environment with aiauto in it, by whatever installer the image has."""
    folder = HOME / "environment"
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", str(folder))
    is_virtual = sys.prefix != sys.base_prefix
    if is_virtual:
        # The image's Python is one of a virtual environment, which is passed over by that.
        lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
        own = next(folder.glob("lib/python*/site-packages"))
        (own / "image.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    has_pip = importlib.util.find_spec("pip") is not None
    uv = shutil.which("uv")
    # What such an image has installed is seen by pip, which then leaves it alone, and not by uv.
    if uv and not (is_virtual and has_pip):
        run(uv, "pip", "install", "--quiet", "--python", str(python), str(wheel))
    elif has_pip:
        options = ["--quiet", "--disable-pip-version-check", "--no-warn-script-location"]
        run(sys.executable, "-m", "pip", "--python", str(python), "install", *options, str(wheel))
    elif importlib.util.find_spec("ensurepip") is not None:
        run(str(python), "-m", "ensurepip", "--default-pip")
        run(str(python), "-m", "pip", "install", "--quiet", str(wheel))
    else:
        fail("The image has Python, but neither uv nor pip: add one of them to it.")
    return python


def run(*command: str) -> None:
    """Run a program to its end. What it prints is shown where it fails."""
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        fail(f"aiauto could not be installed into the image:\n{done.stdout[-4000:]}")


def fail(message: str, code: int = CANT_RUN) -> NoReturn:
    """End, with a message for the Pod's own log."""
    sys.stderr.write(f"{message}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
