"""The stage: source domains and an encoder in, a folder with the behaviour-tuned encoder out."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext import __version__
from recbole_ext.allocator import keep_freed_memory, out_of_memory_as
from recbole_ext.claims import claim
from recbole_ext.data.dataset import Dataset
from recbole_ext.encoders.pruning import keep_layers
from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.errors import TuningError
from recbole_ext.hashing import sha256_of
from recbole_ext.machine import device_in_words, forget_peak_device_memory, peak_device_memory_mb
from recbole_ext.tuning.corpus import Corpus, read_corpus
from recbole_ext.tuning.objectives import objective_class
from recbole_ext.tuning.settings import RECALL, TuneSettings
from recbole_ext.tuning.tuning import DEFAULT_OBJECTIVE, TunedEncoder, Tuning
from recbole_ext.tuning.unfinished import is_writer, last_checkpoint, unfinished
from recbole_ext.writing import explaining_failed_writes, replacing_folder, write_json, write_png

if TYPE_CHECKING:
    import numpy as np
    import torch

    from recbole_ext.tuning.objectives.base import Objective

log = logging.getLogger(__name__)

RECORD = "tuning.json"
TOO_LARGE = (
    "while tuning: lower batch_size (and raise accumulate to keep the step), max_tokens or max_items, or set "
    "gradient_checkpointing or precision: bfloat16."
)


@dataclass(frozen=True)
class TuneReport:
    """What a call of :func:`tune` did; ``record`` is the content of ``tuning.json`` in ``folder``."""

    folder: Path
    record: dict[str, Any]
    up_to_date: bool

    def lines(self) -> list[str]:
        """The report in words."""
        record = self.record
        if self.up_to_date:
            return [f"{self.folder}: up to date, nothing to do"]
        return [
            f"{self.folder}: {record['objective']} on {', '.join(record['sources'])}, "
            f"{record['examples']} examples, {record['seconds']:.0f} s, {record['tokens_per_second']:.0f} tokens/s",
            f"held-out loss {record['held_out_loss']}" if record["held_out_loss"] else "no held-out sequences",
            *(
                [f"recall@10 of the held-out sequences' next items, from before tuning on: {record['held_out_recall']}"]
                if record["held_out_recall"]
                else []
            ),
        ]


def tune(
    sources: Sequence[Dataset],
    encoder: str,
    out: Path | str,
    objective: str = DEFAULT_OBJECTIVE,
    checkpoint: Path | str | None = None,
    **settings: Any,
) -> TuneReport:
    """Tune ``encoder`` on the training splits of ``sources`` and write it to ``out``.

    ``out`` then holds what ``from_pretrained`` and the ``encode`` stage read, and ``tuning.json``: settings, sources,
    the curve of losses, speed. A folder that answers the same request is left as it is, and one that answers another
    is refused, for a tuning may have taken hours; an interrupted call leaves its
    last checkpoint in ``OUT.partial`` and the next one goes on from there. While another command makes ``out``, this
    one waits. Of processes that ``torchrun`` started, the first alone writes; see
    :class:`recbole_ext.tuning.trainer.ObjectiveTrainer` for what they train together.

    Args:
        sources: the source domains; their last two items per user are never seen.
        objective: one of ``recbole_ext.tuning.objectives.OBJECTIVES``.
        checkpoint: a RECFORMER state dict to begin from instead of the encoder's weights.
        settings: of the objective; see :mod:`recbole_ext.tuning.settings`.

    Raises:
        SourceDataError, ConfigurationError, EncoderError: see :func:`read_corpus` and :meth:`Objective.build`.
        TuningError: no usable sequences, ``out`` or ``OUT.partial`` is something else or another tuning, or memory
            runs out.
        WriteError: ``out`` or a checkpoint can't be written.
    """
    names = [source.name for source in sources]
    given = {
        **settings,
        "objective": objective,
        "sources": names,
        "checkpoint": str(checkpoint) if checkpoint else None,
    }
    wanted = TunedEncoder(Tuning.parse(given, "tune"), encoder, tuple(sources))
    out = Path(out).expanduser()
    if _finished(wanted, out) is None:
        _refuse_another(wanted, out)
    return _make_alone(wanted, encoder, out)


def _refuse_another(wanted: TunedEncoder, out: Path) -> None:
    """See that another finished tuning in ``out``, if there is one, is not replaced: it may have taken hours."""
    record = read_record(out)
    if record is None:
        return
    request = wanted.request()
    keys = {"objective": "objective", "checkpoint": "checkpoint", "encoder": "encoder_identity"}
    keys["sources"] = "source_requests"
    differing = [name for name, key in keys.items() if record.get(key) != request[name]]
    before, now = record.get("settings") or {}, request["settings"]
    differing += [key for key in {**before, **now} if before.get(key) != now.get(key)]
    raise TuningError(
        f"{out} holds another finished tuning, with other {' and '.join(differing) or 'number of processes'}: choose "
        "another --out, or remove that folder."
    )


def make_once(wanted: TunedEncoder, artifacts: Path) -> TuneReport:
    """See that the tuned encoder is below ``artifacts``, and those of the steps before it, whoever makes them."""
    encoder = wanted.encoder
    if isinstance(encoder, TunedEncoder):
        encoder = str(make_once(encoder, artifacts).folder)
    out = wanted.folder(artifacts)
    report = _make_alone(wanted, encoder, out)
    for line in report.lines():
        log.info("%s", line)
    return report


def _make_alone(wanted: TunedEncoder, encoder: str, out: Path) -> TuneReport:
    """:func:`_make`, after any other command that makes ``out``. Of several processes the writer claims it for all.

    One that is there is read where it is: the place may be somebody else's, or read-only.
    """
    if (found := _finished(wanted, out)) is not None:
        return found
    if not is_writer():
        return _make(wanted, encoder, out)
    with ExitStack() as held:
        with explaining_failed_writes(out):
            held.enter_context(claim(out.with_name(f".{out.name}.lock"), wait=True))
        return _make(wanted, encoder, out)


def _finished(wanted: TunedEncoder, out: Path) -> TuneReport | None:
    """What ``out`` says of itself, if it is what is wanted."""
    record = read_record(out)
    if record is None:
        return None
    for source in wanted.sources:
        source.require()
    return TuneReport(out, record, up_to_date=True) if record.get("request") == sha256_of(wanted.request()) else None


def _make(wanted: TunedEncoder, encoder: str, out: Path) -> TuneReport:
    """Make the tuned encoder ``out`` of ``encoder``, which is there."""
    tuning, sources = wanted.tuning, wanted.sources
    if out.exists() and not (out / RECORD).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise TuningError(f"{out} exists and was not written by `tune`: choose another --out.")
    if (found := _finished(wanted, out)) is not None:
        return found
    for source in sources:
        source.require()
    request = wanted.request()
    identity = sha256_of(request)
    corpus = read_corpus(sources, tuning.settings)
    names = [source.name for source in sources]
    with unfinished(out.with_name(out.name + ".partial"), identity, request) as checkpoints:
        training, held_out = split_sequences(corpus, tuning.settings)
        with out_of_memory_as(TuningError, TOO_LARGE):
            objective, lora = _build(tuning, encoder, replace(corpus, sequences=training))
        examples = objective.examples(training)
        if len(examples) < 2:
            raise TuningError(
                f"{', '.join(names)}: {len(examples)} training examples for {tuning.objective}, and contrast needs at "
                "least two. Use more source sequences (`sequences`, `held_out`) or another domain."
            )
        if tuning.settings.patience is not None and not objective.examples(held_out):
            raise TuningError(
                f"patience: of {len(corpus.sequences)} sequences none is held out; raise held_out, or leave it out."
            )
        trained = _train(objective, corpus, examples, held_out, tuning.settings, checkpoints)
        if lora is not None:
            lora.merge_and_unload()
        record = {
            "request": identity,
            "objective": tuning.objective,
            "encoder": wanted.base,
            "encoder_identity": request["encoder"],
            "checkpoint": request["checkpoint"],
            "sources": names,
            "source_requests": request["sources"],
            "settings": request["settings"],
            "processes": trained.processes,
            "users": len(corpus.sequences),
            "users_too_short": corpus.too_short,
            "items": len(corpus.texts),
            "examples": len(examples),
            "examples_of": _counted(examples, corpus, names),
            "seconds": round(trained.seconds, 2),
            "tokens_per_second": round(trained.tokens / trained.seconds, 1),
            "device": trained.device,
            "peak_device_memory_mb": trained.peak_device_memory_mb,
            "held_out_loss": [round(entry["eval_loss"], 4) for entry in trained.curve if "eval_loss" in entry],
            "held_out_recall": [round(entry[RECALL], 4) for entry in trained.curve if RECALL in entry],
            "curve": trained.curve,
            "version": __version__,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if is_writer():
            with replacing_folder(out) as temporary:
                objective.save(temporary)
                write_json(temporary / RECORD, record)
                _draw_curve(trained.curve, temporary / "loss.png")
        _part()
    return TuneReport(out, record, up_to_date=False)


def _build(tuning: Tuning, encoder: str, corpus: Corpus) -> tuple[Objective, Any]:
    """The objective with its encoder, and ``peft``'s tuner where it has put LoRA's additions into that.

    ``corpus`` holds the sequences that are tuned on and no other, because an objective may count them.
    """
    import torch
    from transformers.trainer_utils import set_seed

    from recbole_ext.tuning.dropout import set_dropout
    from recbole_ext.tuning.lora import add_lora

    settings = tuning.settings
    checkpoint = Path(tuning.checkpoint).expanduser() if tuning.checkpoint else None
    set_seed(settings.seed)  # for a new head's weights: whatever this process did before, it begins alike
    objective = objective_class(tuning.objective).build(resolve_encoder(encoder), corpus, settings, checkpoint)
    if settings.layers:
        keep_layers(objective.base, settings.layers)
    if settings.dropout is not None:
        set_dropout(objective.base, settings.dropout)
    if (device := own_accelerator()) is not None:
        objective.to(device)
    with torch.no_grad():
        objective.eval().prepare(corpus)
    objective.train()
    objective.tokens_read = 0
    lora = add_lora(objective.base, settings.lora_rank, settings.lora_alpha) if settings.lora_rank else None
    for parameter in objective.added():
        parameter.requires_grad_(True)
    if settings.gradient_checkpointing:
        objective.enable_gradient_checkpointing()
    return objective, lora


def own_accelerator() -> torch.device | None:
    """What this process tunes on, if it is no CPU: of several that ``torchrun`` started each has one of its own."""
    import torch

    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if kind is None or "LOCAL_RANK" not in os.environ:
        return kind
    return torch.device(kind.type, int(os.environ["LOCAL_RANK"]))


def _counted(examples: list[np.ndarray], corpus: Corpus, names: list[str]) -> dict[str, int]:
    """How many examples are of each source."""
    import numpy as np

    of_source = np.bincount(corpus.domains(np.array([rows[0] for rows in examples])), minlength=len(names))
    return dict(zip(names, of_source.tolist(), strict=True))


def split_sequences(corpus: Corpus, settings: TuneSettings) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The sequences that are tuned on and those held out, drawn by ``seed``.

    ``sequences`` below 1 keeps a subset, and a smaller fraction's subset is part of a larger one's.
    """
    import numpy as np

    order = np.random.default_rng(settings.seed).permutation(len(corpus.sequences))
    n_held_out = int(len(order) * settings.held_out)
    pool = order[n_held_out:]
    kept = pool[: max(2, round(len(pool) * settings.sequences))]
    return [corpus.sequences[i] for i in kept], [corpus.sequences[i] for i in order[:n_held_out]]


