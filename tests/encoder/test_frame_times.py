"""Time stamps to seconds, and frames at another rate."""

from fractions import Fraction

import numpy as np
import pytest

from bsp_hf.encoder.frame_times import FrameClock, StampOrder, exact_rate, exact_seconds, resample_nearest

MILLISECOND = Fraction(1, 1000)
FRAME = Fraction(1, 25)


def read(stamps):
    clock = FrameClock(MILLISECOND, FRAME)
    return [float(clock.read(stamp)) for stamp in stamps], clock.num_repaired


@pytest.mark.parametrize(
    ("stamps", "times_s", "num_repaired"),
    [
        ([0, 40, 80], [0, 0.04, 0.08], 0),
        ([7250, 7290, 7330], [0, 0.04, 0.08], 0),  # a late first frame is time 0
        ([-1320, -1280, 5], [0, 0.04, 1.325], 0),  # negative stamps
        ([0, 280, 560, 600], [0, 0.28, 0.56, 0.6], 0),  # variable rate
        ([None, None, None], [0, 0.04, 0.08], 3),  # no stamps: index / fps
        ([None, 1000, 1100], [0, 0.04, 0.14], 1),  # the first stamp comes late
        ([0, 40, None, 120], [0, 0.04, 0.08, 0.12], 1),  # one is missing
        ([0, 40, 40, 120], [0, 0.04, 0.04, 0.12], 0),  # a duplicate is shown for no time
        ([0, 100, 99, 140], [0, 0.1, 0.1, 0.14], 1),  # a small step back
        ([95443717, 95443757, 3, 43], [0, 0.04, 0.08, 0.12], 1),  # the 33-bit clock wraps around
        ([0, 40, 95443717, 95443757], [0, 0.04, 0.08, 0.12], 1),  # and forward
        ([0, 3_600_000], [0, 3600], 0),  # an hour of still picture is believed
    ],
)
def test_stamps_become_seconds_since_the_first_frame(stamps, times_s, num_repaired):
    seconds, repaired = read(stamps)
    np.testing.assert_allclose(seconds, times_s, atol=1e-12)
    assert repaired == num_repaired


def order(packets, shown, dts=None):
    """The stamp that each shown picture gets: `packets` are the stamps in coded order, None is a loss.

    Packet k is decoded when packet k + 3 has come, as by a decoder that puts up to three in order.
    """
    found = StampOrder()
    stamps, held, left = [], [], list(shown)
    for number in range(len(packets) + 4):
        if number < len(packets):
            found.add(packets[number], (dts or range(len(packets)))[number])
        while left and left[0] in packets[: max(number - 2, 0)]:
            held.append(left.pop(0))
        while held and (number == len(packets) + 3 or not found.must_wait(held)):
            stamps.append(found.next_stamp(held.pop(0)))
    return stamps


@pytest.mark.parametrize(
    ("packets", "shown", "stamps"),
    [
        ([0, 120, 40, 80, 240], [0, 40, 80, 120, 240], [0, 40, 80, 120, 240]),  # showing times
        ([0, 40, 80, 120, 160], [0, 80, 120, 40, 160], [0, 40, 80, 120, 160]),  # in coded order
        ([0, 40, 90, 100, 160], [0, 90, 100, 40, 160], [0, 40, 90, 100, 160]),  # so, at a variable rate
        ([0, 40, 120, 80], [0, 80, 120], [0, 80, 120]),  # the second is lost
        ([0, 120, 40, 80, 5, 125, 45], [0, 40, 80, 120, 5, 45, 125], [0, 40, 80, 120, 5, 45, 125]),  # joined
    ],
)
def test_shown_pictures_get_rising_stamps_whatever_order_packets_carry_them_in(packets, shown, stamps):
    dts = [-80, -40, 0, 40, -75, -35, 5] if 5 in packets else None
    assert order(packets, shown, dts) == stamps


def test_a_loss_among_stamps_in_coded_order_delays_no_later_picture():
    packets = [40 * k for k in range(60)]
    shown = [40 * k for pair in range(0, 60, 3) for k in (pair, pair + 2, pair + 1) if k != 30]
    assert order(packets, shown)[-10:] == packets[-10:]


def test_times_never_decrease_whatever_the_stamps():
    rng = np.random.default_rng(0)
    for _ in range(200):
        stamps = [None if rng.random() < 0.1 else int(s) for s in rng.integers(-(2**40), 2**40, 20)]
        seconds, _ = read(stamps)
        assert seconds[0] == 0
        assert (np.diff(seconds) >= 0).all()


