"""Augmentation for training: of the waveform in mV, and of the panel and the input image.

Never a flip: a mirrored ECG is another ECG.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from inference.beats import Ints
from inference.forms import F32, U8

_HIGH_PASS_HZ = (0.0, 0.0, 0.05, 0.15, 0.5, 0.67)
_LOW_PASS_HZ = (0.0, 0.0, 100.0, 40.0, 35.0, 25.0)


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How far each sample may move; zeros switch a step off.

    Attributes:
        gain: factor on all leads is drawn from 1 - gain to 1 + gain.
        lead_gain: the same for each lead alone.
        roll: the 10-s window begins anywhere, joined end to start.
        filters: a cart's high-pass and low-pass filters, drawn from what carts offer.
        wander_mv, noise_mv: largest amplitude of baseline wander and of broadband noise, in mV.
        lead_loss: probability that one lead is not drawn.
        rhythm_loss: probability that all or part of the rhythm strip is not drawn: many pages have
            none.
        stroke_mm: the pen is wider by up to this; a thinner one would not survive the opening.
        shift_mm, scale, degrees: movement of the panel.
        intensity: factor on the input is drawn from 1 - intensity to 1 + intensity.
    """

    gain: float = 0.1
    lead_gain: float = 0.04
    roll: bool = True
    filters: bool = True
    wander_mv: float = 0.08
    noise_mv: float = 0.02
    lead_loss: float = 0.08
    rhythm_loss: float = 0.15
    stroke_mm: float = 0.12
    shift_mm: float = 2.5
    scale: float = 0.04
    degrees: float = 0.4
    intensity: float = 0.12


NONE = AugmentConfig(0, 0, False, False, 0, 0, 0, 0, 0, 0, 0, 0, 0)
PAGES = replace(NONE, rhythm_loss=0.3)
"""Pages as they are served, some without a rhythm strip: for the guard and for quantisation."""


def waveform(
    samples_mv: F32, peaks: Ints, rate_hz: float, config: AugmentConfig, rng: np.random.Generator
) -> tuple[F32, Ints]:
    """Augment a (12, samples) mV record; give it with the R peaks' new places."""
    leads, count = samples_mv.shape
    out = samples_mv
    if config.gain or config.lead_gain:
        each = rng.uniform(1 - config.lead_gain, 1 + config.lead_gain, (leads, 1))
        each = each * rng.uniform(1 - config.gain, 1 + config.gain)  # (12, 1)
        out = np.asarray(out * each, np.float32)
    if config.filters:
        out = band(out, rate_hz, float(rng.choice(_HIGH_PASS_HZ)), float(rng.choice(_LOW_PASS_HZ)))
    if config.roll:
        out, peaks = _rolled(out, peaks, int(rng.integers(count)))
    if config.wander_mv:
        t = np.arange(count, dtype=np.float32) / rate_hz
        sway = np.sin(2 * np.pi * (rng.uniform(0.08, 0.4) * t + rng.uniform()))
        size = rng.uniform(0, config.wander_mv) * rng.uniform(-1, 1, (leads, 1))
        out = np.asarray(out + size * sway, np.float32)
    if config.noise_mv:
        loud = np.float32(config.noise_mv * rng.uniform() ** 2)
        out = np.asarray(out + loud * rng.standard_normal(out.shape, np.float32), np.float32)
    return out, peaks


def band(samples: F32, rate_hz: float, high_pass_hz: float, low_pass_hz: float) -> F32:
    """Filter like a cart: first-order high-pass, fourth-order low-pass magnitude; 0 Hz = off."""
    if not high_pass_hz and not low_pass_hz:
        return samples
    count = samples.shape[1]
    frequencies = np.fft.rfftfreq(count, 1 / rate_hz)
    gain = np.ones(frequencies.size)
    if high_pass_hz:
        gain = gain * frequencies / np.hypot(frequencies, high_pass_hz)
    if low_pass_hz:
        gain = gain / np.sqrt(1 + (frequencies / low_pass_hz) ** 8)
    out: F32 = np.fft.irfft(np.fft.rfft(samples, axis=1) * gain, count, axis=1).astype(np.float32)
    return out


def _rolled(samples: F32, peaks: Ints, by: int) -> tuple[F32, Ints]:
    """Begin `by` samples later, going on with the first whole beat after the last one.

    The record is cut before its first and before its last R peak, at the same phase of the beat,
    so that the seam falls between two beats and keeps the rhythm; its step in level is spread over
    the whole record.
    """
    count = samples.shape[1]
    if peaks.size < 5:
        return samples, peaks
    lead_in = int(0.35 * np.median(np.diff(peaks)))
    whole = peaks[peaks >= lead_in]
    start, stop = int(whole[0]) - lead_in, int(whole[-1]) - lead_in
    if stop - start < count // 2:
        return samples, peaks
    span = samples[:, start:stop]
    edge = max(2, lead_in // 3)
    step = np.median(span[:, :edge], 1) - np.median(samples[:, stop : stop + edge], 1)
    ramp = step[:, None] * np.linspace(0, 1, stop - start)
    span = np.asarray(span + ramp, np.float32)
    index = (by + np.arange(count)) % (stop - start)
    beats = np.zeros(stop - start, bool)
    beats[whole[whole < stop] - start] = True
    return span[:, index], np.flatnonzero(beats[index])


def panel(pixels: U8, px_per_mm: float, config: AugmentConfig, rng: np.random.Generator) -> U8:
    """Shift, scale and turn a (rows, cols) uint8 panel a little; paper (255) comes in."""
    if not (config.shift_mm or config.scale or config.degrees):
        return pixels
    height, width = pixels.shape
    scale = rng.uniform(1 - config.scale, 1 + config.scale)
    turn = rng.uniform(-config.degrees, config.degrees)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, scale)
    matrix[:, 2] += rng.uniform(-config.shift_mm, config.shift_mm, 2) * px_per_mm
    moved = cv2.warpAffine(
        pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(255,)
    )
    return np.asarray(moved, np.uint8)


def lose_lead(leads_mv: F32, config: AugmentConfig, rng: np.random.Generator) -> F32:
    """Blank one lead of (12, samples), sometimes: a trace may not be found on a page."""
    if rng.random() >= config.lead_loss:
        return leads_mv
    out = leads_mv.copy()
    out[rng.integers(len(out))] = np.nan
    return out


def lose_rhythm(rhythm_mv: F32, config: AugmentConfig, rng: np.random.Generator) -> F32:
    """Blank the (samples,) strip, or one end of it, sometimes."""
    if rng.random() >= config.rhythm_loss:
        return rhythm_mv
    out = rhythm_mv.copy()
    at = int(rng.integers(out.size))
    lost = (slice(None), slice(None), slice(at), slice(at, None))[rng.integers(4)]
    out[lost] = np.nan
    return out


def intensity(pixels: F32, config: AugmentConfig, rng: np.random.Generator) -> F32:
    """Fade or strengthen an (H, W) input a little."""
    factor = rng.uniform(1 - config.intensity, 1 + config.intensity)
    faded: F32 = np.clip(pixels * np.float32(factor), 0, 1).astype(np.float32)
    return faded
