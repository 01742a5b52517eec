"""Writes implementations that are right but for one thing that they do, to themselves or others.

The thing is done where a call begins; what a fault returns in place of the result is `then`.
"""

SOURCE = """
import atexit, gc, locale, logging, multiprocessing, os, random, resource, shutil, signal, sys
import tempfile, threading, time, warnings
from multiprocessing import shared_memory
import numpy as np
{imports}
framework = "{framework}"
dtypes = ("float32",)
TOKEN = os.environ["FAULTS_TEST"]
calls, held = 0, []


class Mute(Exception):
    def __str__(self):
        raise RuntimeError
    __repr__ = __str__


class Leaving:
    def __del__(self):
        raise ValueError("left")


def own_folder():
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    shutil.rmtree(folder)


def children(count):
    for _ in range(count):
        if os.fork() == 0:
            time.sleep(1000)
            os._exit(0)


def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execve("/bin/sleep", [TOKEN, "1000"], {{}})
        os._exit(0)
    time.sleep(1)


def spin():
    while True:
        sum(range(1000))


def grow():
    while True:
        held.append(np.ones(2**24))
        time.sleep(0.02)


def shared():
    multiprocessing.current_process()._config["semprefix"] = "/" + TOKEN
    held.append(multiprocessing.Semaphore())
    held.append(shared_memory.SharedMemory(TOKEN, create=True, size=100))


def recurse():
    return recurse() + 1


def broken_pipes():
    for number in range(3, 64):
        try:
            os.write(number, b"\\x7f" * 4)
        except OSError:
            pass


def layer(x, h0, cell, nonlinearity):
    global calls
    calls += 1
    {always}
    if calls == 1:
        {does}
    h, output = h0, []
    for x_t in x:
        h = {tanh}(x_t @ cell[0].T + cell[2] + h @ cell[1].T + cell[3])
        output.append(h)
    output, h_n = {stack}(output), h
    {then}
    return output, h_n
"""

FRAMEWORKS = {
    "numpy": ("", "np.tanh", "np.stack"),
    "torch": ("import torch", "torch.tanh", "torch.stack"),
    "jax": ("import jax, jax.numpy as jnp", "jnp.tanh", "jnp.stack"),
}

# What is raised by every call, the verdict, and what the reason says, in part.
RAISES = {
    "keyboard": ("raise KeyboardInterrupt", "error", "raises KeyboardInterrupt"),
    "exit": ("sys.exit(7)", "error", "raises SystemExit(7)"),
    "generator_exit": ("raise GeneratorExit('g')", "error", "raises GeneratorExit: g"),
    "group": (
        "raise BaseExceptionGroup('both', [KeyboardInterrupt(), ValueError(1)])",
        "error",
        "raises BaseExceptionGroup: both",
    ),
    "mute": ("raise Mute", "error", "raises Mute"),
    "unpicklable": ("raise ValueError(threading.Lock(), lambda: 0)", "error", "raises ValueError"),
    "recursion": ("recurse()", "error", "raises RecursionError"),
}

# What the first call does besides.
DOES = {
    "dies": ("os._exit(5)", "error", "exited with code 5"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "error", "crashed with SIGKILL"),
    "segfault": ("os.kill(os.getpid(), signal.SIGSEGV)", "error", "crashed with SIGSEGV"),
    "aborts": ("os.abort()", "error", "crashed with SIGABRT"),
    "pipes_closed": ("os.closerange(0, 256)", "error", ""),
    "pipes_written": ("broken_pipes()", "error", "has broken the pipe that its answers take"),
    "grows": ("grow()", "error", "of memory and was stopped: 3.0 GB are allowed (--memory"),
    "spins": ("threading.Thread(target=spin, daemon=True).start()", "pass", ""),
    "thread": ("threading.Thread(target=time.sleep, args=(1000,)).start()", "pass", ""),
    "threads": (
        "[threading.Thread(target=time.sleep, args=(1000,)).start() for _ in range(200)]",
        "pass",
        "",
    ),
    "children": ("children(50)", "pass", ""),
    "daemon": ("daemon()", "pass", ""),
    "flood": ("[os.write(n, b'x' * 2**20) for n in (1, 2) for _ in range(200)]", "pass", ""),
    "folder": ("own_folder()", "pass", ""),
    "environment": ("os.environ.clear()", "pass", ""),
    "signals": (
        "[signal.signal(n, signal.SIG_IGN) for n in (signal.SIGTERM, signal.SIGCHLD)]",
        "pass",
        "",
    ),
    "errors": ("np.seterr(all='raise')", "pass", ""),
    "seeds": ("np.random.seed(1), random.seed(1)", "pass", ""),
    "patched_numpy": ("np.matmul = np.testing.assert_allclose = np.isfinite = None", "pass", ""),
    "patched_judge": (
        "import rnnparity.judging.verdict as verdict; verdict.judge = verdict.LIMIT = None",
        "pass",
        "",
    ),
    "limit": ("sys.setrecursionlimit(10**6)", "pass", ""),
    "modules": ("sys.modules.update(json=None, pickle=None)", "pass", ""),
    "silent": ("sys.stdout = sys.stderr = None", "pass", ""),
    "logging": ("logging.basicConfig(level=0); logging.disable()", "pass", ""),
    "warnings": ("warnings.simplefilter('error')", "pass", ""),
    "no_gc": ("gc.disable(); gc.freeze()", "pass", ""),
    "no_faults": ("__import__('faulthandler').disable()", "pass", ""),
    "nice": ("os.nice(19)", "pass", ""),
    "no_files": ("resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))", "pass", ""),
    "locale": ("locale.setlocale(locale.LC_ALL, 'C.UTF-8')", "pass", ""),
    "leaving": ("Leaving()", "pass", ""),
    "at_exit": ("atexit.register(time.sleep, 1000)", "pass", ""),
    "shared": ("shared()", "pass", ""),
}

