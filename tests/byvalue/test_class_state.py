"""What becomes of a class's attributes when it comes again to a process that has changed them."""

import io
import pickle

import achar
import pytest
from peer import Peer


def make():
    class Counter:
        count = 0
        names = ["a"]  # noqa: RUF012

        def step(self):
            type(self).count += 1
            return self.count

    return Counter


def user():
    def use(data):
        """In the peer: loads the class, changes it, and tells what it has on arrival the next times."""
        import io
        import pickle

        import achar

        cls = achar.loads(data)
        cls().step()
        cls.names.append("b")
        cls.extra = 1
        seen = {}
        for name, load in (
            ("keep", lambda: achar.loads(data, class_state="keep")),
            ("keep, of a file", lambda: achar.load(io.BytesIO(data), class_state="keep")),
            ("reset", lambda: achar.loads(data, class_state="reset")),
        ):
            found = load()
            seen[name] = found is cls, found.count, found.names, hasattr(found, "extra")
        cls.count = 5
        seen["before"] = achar.set_class_state("keep")
        seen["process keeps"] = pickle.loads(data).count, achar.loads(data).count
        seen["but this load"] = achar.loads(data, class_state="reset").count
        cls.count = 6
        seen["after"] = achar.set_class_state("reset"), achar.set_class_state(None)
        seen["process resets"] = pickle.loads(data).count
        return seen

    return use


def test_keep_and_reset():
    Counter = make()
    with Peer() as peer:
        seen = peer(user(), achar.dumps(Counter))
    assert seen.pop("keep") == seen.pop("keep, of a file") == (True, 1, ["a", "b"], True)
    assert seen.pop("reset") == (True, 0, ["a"], False)
    assert (seen.pop("before"), seen.pop("after")) == ("reset", ("keep", "reset"))
    assert seen == {"process keeps": (5, 5), "but this load": 0, "process resets": 0}


def test_keep_is_no_reason_not_to_complete_a_class():
    def first(data):
        import achar

        found = achar.loads(data, class_state="keep")
        return found.count, found().step()

    with Peer() as peer:
        assert peer(first, achar.dumps(make())) == (0, 1)


def test_at_home_nothing_changes_it():
    Counter = make()
    data = achar.dumps(Counter)
    Counter.count = 3
    assert achar.loads(data, class_state="reset").count == 3


def test_an_executor_keeps_it_if_its_workers_are_told():
    Counter = make()
    with achar.Executor(1) as executor:
        assert [executor.submit(Counter().step).result() for _ in range(3)] == [1, 1, 1]
    with achar.Executor(1, initializer=achar.set_class_state, initargs=("keep",)) as executor:
        assert [executor.submit(Counter().step).result() for _ in range(3)] == [1, 2, 3]


def test_bad_choices():
    for choice in ("Keep", 1, b"keep"):
        with pytest.raises(ValueError, match="class_state is 'reset', 'keep' or None"):
            achar.loads(b"N.", class_state=choice)
        with pytest.raises(ValueError, match="class_state is 'reset', 'keep' or None"):
            achar.set_class_state(choice)
    with pytest.raises(TypeError):
        achar.pickle.loads(b"N.", class_state="keep")
    with pytest.raises(TypeError):
        achar.pickle.load(io.BytesIO(pickle.dumps(1)), class_state="keep")
