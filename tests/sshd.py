"""An SSH server on loopback: runs what it is asked to run, until its stdin is closed.

It is run by an interpreter that has asyncssh: ``python sshd.py DIRECTORY`` makes the keys and
``DIRECTORY/ssh_config``, with which ``ssh -F`` reaches the server as ``loopback``.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

import asyncssh

CONFIG = """
Host loopback
    HostName 127.0.0.1
    Port {port}
    User nobody
    IdentityFile {key}
    IdentitiesOnly yes
    BatchMode yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
"""


async def run(process):
    pipe = subprocess.PIPE
    child = subprocess.Popen(process.command, shell=True, stdin=pipe, stdout=pipe, stderr=pipe)
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    process.exit(await asyncio.get_running_loop().run_in_executor(None, child.wait))


async def serve(directory):
    key = directory / "key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(key)
    key.chmod(0o600)
    asyncssh.read_private_key(key).write_public_key(directory / "key.pub")
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        authorized_client_keys=str(directory / "key.pub"),
        process_factory=run,
        encoding=None,
    )
    config = CONFIG.format(port=server.sockets[0].getsockname()[1], key=key)
    (directory / "ssh_config").write_text(config)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
