"""What a retraining tells while it runs; the whole of it is tested in test_radiologist."""

from types import SimpleNamespace

from unetseg.messages import Epoch
from UNetSegmentLib.retraining import MOST_POINTS, Retraining
from UNetSegmentLib.signal import Signal


def test_the_curve_of_many_hours_stays_short_and_keeps_every_measurement():
    epochs = Signal()
    retraining = Retraining(SimpleNamespace(jobs=SimpleNamespace(epoch=epochs)), None, None)
    lengths = []
    retraining.curveChanged.connect(lambda: lengths.append(len(retraining.curve)))
    for n in range(10 * MOST_POINTS):
        heldOut = (0.25, 0.75) if n % MOST_POINTS == 1 else None
        epochs.emit(Epoch("request-1", n, n / (10 * MOST_POINTS), {"dice": 0.5, "cross_entropy": 0.25}, heldOut))
    assert len(lengths) == 10 * MOST_POINTS
    assert MOST_POINTS // 2 < lengths[-1] <= max(lengths) == MOST_POINTS
    iterations = [point.iteration for point in retraining.curve]
    assert iterations == sorted(iterations)
    assert (iterations[0], iterations[-1]) == (0, 10 * MOST_POINTS - 1)
    measured = {point.iteration: point.heldOut for point in retraining.curve if point.heldOut is not None}
    assert measured == {part * MOST_POINTS + 1: 0.5 for part in range(10)}
    assert {point.loss for point in retraining.curve} == {0.75}
