"""Token buckets, without a clock."""

import math

import pytest

from airut_egress.buckets import TokenBucket


def test_a_bucket_is_full_at_the_beginning_and_never_fuller() -> None:
    bucket = TokenBucket(per_second=10, burst=20)
    assert bucket.wait_for(20, now=100.0) == 0
    bucket.take(20)
    assert bucket.wait_for(5, now=100.0) == pytest.approx(0.5)
    assert bucket.wait_for(5, now=100.5) == 0
    assert bucket.wait_for(21, now=10_000.0) == pytest.approx(0.1)


def test_what_was_taken_too_much_is_filled_up_first() -> None:
    bucket = TokenBucket(per_second=10, burst=10)
    assert bucket.wait_for(1, now=0.0) == 0
    bucket.take(30)
    assert bucket.wait_for(0, now=0.0) == pytest.approx(2.0)
    assert bucket.wait_for(0, now=2.0) == 0
    assert bucket.wait_for(1, now=2.0) == pytest.approx(0.1)


def test_a_bucket_that_is_never_filled() -> None:
    bucket = TokenBucket(per_second=0, burst=1)
    assert bucket.wait_for(1, now=0.0) == 0
    bucket.take(1)
    assert bucket.wait_for(1, now=1e9) == math.inf
