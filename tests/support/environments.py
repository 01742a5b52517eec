"""New virtual environments, with something installed into them."""

import subprocess
import venv
from importlib.util import find_spec
from pathlib import Path


def installed(folder, *what):
    """Return an interpreter of a new environment with this, and note what it had before."""
    venv.create(folder / "new", with_pip=True)
    python = folder / "new" / "bin" / "python"
    python.with_name("before.txt").write_text("\n".join(packages(python)))
    subprocess.run([python, "-m", "pip", "install", "-q", *what], check=True)
    return python


def beside(folder, *packages):
    """Return an interpreter of a new environment that has this one's packages of these names."""
    venv.create(folder, symlinks=True)
    home = next(folder.glob("lib*/python*/site-packages"))
    for name in packages:
        origin = Path(find_spec(name).origin)
        found = origin.parent if origin.name == "__init__.py" else origin
        (home / found.name).symlink_to(found)
        for told in found.parent.glob(f"{name}-*.dist-info"):
            (home / told.name).symlink_to(told)
        for library in found.parent.glob(f"{name}.libs"):
            (home / library.name).symlink_to(library)
    return folder / "bin" / "python"


def packages(python):
    """Return the names of what is installed beside an interpreter."""
    code = "import importlib.metadata as m; print(*{d.name for d in m.distributions()}, sep='\\n')"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
