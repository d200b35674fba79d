import numpy as np
import pytest
from sklearn.metrics import accuracy_score, jaccard_score

from ganpress.errors import DataError
from ganpress.metrics.judges.segmentation import IGNORED, ConfusionMatrix


def maps(classes=5, seed=0, shape=(6, 9, 7)):
    """True and predicted label maps that agree in about half of the pixels."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, shape).astype(np.uint8)
    noise = random.integers(0, classes, shape).astype(np.uint8)
    return truth, np.where(random.random(shape) < 0.5, truth, noise)


def scores(truth, predicted, classes):
    return ConfusionMatrix(classes).update(truth, predicted).scores()


@pytest.mark.parametrize("classes", [2, 5, 11])
def test_scores_are_scikit_learns(classes):
    truth, predicted = maps(classes)
    found = scores(truth, predicted, classes)
    each = jaccard_score(truth.ravel(), predicted.ravel(), average=None, labels=range(classes))
    np.testing.assert_allclose(found.class_iou, each, rtol=1e-12)
    assert found.mean_iou == pytest.approx(each.mean(), rel=1e-12)
    assert found.pixel_accuracy == pytest.approx(accuracy_score(truth.ravel(), predicted.ravel()), rel=1e-12)


def test_ignored_pixels_are_as_if_they_were_not_there():
    truth, predicted = maps()
    ignored = np.random.default_rng(1).random(truth.shape) < 0.3
    found = scores(np.where(ignored, IGNORED, truth).astype(np.uint8), predicted, 5)
    assert found == scores(truth[~ignored], predicted[~ignored], 5)
    assert found != scores(truth, predicted, 5)


def test_a_class_absent_from_truth_and_prediction_is_left_out_and_one_absent_from_truth_counts_zero():
    truth, predicted = maps(3)
    found = scores(truth, predicted, 7)
    assert found.class_iou[3:] == (None,) * 4
    assert found.mean_iou == pytest.approx(scores(truth, predicted, 3).mean_iou)
    predicted[0, 0, 0] = 6
    with_false_alarm = scores(truth, predicted, 7)
    assert with_false_alarm.class_iou[6] == 0
    assert with_false_alarm.mean_iou < 0.8 * found.mean_iou


def test_equal_maps_score_one_and_disjoint_ones_zero():
    truth, _ = maps()
    assert scores(truth, truth, 5).mean_iou == scores(truth, truth, 5).pixel_accuracy == 1
    assert scores(truth, (truth + 1) % 5, 5).mean_iou == 0


def test_batches_do_not_matter():
    truth, predicted = maps()
    matrix = ConfusionMatrix(5)
    for start in range(0, 6, 4):
        matrix.update(truth[start : start + 4], predicted[start : start + 4])
    assert matrix.scores() == scores(truth, predicted, 5)
    assert matrix.counts.sum() == truth.size


def test_wrong_maps_are_refused():
    truth, predicted = maps()
    with pytest.raises(DataError, match=r"\(6, 9, 7\), those read from the images \(6, 9, 6\).*prepare\.source_size"):
        scores(truth, predicted[:, :, :6], 5)
    with pytest.raises(DataError, match="holds the id 4, but there are 3 classes, 0 to 2"):
        scores(truth, predicted, 3)
    with pytest.raises(DataError, match="no labelled pixel was compared: every pixel has the id 255"):
        scores(np.full_like(truth, IGNORED), predicted, 5)
