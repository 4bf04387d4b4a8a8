"""fresh.py: a process that has imported achar and nothing else, and forks for each script that it is told of: a new
interpreter, but for the time that starting it takes. A line each of JSON: [script, arguments], and what it has printed,
to stdout and stderr, and its exit status."""

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import warnings


def serve():
    import achar.memo  # noqa: F401

    warnings.resetwarnings()
    for line in sys.stdin:
        script, arguments = json.loads(line)
        if script is None:
            return
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
            pid = os.fork()
            if pid == 0:
                signal.alarm(200)
                for descriptor, file in ((0, open(os.devnull)), (1, out), (2, error)):  # noqa: SIM115
                    os.dup2(file.fileno(), descriptor)
                sys.argv, sys.path[0] = [script, *arguments], os.path.dirname(script)
                runpy.run_path(script, run_name="__main__")
                return  # and leave, as every process does
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            texts = []
            for file in (out, error):
                file.seek(0)
                texts.append(file.read().decode())
        print(json.dumps([*texts, status]), flush=True)


class Interpreters:
    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip

    def run(self, script, *arguments):
        """What a new process prints that runs the script, which must succeed."""
        self._process.stdin.write(json.dumps([str(script), [*map(str, arguments)]]) + "\n")
        self._process.stdin.flush()
        out, error, status = json.loads(self._process.stdout.readline())
        assert status == 0, out + error
        return out

    def close(self):
        self._process.stdin.write("[null, []]\n")  # processes that were forked here may have the pipe, too
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(120) == 0


if __name__ == "__main__":
    serve()
