"""Stage `judge`: the network that measures every generator of this data set, and the scores of real images."""

from pathlib import Path

from ganpress.config.judge_section import JudgeConfig
from ganpress.data.prepared.arrays import open_split, read_meta
from ganpress.data.prepared.generator_inputs import open_inputs
from ganpress.data.prepared.pairs import open_pairs
from ganpress.errors import DataError, QualityGateFailed
from ganpress.evaluation.measurement import open_truth
from ganpress.files.checkpoint import save_model
from ganpress.metrics.distributions.frechet import frechet_distance
from ganpress.metrics.distributions.inception_score import inception_score
from ganpress.metrics.judges.feature_networks import Judge, load_external_judge, load_judge, save_external_judge
from ganpress.metrics.judges.judge_output import label_maps
from ganpress.metrics.judges.segmentation import SegmentationScores
from ganpress.metrics.samples.truth import SegmentationMeter
from ganpress.metrics.scoring import array_batches, array_features, array_statistics
from ganpress.tracking import StageRun
from ganpress.training.judge_examples import Examples, examples_for
from ganpress.training.judge_training import train_judge
from ganpress.training.loop import TrainingRun
from tasks.shared.generator_training import CurveLog, checkpointing, write_json
from tasks.shared.stage import Stage, require, stage_main

SPLITS = 10
"""Number of splits of the Inception Score of real images."""


def work(stage: Stage, run: StageRun) -> None:
    """Train the judge or load it from a file; then score real test images as the reference of every score."""
    config = stage.section(JudgeConfig)
    prepared = require(stage.artifact("prepare") / "train.npy", "prepare").parent
    run.uses_data(prepared / "train.npy")
    path = stage.out / "judge.safetensors"
    if config.trained:
        facts = _train(stage, run, config, prepared, path)
    else:
        save_external_judge(path, load_external_judge(config.kind, config.weights), config.weights)
        facts = {}
    facts |= _real_floor(stage, config, prepared, load_judge(path, stage.device))
    write_json(stage.out / "metrics.json", facts)
    run.log_metrics(facts)
    run.produces_model(path, family="judge", params=config.model_dump(), metrics=facts)


def _train(stage: Stage, run: StageRun, config: JudgeConfig, prepared: Path, path: Path) -> dict[str, float]:
    train, validation, test = _examples(config, prepared)
    files = [prepared / "train.npy", prepared / "train_labels.npy", *prepared.glob("train_sources.npy")]
    resume = checkpointing(stage, files)
    training = TrainingRun(stage.seed, stage.label, resume)
    trained = train_judge(train, validation, test, config, training, stage.device)
    CurveLog(stage, run, samples=False).complete(trained.curve)
    save_model(path, trained.judge, trained.blueprint)
    resume.forget()
    facts = {"accuracy_test": trained.accuracy_test}
    if config.kind == "classifier":
        facts["temperature"] = float(trained.judge.get_buffer("temperature"))
    return facts


def _examples(config: JudgeConfig, prepared: Path) -> tuple[Examples, Examples, Examples]:
    conditional = read_meta(prepared).conditioning is not None
    classes = int(open_split(prepared, "train").labels.max()) + 1
    train, validation, test = (
        examples_for(config, open_split(prepared, split), open_pairs(prepared, split) if conditional else None, classes)
        for split in ("train", "validation", "test")
    )
    return train, validation, test


def _real_floor(stage: Stage, config: JudgeConfig, prepared: Path, judge: Judge) -> dict[str, float]:
    """Score real test images: their Fréchet distance to the train split, and the other scores that this judge
    supports.
    """
    test = prepared / "test.npy"
    count = len(open_split(prepared, "test"))
    distance = frechet_distance(array_statistics(prepared / "train.npy", judge), array_statistics(test, judge))
    floor = {f"fid_real_{count}_test_{judge.name}": distance}
    seen = array_features(test, judge)
    if seen.probabilities is not None:
        score = inception_score(seen.probabilities, SPLITS, stage.seed)
        floor[f"is_real_{count}_test_{judge.name}"] = score.mean
    if config.kind == "segmenter":
        segmentation = _segmentation_of_real(stage, prepared, judge, count)
        floor[f"miou_real_{count}_test_{judge.name}"] = segmentation.mean_iou
        floor[f"pixel_accuracy_real_{count}_test_{judge.name}"] = segmentation.pixel_accuracy
        _gate(segmentation.pixel_accuracy, config)
    return floor


def _segmentation_of_real(stage: Stage, prepared: Path, judge: Judge, count: int) -> SegmentationScores:
    truth = open_truth(prepared, "test", open_inputs(prepared, "test"), stage.seed, "judge", count)
    if truth is None or truth.label_maps is None:
        raise DataError(
            "judge.kind 'segmenter' needs label maps, which only semantic data has; set "
            "judge.kind to classifier, rotations, domains, squeezenet or inception"
        )
    meter = SegmentationMeter(truth)
    for images in array_batches(prepared / "test.npy"):
        meter.update(label_maps(judge(images), judge.name))
    return meter.scores()


def _gate(accuracy: float, config: JudgeConfig) -> None:
    """Check a given segmentation network against the accuracy limit of a trained one."""
    if accuracy < config.min_accuracy:
        raise QualityGateFailed(
            f"the segmentation network {config.weights} labels {accuracy:.3f} of the real test pixels "
            f"correctly, but judge.min_accuracy is {config.min_accuracy}; give a network that was trained for "
            f"these label classes"
        )


if __name__ == "__main__":
    raise SystemExit(stage_main("judge", work))