def resample(times_s, fps, **options):
    frames = [(Fraction(t).limit_denominator(10000), i) for i, t in enumerate(times_s)]
    duration = options.pop("duration", FRAME)
    return [
        (round(float(t), 6), i) for t, i in resample_nearest(iter(frames), Fraction(fps), duration, **options)
    ]


def test_the_same_rate_gives_the_same_frames():
    assert resample(np.arange(10) / 25, 25) == [(round(k / 25, 6), k) for k in range(10)]


def test_half_the_rate_takes_every_second_frame():
    assert resample(np.arange(9) / 25, Fraction(25, 2)) == [(round(k * 0.08, 6), 2 * k) for k in range(5)]


def test_of_two_equally_near_frames_the_earlier_is_taken():
    # 25 to 10 frames a second: 0.1 s lies between frames 2 (0.08) and 3 (0.12), 0.3 s between 7 and 8.
    assert resample(np.arange(10) / 25, 10) == [(0.0, 0), (0.1, 2), (0.2, 5), (0.3, 7)]


def test_a_higher_rate_repeats_frames_for_as_long_as_they_are_shown():
    assert [i for _, i in resample(np.arange(3) / 25, 75)] == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert len(resample(np.arange(75) / 25, 100)) == 300


def test_a_variable_rate_is_resampled_by_time():
    # by hand: nearest to 0, 0.25, 0.5, 0.75, 1.0 among 0, 0.1, 0.6, 1.0
    times_s = [0, 0.1, 0.6, 1.0]
    assert resample(times_s, 4, duration=Fraction(1, 10)) == [
        (0.0, 0),
        (0.25, 1),
        (0.5, 2),
        (0.75, 2),
        (1.0, 3),
    ]


def test_rounded_stamps_do_not_add_a_frame():
    # Matroska rounds 1/30 s to milliseconds: 90 frames seem to last 3.0003 s.
    times_s = [round(k / 30, 3) for k in range(90)]
    assert len(resample(times_s, 30, duration=Fraction(1, 30))) == 90
    assert len(resample(times_s, 10, duration=Fraction(1, 30))) == 30


def test_brute_force_agrees_on_random_times():
    rng = np.random.default_rng(1)
    for _ in range(50):
        times = [Fraction(0), *np.cumsum([Fraction(int(x), 1000) for x in rng.integers(1, 300, 12)])]
        fps, duration = Fraction(int(rng.integers(1, 60))), Fraction(1, 20)
        end = times[-1] + duration - min(duration, 1 / fps) / 2
        wanted, k = [], 0
        while k / fps < end:
            wanted.append(min(range(len(times)), key=lambda i: (abs(times[i] - k / fps), i)))
            k += 1
        chosen = [i for _, i in resample_nearest(zip(times, range(len(times)), strict=True), fps, duration)]
        assert chosen == wanted


def test_a_range_starts_its_own_grid_and_stops_reading():
    taken = []

    def stream():
        for k in range(100):
            taken.append(k)
            yield Fraction(k, 25), k

    chosen = list(resample_nearest(stream(), Fraction(5), FRAME, Fraction(1, 2), Fraction(11, 10)))
    assert [float(t) for t, _ in chosen] == [0.5, 0.7, 0.9]
    assert [i for _, i in chosen] == [12, 17, 22]  # 0.5 s lies between frames 12 and 13
    assert max(taken) <= 28


def test_nothing_comes_of_nothing():
    assert list(resample_nearest(iter([]), Fraction(5), FRAME)) == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (25, Fraction(25)),
        (12.5, Fraction(25, 2)),
        (29.97, Fraction(2997, 100)),
        (30000 / 1001, Fraction(30000, 1001)),
        (24000 / 1001, Fraction(24000, 1001)),
        (Fraction(500, 43), Fraction(500, 43)),
        (np.float64(0.1), Fraction(1, 10)),
    ],
)
def test_rates_are_the_fractions_that_were_meant(written, meant):
    assert exact_rate(written) == meant


@pytest.mark.parametrize("wrong", [0, -5, float("nan"), float("inf")])
def test_impossible_rates_are_refused(wrong):
    with pytest.raises(ValueError, match="fps must be a positive number"):
        exact_rate(wrong)


def test_seconds_are_taken_as_written():
    assert exact_seconds(0.2) == Fraction(1, 5)
    assert exact_seconds(3) == 3
