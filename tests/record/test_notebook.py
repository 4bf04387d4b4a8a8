"""Executor(progress=True) in notebooks: in a kernel, where Jupyter is installed; elsewhere by pretending."""

import subprocess
import sys
import textwrap

import pytest

CELL = """
    import sys
    for name in {hidden}:
        sys.modules[name] = None
    import achar
    def fails(n):
        return 1 // (n - 50)
    with achar.Executor(2, progress=True) as ex:
        ex.wait([ex.submit(fails, n) for n in range(100)])
    print("done")
"""
WIDGETS = "application/vnd.jupyter.widget-state+json"


def run_in_kernel(hidden):
    """(what the cell wrote to standard error, the values of its widgets)."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cell = nbformat.v4.new_code_cell(textwrap.dedent(CELL).format(hidden=hidden))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbclient.NotebookClient(notebook, timeout=150, startup_timeout=150, kernel_name="python3").execute()
    streams = {"stdout": "", "stderr": ""}
    for output in cell.outputs:
        if output.output_type == "stream":
            streams[output.name] += output.text
    assert streams["stdout"] == "done\n", cell.outputs
    state = notebook.metadata.get("widgets", {}).get(WIDGETS, {}).get("state", {})
    return streams["stderr"], [widget["state"] for widget in state.values()]


def test_a_kernel_shows_a_widget():
    pytest.importorskip("ipywidgets")
    pytest.importorskip("tqdm")
    text, widgets = run_in_kernel([])
    (bar,) = (widget for widget in widgets if widget["_model_name"] == "FloatProgressModel")
    assert (bar["value"], bar["max"], bar["bar_style"]) == (100, 100, "success")
    texts = [widget["value"] for widget in widgets if widget["_model_name"] == "HTMLModel"]
    assert any("1 failed" in text.replace("\u2007", " ") for text in texts), texts
    assert text == ""


def test_a_kernel_without_widgets_shows_a_line_of_tqdms():
    pytest.importorskip("tqdm")
    text, widgets = run_in_kernel(["ipywidgets"])
    assert "100/100" in text and "1 failed" in text and "Warning" not in text and not widgets


def test_a_kernel_without_tqdm_shows_a_line():
    text, _ = run_in_kernel(["tqdm"])
    assert "\rachar: 100% 100/100 tasks" in text and "1 failed" in text


@pytest.mark.parametrize("hidden, bar", [([], "100/100 ["), (["tqdm"], "100/100 tasks, ")])
def test_who_has_a_kernels_shell_gets_a_bar_without_a_terminal(hidden, bar):
    if not hidden:
        pytest.importorskip("tqdm")
    shell = """
        import sys, types
        class ZMQInteractiveShell: pass
        sys.modules["IPython"] = types.SimpleNamespace(get_ipython=ZMQInteractiveShell)
    """
    script = textwrap.dedent(shell) + textwrap.dedent(CELL).format(hidden=["ipywidgets", *hidden])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=150, check=True)
    assert done.stdout == "done\n" and bar in done.stderr and "1 failed" in done.stderr, done.stderr
