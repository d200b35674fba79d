"""Features for the benchmark of LSH precision and recall: a curved surface with modes, outliers, digits, tones."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
MODES, LATENT, RATE = 10, 12, 8000
CENTRES = 4 * np.random.default_rng(99).normal(size=(MODES, LATENT))


def _surface(latent: NDArray[np.float64], size: int) -> Features:
    layer = np.random.default_rng(98).normal(size=(LATENT, size)) / np.sqrt(LATENT)
    features: Features = np.maximum(latent @ layer, 0).astype(np.float32)
    return features


def manifold(count: int, size: int, seed: int, modes: int = MODES) -> Features:
    """Ten modes in 12 dimensions through a fixed ReLU layer (count, size), as features of classes of images lie."""
    random = np.random.default_rng(seed)
    pieces = [
        _surface(CENTRES[random.integers(modes, size=n)] + random.normal(size=(n, LATENT)), size)
        for n in np.diff([*range(0, count, 1000), count])
    ]
    return np.concatenate(pieces)


def outliers(kind: str, count: int, size: int, seed: int) -> Features:
    """Samples (count, size) that belong to no mode: `norm`, `isotropic` or `latent`."""
    random, plain = np.random.default_rng(seed), manifold(count, size, seed)
    if kind == "norm":  # the right direction, two to four times too long
        long: Features = plain * random.uniform(2, 4, (count, 1)).astype(np.float32)
        return long
    if kind == "isotropic":  # as far from the mean as other samples, in any direction
        spread = np.sqrt(plain.var(axis=0).mean())
        around: Features = plain.mean(axis=0) + spread * random.normal(size=(count, size)).astype(np.float32)
        return around
    return _surface(8 * random.normal(size=(count, LATENT)), size)  # on the surface, far from all modes


@dataclass(frozen=True)
class Mixture:
    """A generator of digits: a mixture of Gaussians in the first principal components of scikit-learn's real digits."""

    basis: NDArray[np.float64]
    """(components, 64)"""
    mean: NDArray[np.float64]
    centres: NDArray[np.float64]
    """(K, components)"""
    roots: NDArray[np.float64]
    """(K, components, components) Cholesky factors of the covariances."""

    def images(self, count: int, seed: int) -> NDArray[np.float64]:
        """Images (count, 64) in [0, 16]."""
        random = np.random.default_rng(seed)
        component = random.integers(len(self.centres), size=count)
        noise = random.normal(size=(count, len(self.basis)))
        codes = self.centres[component] + np.einsum("nij,nj->ni", self.roots[component], noise)
        images: NDArray[np.float64] = np.clip(self.mean + codes @ self.basis, 0, 16)
        return images

    def quantized(self, bits: int, clip: float) -> "Mixture":
        """The generator with weights on at most 2^bits - 1 levels between -clip and clip times their largest."""

        def rounded(weights: NDArray[np.float64]) -> NDArray[np.float64]:
            levels = 2 ** (bits - 1) - 1
            step = clip * np.abs(weights).max() / levels
            result: NDArray[np.float64] = np.clip(np.round(weights / step), -levels, levels) * step
            return result

        return Mixture(rounded(self.basis), self.mean, rounded(self.centres), rounded(self.roots))


def digits() -> tuple[NDArray[np.float64], Mixture]:
    """Real digits (1797, 64), and a generator fitted to them."""
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    images = load_digits().data
    components = PCA(24, random_state=0).fit(images)
    mixture = GaussianMixture(40, reg_covar=0.5, random_state=0).fit(components.transform(images))
    roots = np.linalg.cholesky(mixture.covariances_)
    return images, Mixture(components.components_, components.mean_, mixture.means_, roots)


def digit_features(images: NDArray[np.float64]) -> Features:
    """A fixed ReLU layer on the pixels: (N, 64) -> (N, 256)."""
    layer = np.random.default_rng(97).normal(size=(64, 256)) / 8
    return np.maximum(images @ layer, 0).astype(np.float32)


def tones(count: int, seed: int, pitches: int = 12, detune: float = 0.0, hiss: float = 0.01) -> Features:
    """Features (count, 130) of a quarter second of plucked tones: mean and deviation of log power in each band.

    Args:
        count: Sounds.
        seed: Their seed.
        pitches: Semitones above 220 Hz to draw from.
        detune: Semitones by which all are out of tune.
        hiss: Amplitude of white noise.
    """
    from scipy.signal import spectrogram

    random, time = np.random.default_rng(seed), np.arange(RATE // 4) / RATE

    def sounds() -> Iterator[NDArray[np.float64]]:
        for _ in range(count):
            pitch = 220 * 2 ** ((random.integers(pitches) + detune + 0.05 * random.normal()) / 12)
            brightness, decay = random.uniform(0.3, 0.8), random.uniform(3, 8)
            partials = [
                brightness**n * np.sin(2 * np.pi * n * pitch * time + random.uniform(0, 6)) for n in range(1, 9)
            ]
            yield np.exp(-decay * time) * sum(partials) + hiss * random.normal(size=len(time))

    power = np.log(spectrogram(np.stack(list(sounds())), RATE, nperseg=128)[2] + 1e-9)
    return np.concatenate([power.mean(axis=2), power.std(axis=2)], axis=1).astype(np.float32)
