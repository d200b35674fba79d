"""How numbers and metric names are written."""

import pytest

from ganpress.report.notation import (
    parse_metric_name,
    write_bytes,
    write_compact,
    write_count,
    write_milliseconds,
    write_ratio,
    write_score,
    write_share,
)


def test_name_tells_the_protocol() -> None:
    name = parse_metric_name("fid_2000_test_judge")
    assert (name.base, name.images, name.split, name.judge) == ("fid", 2000, "test", "judge")
    assert name.heading == "FID ↓ (2,000 images · test · judge)"


def test_name_without_split() -> None:
    assert parse_metric_name("is_1000_inception").heading == "IS ↑ (1,000 images · inception)"
    assert parse_metric_name("vol_ratio_1000").base == "vol_ratio"


@pytest.mark.parametrize(
    ("raw", "heading"),
    [
        ("fid_542_all_judge", "FID ↓ (542 images · all · judge)"),
        ("miou_500_test_segmenter", "mIoU ↑ (500 images · test · segmenter)"),
        ("psnr_64_test", "PSNR ↑ (64 images · test)"),
        ("mae_64_test", "MAE ↓ (64 images · test)"),
        ("mae_teacher_64", "MAE to teacher ↓ (64 images)"),
        ("kid_32_test_squeezenet", "KID ↓ (32 images · test · squeezenet)"),
    ],
)
def test_names_of_conditional_generators(raw: str, heading: str) -> None:
    assert parse_metric_name(raw).heading == heading


@pytest.mark.parametrize("raw", ["is_std_1000_judge", "kid_error_1000_test_judge"])
def test_spread_is_no_metric_of_its_own(raw: str) -> None:
    name = parse_metric_name(raw)
    assert name.is_spread
    assert name.direction == "none"


@pytest.mark.parametrize(
    "raw", ["parameters", "size_bytes", "is_retained", "miou_retained", "latency_ms_p50", "fidelity", "kid_x"]
)
def test_other_names_stay(raw: str) -> None:
    name = parse_metric_name(raw)
    assert name.base == name.title == raw
    assert name.protocol == ""


def test_better_follows_the_direction() -> None:
    assert parse_metric_name("is_10_judge").better(2, 1)
    assert parse_metric_name("fid_10_test_judge").better(1, 2)
    assert not parse_metric_name("vol_10").better(2, 1)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (write_count(28351), "28,351"),
        (write_compact(999.6), "1.00 k"),
        (write_compact(28351), "28.4 k"),
        (write_compact(999_700), "1.00 M"),
        (write_compact(56_831_770_624), "56.8 G"),
        (write_compact(0), "0"),
        (write_bytes(512), "512 B"),
        (write_bytes(33_400), "33.4 kB"),
        (write_ratio(1), "1.00×"),
        (write_ratio(1669.2), "1,669×"),
        (write_ratio(99.96), "100×"),
        (write_share(0.8262), "82.6 %"),
        (write_milliseconds(0.06334), "0.0633"),
        (write_milliseconds(12.34), "12.3"),
        (write_score(7.02), "7.020"),
        (write_score(-0.0012), "-0.0012"),
        (write_score(0.0004), "0.00040"),
        (write_score(1234.56), "1,234.6"),
    ],
)
def test_numbers(written: str, expected: str) -> None:
    assert written == expected