# What is returned in place of the result.
THEN = {
    "nothing": ("return None", "fail", "returned a NoneType, expected"),
    "text": ("return 'ab'", "fail", "returned a str, expected"),
    "generator": ("return (a for a in (output, h_n))", "fail", "returned a generator, expected"),
    "three": ("return output, h_n, h_n", "fail", "returned a tuple of 3, expected"),
    "texts": ("return 'output', 'h_n'", "fail", "returned output as a str"),
    "one": ("return output, h_n[0]", "fail", "of shape"),
}

ONLY = {
    "numpy": {
        "lists": ("output = output.tolist()", "fail", "as a list"),
        "objects": ("output = output.astype(object)", "fail", "in object, expected"),
        "complex": ("output = output.astype('c8')", "fail", "in complex64, expected float32"),
        "nan": ("output = output * np.float32('nan')", "fail", "not a finite number"),
        "masked": ("output = np.ma.masked_array(output, output > 0)", "pass", ""),
        "columns": ("output = np.asfortranarray(output)", "pass", ""),
        "reversed": ("output = output[::-1].copy()[::-1]", "pass", ""),
        "readonly": ("output.setflags(write=False)", "pass", ""),
        "foreign": ("import torch; output = torch.from_numpy(output)", "fail", "as a Tensor"),
        "input": ("x[:] = 1", "fail", "changed its argument x in place"),
        "input_later": (
            "threading.Timer(0.01, x.fill, (1,)).start(); time.sleep(0.1)",
            "fail",
            "changed its argument x in place",
        ),
        "state": ("h0 += 1", "fail", "changed its argument h0 in place"),
        "view": ("output = x[:, :, :1] + 0 * output; output = x", "fail", "of shape"),
    },
    "torch": {
        "double": ("torch.set_default_dtype(torch.float64)", "pass", ""),
        "no_gradients": ("torch.set_grad_enabled(False)", "error", ""),
        "deterministic": ("torch.use_deterministic_algorithms(True)", "pass", ""),
        "array": ("output = output.detach().numpy()", "fail", "as a ndarray"),
        "detached": ("output = output.detach()", "error", ""),
        "sparse": ("output = output.to_sparse()", "fail", "expected a dense torch.Tensor"),
        "meta": ("output = output.to('meta')", "fail", "expected a dense torch.Tensor"),
        "input": ("x.data.fill_(1)", "fail", "changed its argument x in place"),
        "state": ("h0.data += 1", "fail", "changed its argument h0 in place"),
        "patched_torch": ("torch.tanh = torch.matmul = None", "error", ""),
    },
    "jax": {
        "single": ("jax.config.update('jax_enable_x64', False)", "pass", ""),
        "unjitted": ("jax.config.update('jax_disable_jit', True)", "pass", ""),
        "nans": ("jax.config.update('jax_debug_nans', True)", "pass", ""),
        "array": ("output = np.zeros(output.shape, 'f4')", "fail", ""),
        "keeps": ("held.append(x)", "pass", ""),
        "branches": ("output = output if output[0, 0, 0] > 0 else output", "error", ""),
        "cleared": ("jax.clear_caches()", "pass", ""),
    },
}

# Those that meet something of the framework's: its threads, its signals, its output. Of the others
# NumPy tells enough.
EVERYWHERE = (
    *("keyboard", "group", "mute", "dies", "killed", "segfault", "pipes_closed", "pipes_written"),
    *("grows", "spins", "thread", "children", "daemon", "flood", "environment", "signals"),
    *("errors", "patched_numpy", "warnings", "modules", "at_exit", "shared"),
    *("nothing", "generator", "three", "one"),
)


def faults(framework):
    """Return every fault that can occur: name to the verdict and a part of the reason."""
    return {name: told for name, (_, *told) in _all(framework).items()}


def write(folder, framework, name=None):
    """Write one into a folder, or a healthy one, and return its path.

    None is called like a module that another of them imports, and that would be found beside it.
    """
    code = "" if name is None else _all(framework)[name][0]
    parts = {"always": "", "does": "pass", "then": ""}
    parts["always" if name in RAISES else "does" if name in DOES else "then"] = code or "pass"
    path = folder / ("healthy.py" if name is None else f"a_{name}.py")
    imports, tanh, stack = FRAMEWORKS[framework]
    filled = {"imports": imports, "tanh": tanh, "stack": stack}
    path.write_text(SOURCE.format(framework=framework, **filled, **parts))
    return path


def _all(framework):
    found = RAISES | DOES | THEN
    if framework != "numpy":
        found = {name: found[name] for name in EVERYWHERE}
    return found | ONLY[framework]
