"""Features of models on datasets, exported into a zoo."""

from collections.abc import Sequence
from pathlib import Path

from spider_jax.errors import InputError
from spider_jax.extract.data.content import warn_of_equal_items
from spider_jax.extract.data.dataset import BrokenItemError, Dataset
from spider_jax.extract.export.import_features import import_spec
from spider_jax.extract.export.record import name_extractor, without_left_out
from spider_jax.extract.export.run import LEFT_OUT, Extraction, Settings, export, failures
from spider_jax.extract.models.encoder import Encoder
from spider_jax.extract.readers import FEATURES, model_spec, open_data, open_model
from spider_jax.extract.spec import Spec
from spider_jax.zoo.store import Skipped


def extract(
    models: Sequence[str],
    data: Sequence[str],
    out: str | Path,
    *,
    extractor: bool = False,
    dtype: str = "float32",
    batch: int | None = None,
    shard: tuple[int, int] = (1, 1),
    show_progress: bool = False,
    left_out: float = LEFT_OUT,
) -> Extraction:
    """Export the features of models on datasets into a zoo; what is there already is kept.

    A call that was interrupted goes on where it stopped. Several processes, on machines that see
    the folder, share the work by `shard`; the process that ends last joins the parts.

    Args:
        models: [NAME=]READER:WHAT[?options], with torch:module:factory, timm:NAME,
            torchvision:NAME, hf:NAME, onnx:FILE#tensor, static:FILE or features:FILE.
        data: [NAME=]READER:WHAT[?options], with folder:PATH, arrays:FILE.npz,
            tfds:NAME[/config]:split, csv:FILE, parquet:FILE or hf:NAME:split.
        out: folder of the zoo.
        extractor: make the model the zoo's general extractor; there must be only one model.
        dtype: "float16" or "float32"; a value beyond 65,504 makes a file float32.
        batch: rows encoded together; default: as memory allows, at most 64.
        shard: (i, n), i from 1 to n: do the i-th of n parts.
        show_progress: whether to show bars on stderr.
        left_out: the share of a dataset's items that are left out where they cannot be read. They
            are problems, by name; with more of them the dataset fails, what was encoded is kept,
            and once they are mended the same call goes on.

    Returns:
        What was written, what was there, what waits for other shards, and the problems. A model or
        dataset that fails is a problem and does not stop the others.

    Raises:
        InputError: no model or no data, a spec of a model that cannot be read, or several models
            where one is to be the extractor.
    """
    settings = Settings(dtype, batch, shard, show_progress, left_out)
    specs = [model_spec(text) for text in models]
    if not specs or not data:
        raise InputError("extract needs at least one model and one dataset")
    if extractor and len(specs) > 1:
        raise InputError(f"one model can be the extractor, got {len(specs)}")
    zoo, result = Path(out), Extraction()
    run = any(spec.reader != FEATURES for spec in specs)
    datasets = _datasets(zoo, data, result, run)
    for spec in specs if datasets else ():
        with failures(result, spec.name or str(spec), None):
            encoder = None if spec.reader == FEATURES else open_model(spec)
            name = export_model(zoo, spec, encoder, datasets, settings, result)
            if extractor and (result.written or result.there):
                name_extractor(zoo, name)
    return result


def _datasets(zoo: Path, texts: Sequence[str], result: Extraction, run: bool) -> dict[str, Dataset]:
    found: dict[str, Dataset] = {}
    for text in texts:
        with failures(result, None, text):
            data = open_data(text)
            if data.name in found:
                raise InputError(f"two datasets are named {data.name!r}: write NAME={text}")
            if run and data.content is not None:
                warn_of_equal_items(data.content, data.where, data.source)
            found[data.name] = as_in_zoo(zoo, data, result)
    return found


def as_in_zoo(zoo: Path, data: Dataset, result: Extraction) -> Dataset:
    """The data without the rows that the zoo's task is made without; what is out is said.

    Args:
        zoo: its folder.
        data: of a task.
        result: whose problems name what is out.
    """
    data = without_left_out(zoo, data)
    if data.left_out:
        first = data.where(data.left_out[0])
        mended = sum(_can_be_read(data, row) for row in data.left_out)
        now = f", {mended} of them can be read now: for these too name it TASK2=..." * (mended > 0)
        message = (
            f"{len(data.left_out)} of {data.rows} rows are left out, as in {zoo}: {first}{now}"
        )
        result.problems.append(Skipped(None, data.name, message))
    return data


def _can_be_read(data: Dataset, row: int) -> bool:
    try:
        data.item(row)
    except Exception:  # of someone else's format, as when it was read first
        return False
    return True


def export_model(
    zoo: Path,
    spec: Spec,
    encoder: Encoder | None,
    datasets: dict[str, Dataset],
    settings: Settings,
    result: Extraction,
) -> str:
    """Export one model on all datasets.

    Args:
        zoo: its folder.
        spec: of the model.
        encoder: the model, ready to run; None where the spec names features that exist.
        datasets: by name; one whose items are broken for every model is taken out.
        settings: how features are exported.
        result: is given what was done, and the problems.

    Returns:
        The name that the model has in the zoo.
    """
    name = encoder.name if encoder is not None else spec.name or Path(spec.what).stem
    for task, data in list(datasets.items()):
        broken: dict[int, str] = {}
        try:
            with failures(result, name, task):
                if encoder is None:
                    import_spec(zoo, spec, name, data, settings.dtype)
                    done = "written"
                else:
                    done = export(zoo, encoder, data, settings, broken)
                getattr(result, done).append((name, task))
        except BrokenItemError as error:  # the items are broken for every model
            result.problems += [Skipped(None, task, message) for message in error.messages]
            del datasets[task]
        else:
            datasets[task] = without_left_out(zoo, data)
            out = [broken[row] for row in datasets[task].left_out if row in broken]
            result.problems += [Skipped(None, task, f"left out: {message}") for message in out]
    return name
