"""`make ui`: Dagster's pages over the history of a profile, with one line that says where to look.

Belongs here: starting Dagster's own server. Does not: what it shows (`definitions`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from geno_model.progress import Ticker
from geno_pipeline.config import ProfileError
from geno_pipeline.run import set_environment

REPOSITORY = Path(__file__).parents[1]
LINEAGE = "asset-graph"
_QUIET = {"PYTHONWARNINGS": "ignore:Function `dev_command` is superseded"}  # by a tool that wants another layout


def serve(profile_name: str | None, data: Path | None, port: int) -> int:
    """Serve the UI on this machine until ctrl-C. Returns the exit code.

    Raises:
        ProfileError: the profile cannot be used, or something else listens on the port.
    """
    set_environment(profile_name, data)
    address = f"http://localhost:{port}"
    if _answers(address):
        raise ProfileError(f"--port: something listens at {address} already, expected a free port; name another")
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(REPOSITORY / "workspace.yaml"), "-p", str(port)]
    server = subprocess.Popen([*command, "--log-level", "warning"], env=os.environ | _QUIET)
    try:
        with Ticker(_say) as ticker:
            ticker.begin("starting Dagster")
            while server.poll() is None and not _answers(address):
                time.sleep(0.5)
        if server.poll() is None:
            _say(f"The lineage of all assets: {address}/{LINEAGE}   (ctrl-C ends the server)")
        return server.wait()
    except KeyboardInterrupt:
        server.wait()  # it has had the same signal
        return 0


def _answers(address: str) -> bool:
    try:
        with urlopen(f"{address}/server_info", timeout=2):
            return True
    except (URLError, OSError):
        return False


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