@dataclass(frozen=True)
class _Trained:
    """A training's log, the seconds it took, those before an interruption included, the tokens that all processes read
    in it, and how many those were; what
    the writer's ran on, in words, and the most that it held there, in MiB (``None`` on a CPU)."""

    curve: list[dict[str, float]]
    seconds: float
    tokens: int
    processes: int
    device: str
    peak_device_memory_mb: float | None


def _train(
    objective: Objective,
    corpus: Corpus,
    examples: list[np.ndarray],
    held_out: list[np.ndarray],
    settings: TuneSettings,
    checkpoints: Path,
) -> _Trained:
    """Train to the end, from the last of ``checkpoints`` if there is one."""
    import torch
    from transformers.trainer_utils import set_seed

    from recbole_ext.tuning.effort import Effort
    from recbole_ext.tuning.retrieval import QUERIES, Retrieval, StopsAtTheBest
    from recbole_ext.tuning.trainer import build_trainer

    set_seed(settings.seed)
    keep_freed_memory()
    # transformers sets a variable for tokenizers' threads only when it forks; ours are done before.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    evaluated = objective.examples(held_out[:QUERIES])
    trainer = build_trainer(objective, corpus, examples, evaluated, settings, checkpoints, sys.stderr.isatty())
    validation = None
    if evaluated:
        retrieval = Retrieval(held_out, len(corpus.texts), settings.seed)
        validation = StopsAtTheBest(trainer, retrieval, settings.patience, checkpoints)
        trainer.add_callback(validation)
    last = last_checkpoint(checkpoints)
    if last:
        log.info("going on from %s", last)
    effort = Effort(trainer, objective, last, lambda: validation.retrieval.seconds if validation else 0.0)
    trainer.add_callback(effort)
    forget_peak_device_memory()
    # RecBole's SINE module switches anomaly detection on for the whole process when it is imported.
    with torch.autograd.set_detect_anomaly(False), out_of_memory_as(TuningError, TOO_LARGE):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    seconds, tokens = effort.so_far()
    if validation:
        validation.restore_best(objective)
    objective.to("cpu")
    keep = ("loss", "eval_loss", RECALL, "learning_rate", "grad_norm", "epoch", "step")
    # A loss scaler's first steps may have a gradient that is no number, and JSON has none for it.
    curve = [
        {key: entry[key] for key in keep if key in entry and math.isfinite(entry[key])}
        for entry in trainer.state.log_history
    ]
    if not all(bool(value.isfinite().all()) for value in objective.parameters()):
        raise TuningError(
            "the tuning has diverged: some of the encoder's weights are no numbers any more. Lower learning_rate, or "
            f"take precision: bfloat16 or float32. {checkpoints.parent} holds what there is: remove it."
        )
    device = trainer.args.device
    memory = peak_device_memory_mb(device)
    return _Trained(curve, seconds, tokens, trainer.args.world_size, device_in_words(device), memory)


def _part() -> None:
    """Wait until the writer has written, and let go of the other processes, where ``torchrun`` started several."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def read_record(folder: Path) -> dict[str, Any] | None:
    """The content of ``tuning.json`` in ``folder``; ``None`` where there is none that can be read."""
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _draw_curve(curve: list[dict[str, float]], path: Path) -> None:
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for key, label in (("loss", "loss, training"), ("eval_loss", "loss, held out")):
        if points := _points(curve, key):
            axes.plot(*points, label=label, marker="o" if key == "eval_loss" else None)
    axes.set(xlabel="epoch", ylabel="loss")
    if points := _points(curve, RECALL):
        recalls = axes.twinx()
        recalls.plot(*points, label="recall@10 of the next item, held out", color="tab:green", marker="s")
        recalls.set(ylabel="recall@10")
    figure.legend(loc="outside upper center", ncols=3, fontsize="small")
    write_png(path, figure, dpi=120)


def _points(curve: list[dict[str, float]], key: str) -> tuple[list[float], list[float]] | None:
    """Epochs and values of the entries that have ``key``, if any has."""
    entries = [entry for entry in curve if key in entry]
    return ([entry["epoch"] for entry in entries], [entry[key] for entry in entries]) if entries else None
