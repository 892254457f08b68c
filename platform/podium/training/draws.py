"""Training: random numbers that are a hash of what they are for, never of what was drawn before.

A number is `hash(seed, purpose, name or site, epoch, position, element)`. The first four are folded into a 64-bit
key; (position, element) count along a tensor. Counter and key go through SplitMix64 (Steele, Lea and Flood, "Fast
splittable pseudorandom number generators", OOPSLA 2014), on int64 tensors, whose arithmetic wraps around.
"""

import hashlib
import math

import torch
from torch import Tensor

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15


def _signed(number: int) -> int:
    number &= _MASK
    return number - (1 << 64) if number >> 63 else number


_STEP = _signed(_GAMMA)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)
TRIES = 16
"""Proposals for a number of the Gamma distribution."""

_FIRST_HALF = 0x7FEB352D
_SECOND_HALF = 0x846CA68B - (1 << 32)


def fold(*parts: int | str) -> int:
    """The 64-bit key of a tuple of integers and strings, as a signed number that fits an int64 tensor."""
    key = 0
    for part in parts:
        number = part if isinstance(part, int) else _digest(part)
        key = _mix((key ^ number) + _GAMMA)
    return _signed(key)


def bits(key: int | Tensor, counters: Tensor) -> Tensor:
    """Independent uniform bits, one 64-bit number for each counter.

    Args:
        key: From `fold`, or an int64 tensor that broadcasts with `counters`.
        counters: int64 of any shape; equal counters give equal numbers.

    Returns:
        int64, uniform over all 64-bit values.
    """
    mixed = counters * _STEP + key
    mixed = mixed.bitwise_xor_(_shifted(mixed, 30)).mul_(_FIRST)
    mixed = mixed.bitwise_xor_(_shifted(mixed, 27)).mul_(_SECOND)
    return mixed.bitwise_xor_(_shifted(mixed, 31))


def words(key: int | Tensor, positions: Tensor, size: int) -> Tensor:
    """Uniform 32-bit numbers for the elements at each position; five times as fast as `bits`, for masks.

    A hash of the position and one of the element are joined by the multiplications of a 32-bit finalizer (Wellons,
    "Hash Function Prospector", 2018), whose last shift is left out: the upper bits are good, the lower ones less so.
    Of n positions, n² / 2³³ pairs are to be expected that have the same numbers.

    Args:
        key: From `fold`, or an int64 tensor that broadcasts with `positions`.
        positions: `[B]` int64.
        size: Elements at each position.

    Returns:
        `[B, size]` int32, uniform over all 32-bit values.
    """
    elements = bits(0, torch.arange(1, size + 1, device=positions.device)).to(torch.int32)
    mixed = bits(key, positions).to(torch.int32).unsqueeze(-1) ^ elements
    mixed = mixed.mul_(_FIRST_HALF)
    mixed = mixed.bitwise_xor_((mixed >> 16).bitwise_and_(0xFFFF))
    return mixed.mul_(_SECOND_HALF)


def uniform_at(key: int, positions: Tensor) -> Tensor:
    """`[B]` float64, uniform on the open interval (0, 1), one number for each of the positions (`[B]` int64)."""
    return _to_uniform(bits(key, positions))


def normal_at(key: int | Tensor, positions: Tensor, size: int) -> Tensor:
    """`[B, size]` float32 from the standard normal distribution, for the elements at each position (`[B]` int64)."""
    share = ((words(key, positions, size) >> 8).to(torch.float32) + 0.5) * 2.0**-23
    return share.erfinv_().mul_(math.sqrt(2))


def beta_at(key: int, positions: Tensor, alpha: float) -> Tensor:
    """`[B]` float64 from the Beta distribution with both parameters `alpha` > 0, one number for each position."""
    one, other = (_gamma_at(fold(key, number), positions, alpha) for number in (0, 1))
    return one / (one + other)


def _gamma_at(key: int, positions: Tensor, alpha: float) -> Tensor:
    """`[B]` float64 from the Gamma distribution of shape `alpha` and scale 1.

    Source: Marsaglia and Tsang, "A simple method for generating gamma variables", 2000. All of `TRIES` proposals are
    made at once, and the first that is accepted counts; that none is, happens less than once in 10^20 times.
    """
    d = alpha + 1 - 1 / 3
    c = 1 / math.sqrt(9 * d)
    normals = normal_at(fold(key, "proposal"), positions, TRIES).double()
    v = (1 + c * normals).pow_(3)
    chances = torch.stack([uniform_at(fold(key, "chance", number), positions) for number in range(TRIES)], dim=1)
    is_accepted = (v > 0) & (chances.log() < 0.5 * normals**2 + d - d * v + d * v.clamp_min(1e-300).log())
    first = is_accepted.to(torch.int8).argmax(dim=1, keepdim=True)
    boost = uniform_at(fold(key, "boost"), positions) ** (1 / alpha)
    return (d * v.gather(1, first)).squeeze(1) * boost


def uniform(shape: tuple[int, ...], key: int) -> Tensor:
    """float64 numbers of that shape, uniform on the open interval (0, 1)."""
    counters = torch.arange(1, math.prod(shape) + 1)
    return _to_uniform(bits(key, counters)).view(shape)


def normal(shape: tuple[int, ...], key: int) -> Tensor:
    """float64 numbers of that shape from the standard normal distribution.

    Source: Box and Muller, "A note on the generation of random normal deviates", 1958.
    """
    radius = uniform(shape, fold(key, "radius")).log_().mul_(-2.0).sqrt_()
    return radius.mul_(uniform(shape, fold(key, "angle")).mul_(2.0 * math.pi).cos_())


def _to_uniform(numbers: Tensor) -> Tensor:
    return _shifted(numbers, 11).to(torch.float64).add_(0.5).mul_(2.0**-53)


def _shifted(numbers: Tensor, places: int) -> Tensor:
    """The logical shift to the right; torch's own keeps the sign."""
    return (numbers >> places).bitwise_and_((1 << (64 - places)) - 1)


def _mix(state: int) -> int:
    state &= _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
