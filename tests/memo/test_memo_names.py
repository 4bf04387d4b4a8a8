"""A file with several names: by each it is the same memo, in the process and in others."""

import os
import shutil
import threading

import achar
import achar.memo
import pytest

SCRIPT = """
import os, sys, achar
os.chdir(os.path.dirname(sys.argv[1]))
memo = achar.Memo(os.path.basename(sys.argv[1]))
print(memo.path, memo.get("before"), memo.get("large") == b"x" * 100_000)
memo.put("by " + sys.argv[1], 1)
"""


def no_attribute(*args):
    raise OSError(95, "not supported")


@pytest.mark.parametrize("has_attributes", [True, False])
def test_links_of_both_kinds(tmp_path, monkeypatch, interpreters, has_attributes):
    path, folder, calls = tmp_path / "m", tmp_path / "folder", []
    script = tmp_path / "script.py"
    without = "import os\ndef no(*args): raise OSError\nos.getxattr = os.setxattr = no\n"
    script.write_text(SCRIPT if has_attributes else without + SCRIPT)
    folder.mkdir()
    links = [tmp_path / "a link", tmp_path / "hard", folder / "hard"]
    if not has_attributes:
        monkeypatch.setattr(os, "getxattr", no_attribute)
        monkeypatch.setattr(os, "setxattr", no_attribute)
        links.pop()  # where its first name is cannot be known
    elif not has_them(tmp_path):
        pytest.skip("the file system has no attributes")
    with achar.Memo(path) as memo:
        memo.put("before", 1)
        memo.put("large", b"x" * 100_000)
    links[0].symlink_to(path)
    for link in links[1:]:
        os.link(path, link)

    def f(x):
        calls.append(x)
        begun.set()
        assert go.wait(60)
        return x

    for i, link in enumerate(links):
        begun, go = threading.Event(), threading.Event()
        with achar.Memo(link) as linked, achar.Memo(path) as memo:
            assert linked.path == memo.path == str(path) and linked.get("before") == 1
            threads = [threading.Thread(target=one(key="name")(f), args=(i,)) for one in (linked, memo)]
            threads[0].start()
            assert begun.wait(60)
            threads[1].start()
            go.set()
            for thread in threads:
                thread.join(60)
            assert calls == list(range(i + 1))
            assert interpreters.run(script, link) == f"{path} 1 True\n"
            assert memo.get(f"by {link}") == 1
    assert not [name for name in os.listdir(folder) if name != "hard"]


def has_them(folder):
    try:
        os.setxattr(folder, "user.test", b"")
    except OSError:
        return False
    return True


def test_a_copy_is_another_file(tmp_path):
    """Whatever it says it was."""
    path, copy = tmp_path / "m", tmp_path / "copy"
    with achar.Memo(path) as memo:
        memo.put("k", 1)
    shutil.copy2(path, copy)
    os.link(copy, tmp_path / "link")
    with achar.Memo(copy) as memo, achar.Memo(tmp_path / "link") as linked:
        assert memo.path == linked.path == str(copy)
        memo.put("k", 2)
        assert linked.get("k") == 2
    os.rename(copy, tmp_path / "moved")
    os.unlink(tmp_path / "link")
    with achar.Memo(tmp_path / "moved") as moved, achar.Memo(path) as memo:
        assert moved.path == str(tmp_path / "moved") and (moved.get("k"), memo.get("k")) == (2, 1)
