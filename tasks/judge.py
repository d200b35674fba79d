"""Stage `judge`: the network that measures every generator of this data set, and what real images score."""

from pathlib import Path

from ganpress.checkpoint import save_model
from ganpress.config.judge import JudgeConfig
from ganpress.data.arrays import open_split
from ganpress.metrics.frechet import frechet_distance
from ganpress.metrics.inception_score import inception_score
from ganpress.metrics.judge import InceptionJudge, load_judge, save_inception_judge
from ganpress.metrics.scoring import array_batches, array_statistics, judge_batches
from ganpress.tracking import StageRun
from ganpress.training.judge import train_judge
from models.builders import Blueprint
from tasks.generator_training import CurveLog, checkpointing, write_json
from tasks.stage import Stage, require, stage_main


def work(stage: Stage, run: StageRun) -> None:
    """Train the classifier, or take Inception; then measure real test images as the floor of every score."""
    config = stage.section(JudgeConfig)
    prepared = require(stage.artifact("prepare") / "train.npy", "prepare").parent
    run.uses_data(prepared / "train.npy")
    path = stage.out / "judge.pt"
    if config.kind == "inception":
        judge = load_judge(config)
        assert isinstance(judge, InceptionJudge)
        save_inception_judge(path, judge, config.weights)
        facts: dict[str, float] = {}
    else:
        facts = _train_classifier(stage, run, config, prepared, path)
    metrics = facts | _real_floor(stage, prepared, path)
    write_json(stage.out / "metrics.json", metrics)
    run.log_metrics(metrics)
    run.produces_model(path, family="judge", params=config.model_dump(), metrics=metrics)


def _train_classifier(stage: Stage, run: StageRun, config: JudgeConfig, prepared: Path, path: Path) -> dict[str, float]:
    train, validation, test = (open_split(prepared, split) for split in ("train", "validation", "test"))
    resume = checkpointing(stage, [prepared / "train.npy", prepared / "train_labels.npy"])
    trained = train_judge(train, validation, test, config, stage.seed, resume)
    CurveLog(stage, run).complete(trained.curve)
    network = trained.judge
    arguments = {
        "channels": train.channels,
        "classes": network.head.out_features,
        "width": config.width,
        "features": config.features,
    }
    save_model(path, network, Blueprint("classifier", dict(arguments)))
    resume.path.unlink(missing_ok=True)
    return {"accuracy_test": trained.accuracy_test, "temperature": network.temperature.item()}


def _real_floor(stage: Stage, prepared: Path, path: Path) -> dict[str, float]:
    """Score real images: IS of the test split, and its Fréchet distance to the train split."""
    judge = load_judge(path)
    seen = judge_batches(array_batches(prepared / "test.npy"), judge)
    test = array_statistics(prepared / "test.npy", judge)
    train = array_statistics(prepared / "train.npy", judge)
    count = len(seen.features)
    return {
        f"is_real_{count}_test_{judge.name}": inception_score(seen.probabilities, 10, stage.seed).mean,
        f"fid_real_{count}_test_{judge.name}": frechet_distance(train, test),
    }


if __name__ == "__main__":
    raise SystemExit(stage_main("judge", work))
