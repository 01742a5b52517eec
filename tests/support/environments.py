"""New virtual environments, with something installed into them."""

import subprocess
import venv


def installed(folder, *what):
    """Return an interpreter of a new environment with this, and note what it had before."""
    venv.create(folder / "new", with_pip=True)
    python = folder / "new" / "bin" / "python"
    python.with_name("before.txt").write_text("\n".join(packages(python)))
    subprocess.run([python, "-m", "pip", "install", "-q", *what], check=True)
    return python


def packages(python):
    """Return the names of what is installed beside an interpreter."""
    code = "import importlib.metadata as m; print(*{d.name for d in m.distributions()}, sep='\\n')"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
