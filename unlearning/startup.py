"""Starting TensorFlow: quietly, and with a thread pool of known size."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from unlearning.errors import InputError, one_line
from unlearning.progress import doing

logger = logging.getLogger(__name__)

_POOL_VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")

# NumPy's and SciPy's own linear algebra always has one thread. Its last bits depend on the number, as TensorFlow's do,
# but its threads wait for each other by spinning: two of them confined to one core took 80 times as long as one.
_SINGLE = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def choose_threads(threads: int | None = None) -> None:
    """Tells the numerical libraries how many threads to have, once they are imported; imports nothing.

    Args:
        threads: Size of TensorFlow's pools; None leaves it to TensorFlow.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.update(_SINGLE if threads is None else pool_variables(threads))


def open_standard_streams() -> None:
    """Gives a process whose standard streams are closed (`2>&-`) ones that go nowhere.

    Otherwise the first file that is opened takes the place of standard error, and what libraries print there,
    TensorFlow above all, ends up in a result.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))


def import_tensorflow(threads: int | None = None) -> None:
    """Imports TensorFlow without its start-up messages, which no setting silences since 2.19 (issue 100442 there).

    Whoever is about to compute calls it first. All that can be checked without numbers is checked before: TensorFlow
    takes seconds.

    Args:
        threads: Size of the pools of threads; None leaves it as it is, or to TensorFlow. Where TensorFlow has computed
            before, the size is what it was.

    Passes on an `InputError` if Keras is set up for something else; see `check_keras`.
    """
    check_keras()
    if threads is None and "tensorflow" in sys.modules:
        return
    choose_threads(threads)
    if "tensorflow" in sys.modules:
        _import_quietly(threads)
        return
    with doing("starting TensorFlow"):
        _import_quietly(threads)


def _import_quietly(threads: int | None) -> None:
    with quiet_errors():
        import tensorflow as tf

        if threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.config.list_physical_devices("GPU")  # the first look at the devices is as talkative


def quiet_notebook() -> None:
    """Starts TensorFlow in a notebook so that pages show results and nothing else: no start-up messages, no bars."""
    os.environ["TQDM_DISABLE"] = "1"
    import_tensorflow()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextlib.contextmanager
def quiet_errors() -> Iterator[None]:
    """Keeps what libraries in C++ write to standard error from it, unless what is done within fails."""
    with contextlib.suppress(OSError):  # nobody reads any more
        sys.stderr.flush()
    visible = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(visible, hidden.read())
            raise
        finally:
            os.dup2(visible, 2)
            os.close(visible)


def import_own(module: str) -> None:
    """Imports a module of the user's, which registers layers and functions with Keras. That runs its code.

    Args:
        module: Its name, found as Python finds it or in the working directory; or the path of a `.py` file.

    Raises:
        InputError: If there is none, or it fails.
    """
    import_tensorflow()
    try:
        if not module.endswith(".py"):
            if os.getcwd() not in sys.path:
                sys.path.append(os.getcwd())
            importlib.import_module(module)
            return
        spec = importlib.util.spec_from_file_location(Path(module).stem, module)
        if spec is None or spec.loader is None or not Path(module).is_file():
            raise InputError("import", "a module's name or an existing .py file", module)
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = loaded
        spec.loader.exec_module(loaded)
    except InputError:
        raise
    except Exception as error:  # whatever the module does
        raise InputError(f"Cannot import {module}: {type(error).__name__}: {one_line(error)}") from error


def check_keras() -> None:
    """Reads how Keras is set up on this machine, before it is imported.

    A precision other than float32 is said in one line, and records keep it.

    Raises:
        InputError: If it is set up for another backend, for images whose channels come first, or not at all as Keras
            understands it.
    """
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    path = Path(home).expanduser() / "keras.json"
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else "{}"
    except (OSError, UnicodeDecodeError):
        return  # Keras says what is wrong with it
    try:
        config = json.loads(text)
    except ValueError:
        config = {}  # as Keras takes it
    if not isinstance(config, dict):
        raise InputError(f"{path} must hold a JSON object, or be removed.")
    backend = os.environ.get("KERAS_BACKEND") or config.get("backend", "tensorflow")
    if backend != "tensorflow":
        source = "KERAS_BACKEND" if os.environ.get("KERAS_BACKEND") else str(path)
        raise InputError(f"{source} sets Keras up for the backend {backend!r}: set KERAS_BACKEND=tensorflow.")
    order = config.get("image_data_format", "channels_last")
    if order != "channels_last":
        raise InputError(
            f"{path} sets image_data_format to {order!r}, but images here have their channels last: set it to "
            "'channels_last', or KERAS_HOME to a folder without that file."
        )
    floats = config.get("floatx", "float32")
    if floats not in ("float16", "float32", "float64"):
        raise InputError(f"{path} sets floatx to {floats!r}; Keras knows float16, float32 and float64.")
    if not isinstance(config.get("epsilon", 1e-7), float):
        raise InputError(f"{path} sets epsilon to {config['epsilon']!r}; Keras takes a float such as 1e-07.")
    if floats != "float32" and "keras" not in sys.modules:
        logger.warning("%s sets Keras up for %s: models are built in it, and records say so.", path, floats)


def pool_variables(threads: int) -> dict[str, str]:
    """Returns the environment variables that give the numerical libraries pools of this size, once they start."""
    return {**dict.fromkeys(_POOL_VARIABLES, str(threads)), **_SINGLE}


def pool_size() -> int:
    """Returns the size of TensorFlow's pool of threads for one operation; it decides the last bits of large sums."""
    import tensorflow as tf

    chosen = tf.config.threading.get_intra_op_parallelism_threads() or os.environ.get(_POOL_VARIABLES[0])
    return int(chosen or 0) or len(usable_cores())


def device_names() -> list[str]:
    """Returns the names of the GPUs; empty where the processor computes."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]


def tensorflow_version() -> str:
    """Returns TensorFlow's version."""
    import tensorflow as tf

    return str(tf.__version__)


def usable_cores() -> list[int]:
    """Returns the numbers of the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def confine(cores: list[int]) -> None:
    """Keeps all threads of this process, present and future, on these cores (Linux; elsewhere nothing happens)."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(thread), cores)
        except OSError:  # the thread has ended, or the machine's owner forbids it
            continue
