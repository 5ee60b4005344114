"""A minute version of a run, to see that RecBole works on this machine."""

from __future__ import annotations

from pathlib import Path


def try_recbole(folder: Path) -> float:
    """Train SASRec on a tiny made-up dataset below ``folder``, evaluate and resume; returns its NDCG@10.

    Raises whatever RecBole raises where it does not work.
    """
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    from recbole_ext.benchmark.protocol import PROTOCOL
    from recbole_ext.models import recbole_config
    from recbole_ext.training import prepare

    dataset = folder / "trial"
    dataset.mkdir(parents=True)
    lines = [f"u{user}\ti{(user + step) % 20}\t{step}" for user in range(30) for step in range(6)]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (dataset / "trial.inter").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    settings = {
        **PROTOCOL,
        "data_path": str(folder),
        "topk": [10],
        "epochs": 1,
        "hidden_size": 16,
        "inner_size": 16,
        "train_neg_sample_args": None,
        "show_progress": False,
        "checkpoint_dir": str(folder / "checkpoints"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    }
    config = recbole_config("SASRec", "trial", settings)
    checkpoint = folder / "checkpoints" / "trial.pth"
    run = prepare(config, checkpoint)
    run.fit()
    metrics = run.test()
    run.trainer.resume_checkpoint(checkpoint)
    return metrics["ndcg@10"]
