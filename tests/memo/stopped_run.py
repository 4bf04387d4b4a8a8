"""stopped_run.py FOLDER COUNT: a run of COUNT tasks with a memo is killed three times and then finishes; no task is
computed twice but for those that were in flight when the run was killed."""

import os
import random
import signal
import subprocess
import sys
import time

import achar

folder, count = sys.argv[1], int(sys.argv[2])
WORKERS = 2


def task(n):
    descriptor = os.open(os.path.join(folder, "log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b"%7d\n" % n)
    nbytes = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.close(descriptor)
    if nbytes >= 8 * int(os.environ["STOP_AT"]):
        time.sleep(600)  # here the run is killed
    return n * n


def computed():
    try:
        with open(os.path.join(folder, "log")) as file:
            return [int(line) for line in file]
    except FileNotFoundError:
        return []


def run():
    memo = achar.Memo(os.path.join(folder, "m"))
    with achar.Executor(WORKERS) as executor:
        tasks = executor.options(memo=memo)
        window, total = [], 0
        for n in range(count):
            window.append(tasks.submit(task, n))
            if len(window) == 64:  # so many are in flight at most
                total += window.pop(0).result()
        total += sum(future.result() for future in window)
    print(total)


if sys.argv[3:] == ["run"]:
    run()
    sys.exit()

chance = random.Random(3)
stopped, start = 0, time.monotonic()
for stop in (1, 2, 3):
    goal = count * stop // 4 + chance.randrange(20)
    os.environ["STOP_AT"] = str(goal)
    process = subprocess.Popen([sys.executable, __file__, folder, str(count), "run"], stdout=subprocess.DEVNULL)
    while len(computed()) < goal and process.poll() is None:
        time.sleep(0.002 if count < 10_000 else 0.05)
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        stopped += 1
    process.wait()
os.environ["STOP_AT"] = str(1 << 40)
last = subprocess.run([sys.executable, __file__, folder, str(count), "run"], capture_output=True, text=True, check=True)
assert int(last.stdout) == sum(n * n for n in range(count)), last.stdout
log = computed()
twice = len(log) - len(set(log))
assert set(log) == set(range(count))
assert twice <= 3 * (64 + WORKERS), twice
print(f"{count} tasks, stopped {stopped} times, {twice} computed twice (in flight), {time.monotonic() - start:.1f} s")
