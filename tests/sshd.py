"""OpenSSH's sshd for tests, with its own keys, on a port of the loopback interface."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")

MISSING = (
    ""
    if SSHD and shutil.which("ssh") and shutil.which("ssh-keygen")
    else "ssh or sshd is not installed (Debian's packages are openssh-client and openssh-server)"
)
"""Why there is none; empty if there is one."""

PATIENCE = 30.0
"""How long it may take to listen, seconds."""


class Sshd:
    """
    A server for the user who runs the tests, and a configuration of ssh that gets in.

    :ivar port: where it listens.
    :ivar user: who may come.
    :ivar config: what to give ssh with ``-F``.
    """

    def __init__(self, directory: Path, port: int = 0) -> None:
        """
        :param directory: where its files go; it exists.
        :param port: where it is to listen; 0 for any that is free.
        """
        self.user = getpass.getuser()
        with socket.create_server(("127.0.0.1", port)) as free:
            self.port = free.getsockname()[1]
        self.config = directory / "ssh_config"
        self._directory = directory
        for name in ("host_key", "user_key"):
            generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name]
            subprocess.run(generate, check=True, timeout=PATIENCE)
        shutil.copy(directory / "user_key.pub", directory / "authorized_keys")
        self._write(
            "sshd_config",
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {directory}/host_key",
            f"AuthorizedKeysFile {directory}/authorized_keys",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "Subsystem sftp internal-sftp",
        )
        self._write(
            "ssh_config",
            "Host *",
            f"User {self.user}",
            "BatchMode yes",
            "IdentitiesOnly yes",
            f"IdentityFile {directory}/user_key",
            f"UserKnownHostsFile {directory}/known_hosts",
            "StrictHostKeyChecking accept-new",
            "LogLevel ERROR",
        )

    def _write(self, name: str, *lines: str) -> None:
        (self._directory / name).write_text("".join(f"{line}\n" for line in lines))

    def start(self) -> Sshd:
        """Start it, and wait until it listens."""
        if os.getuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # Where root's gives up its rights.
        log = self._directory / "sshd_log"
        assert SSHD, MISSING
        command = [SSHD, "-D", "-E", str(log), "-f", str(self._directory / "sshd_config")]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > end:
                    self.stop()
                    raise AssertionError(f"sshd does not listen:\n{log.read_text()}") from None
                time.sleep(0.05)
            else:
                return self

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
