"""What surrounds a task: its environment, its folder, and who pickles it."""

import os
import pickle
import subprocess
import sys

import achar
import pytest


@pytest.fixture
def ex():
    with achar.Executor(1) as executor:
        yield executor


def look(*names):
    return os.getcwd(), [os.environ.get(name) for name in names]


def look_in_c(name):
    return subprocess.run(["/bin/sh", "-c", f"echo ${name}"], capture_output=True, text=True, check=True).stdout.strip()


def test_env_and_cwd_are_the_tasks_own(ex, tmp_path):
    home = os.getcwd()
    os.environ.pop("ACHAR_TEST_A", None)
    task = ex.options(env={"ACHAR_TEST_A": "1", "HOME": None}, cwd=tmp_path)
    names = "ACHAR_TEST_A", "HOME"
    assert task.submit(look, *names).result() == (str(tmp_path), ["1", None])
    assert task.submit(look_in_c, "ACHAR_TEST_A").result() == "1"
    assert list(task.map(look, ["HOME"])) == [(str(tmp_path), [None])]
    assert ex.submit(look, *names).result() == (home, [None, os.environ.get("HOME")])

    def spoil():
        os.environ["ACHAR_TEST_B"] = "left"
        os.chdir("/")
        raise ValueError("spoiled")

    with pytest.raises(ValueError, match="spoiled"):
        task.submit(spoil).result()
    assert ex.submit(look, "ACHAR_TEST_B").result() == (home, [None])
    with pytest.raises(FileNotFoundError):
        ex.options(cwd=tmp_path / "absent").submit(look).result()
    assert ex.submit(look).result() == (home, [])


def test_what_is_read_once_gets_workers_of_its_own(ex):
    def hash_of():
        import sys

        return sys.flags.hash_randomization, hash("x"), os.getpid()

    fixed = [ex.options(env={"PYTHONHASHSEED": "0"}).submit(hash_of).result() for _ in range(2)]
    assert fixed[0] == fixed[1] and fixed[0][0] == 0
    assert ex.submit(os.getpid).result() != fixed[0][2]
    seeds = [{"PYTHONHASHSEED": str(n)} for n in range(10)]  # more than are kept
    assert len({ex.options(env=seed).submit(hash_of).result()[1] for seed in seeds}) > 1


def test_workers_with_an_environment():
    with achar.Executor(1, env={"ACHAR_TEST_A": "2"}) as executor:
        assert executor.submit(look, "ACHAR_TEST_A").result()[1] == ["2"]


def modules():
    import cloudpickle
    import dill

    return {"cloudpickle": cloudpickle, "dill": dill, "achar": achar}


@pytest.mark.parametrize("name", ["cloudpickle", "dill", "achar"])
def test_serializers(name):
    with achar.Executor(2, serializer=modules()[name]) as executor:
        assert executor.submit(lambda x, *, y: x + y, 1, y=2).result() == 3
        assert list(executor.map(lambda x, y: x * y, range(50), range(50))) == [n * n for n in range(50)]
        assert executor.options(name="n", timeout=20).submit(pow, 2, 5).result() == 32
        with pytest.raises(ZeroDivisionError):
            executor.submit(lambda: 1 / 0).result()


def test_pickle_and_an_object():
    calls = []

    class Upper:
        def dumps(self, value):
            return pickle.dumps(value)

        def loads(self, data):
            calls.append(len(data))
            return pickle.loads(data)

    with achar.Executor(1, serializer=pickle) as executor:
        assert executor.submit(pow, 2, 3).result() == 8
        assert isinstance(executor.submit(lambda: 1).exception(), (pickle.PicklingError, AttributeError))
    with achar.Executor(1, serializer=Upper()) as executor:
        assert executor.submit(pow, 2, 3).result() == 8
    with pytest.raises(TypeError, match="dumps"):
        achar.Executor(1, serializer=object())


@pytest.mark.parametrize("flag", ["", "-B", "-O", "-OO", "-E", "-I", "-s", "-b", "-q", "-Xdev", "-Xutf8", "-Werror"])
def test_workers_get_the_interpreters_flags(flag):
    """The same as subprocess says, which is asked only if one is set that needs it."""
    program = (
        "import subprocess, sys; sys.path[:] = {!r}; from achar import _launch; flags = _launch.interpreter_flags(); "
        "assert flags == subprocess._args_from_interpreter_flags(), flags"
    )
    subprocess.run([sys.executable, *flag.split(), "-c", program.format(sys.path)], check=True, timeout=120)
