"""Train the network: one-cycle AdamW, averaged weights, bf16, checkpoints that resume.

    Plan (sources, split) ── Examples ── loader ── network + Loss (+ auxiliary loss) ── RUN/

RUN/ then holds `config.json`, `checkpoint.pt` (`inference.checkpoint`), `log.jsonl` (one line an
epoch) and `weights.safetensors` (the averaged weights, fp16, without the auxiliary head; as old as
the checkpoint). Same seed, data and machine: same weights, on a CUDA card too, where only
deterministic kernels are used.

Under `torchrun` (`inference.processes`) several processes share each batch; only the first writes.
Batch norm's statistics are then of each process's own share.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, huber_loss
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from inference import augment, checkpoint, processes
from inference.batches import Order, in_order
from inference.errors import CohortError
from inference.examples import Examples, one_thread
from inference.forms import F32
from inference.loss import Loss, LossConfig
from inference.metrics import auroc
from inference.network import SaResNet50, build, load_pretrained
from inference.train_config import TrainConfig


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The data of a run.

    Attributes:
        training, validation: sources.
        classes, measures: sizes of their auxiliary targets.
        drawn: the training examples by (epoch, place), drawn ahead (`inference.bank`); None draws
            them anew while the network trains.
    """

    training: list[Any]
    validation: list[Any]
    classes: int = 0
    measures: int = 0
    drawn: Dataset[Any] | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run tells while it goes on: losses are means since the last report."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    images_per_s: float
    eta_s: float
    wait_share: float


Report = Callable[[Progress], None]
_SHORT_S = 30.0  # since the last checkpoint: an epoch that ends sooner writes none


class _Both(nn.Module):  # type: ignore[misc]
    """`SaResNet50.both` as the forward pass that DistributedDataParallel needs."""

    def __init__(self, network: SaResNet50) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.both(images)


class Run:
    """One training run in a directory."""

    def __init__(self, config: TrainConfig, plan: Plan, out: Path) -> None:
        if len(plan.training) < config.batch:
            raise CohortError(f"{len(plan.training)} training ECGs are fewer than one batch")
        if config.batch % processes.count():
            raise CohortError(
                f"a batch of {config.batch} cannot be shared by {processes.count()} processes"
            )
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        auxiliary = plan.classes + plan.measures
        self.device = processes.device(config.device)
        self.config = replace(
            config,
            bf16=config.bf16 and processes.has_bf16(self.device),
            network=replace(config.network, auxiliary=auxiliary),
            loss=_weighted(config.loss, [source.label for source in plan.training]),
        )
        self.plan, self.out, self._asked = plan, out, config
        if self.device.type == "cuda":
            processes.repeatable()
        self.network = build(self.config.network)
        if config.pretrained:
            load_pretrained(self.network, Path(config.pretrained))
        self.network = self.network.to(self.device, memory_format=torch.channels_last)
        both = _Both(self.network)
        self.both = DistributedDataParallel(both) if processes.together() else both
        self.average = build(self.config.network)
        self.average.load_state_dict(self.network.state_dict())
        self.average.to(self.device, memory_format=torch.channels_last).eval().requires_grad_(False)
        held, given = self.average.state_dict(), self.network.state_dict()
        self._smooth = _pairs(held, given, real=True)
        self._counts = _pairs(held, given, real=False)
        self._seen: list[tuple[Tensor, ...]] = []  # the validation inputs, drawn once
        self.loss = Loss(self.config.loss).to(self.device)
        order = Order(len(plan.training), config.batch, config.epochs, config.seed)
        self.per_epoch, self.steps = order.per_epoch, len(order)
        self.optimiser = torch.optim.AdamW(
            _groups(self.network, config.weight_decay),
            lr=config.peak_lr,
            fused=self.device.type == "cuda",
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, config.peak_lr, total_steps=self.steps + 1, pct_start=config.warmup
        )
        self.step = 0

    def train(self, report: Report = lambda _: None) -> None:
        """Train from the last checkpoint, if there is one, to the end.

        Raises:
            CohortError: the disk has no room for the checkpoints.
        """
        if not self.resume():
            self._forget(0)
        first = processes.rank() == 0
        if first:
            self.out.mkdir(parents=True, exist_ok=True)
            if self.step < self.steps:
                checkpoint.check_room_for(self.network, self.out)
            document = self._document()
            (self.out / "config.json").write_text(json.dumps(document, indent=1))
        try:
            self._loop(report, first=first)
        except KeyboardInterrupt:
            if first:
                self.save()
            raise

    def _document(self) -> dict[str, Any]:
        """Give the settings as asked for; a loss's weight that the cohort gives is none of them."""
        asked = replace(self.config, loss=self._asked.loss)
        return asked.document() | {"training": len(self.plan.training)}

    def _loop(self, report: Report, *, first: bool) -> None:
        self._saved = began = ready = time.monotonic()
        seen, lost, waited = 0, torch.zeros((), device=self.device), 0.0
        for batch in self._batches():
            waited += time.monotonic() - ready
            with _whole():
                lost += self.learn(batch)
            seen += 1
            if first and (self.step % 20 == 0 or self.step % self.per_epoch == 0):
                mean, spent = float(lost) / seen, time.monotonic() - began
                report(self._progress(mean, seen, spent, waited))
                seen, waited, began = 0, 0.0, time.monotonic()
                lost.zero_()
            if first and self._due():
                self.save()
            if first and self.step % self.per_epoch == 0:
                self._end_of_epoch()
                began = time.monotonic()
            ready = time.monotonic()

    def _due(self) -> bool:
        since = time.monotonic() - self._saved
        if self.step % self.per_epoch == 0:
            return since > _SHORT_S or self.step == self.steps
        return since > 60 * self.config.checkpoint_minutes

    def _batches(self) -> Any:
        config = self.config
        examples = self.plan.drawn or Examples(
            self.plan.training, config.recipe, config.augment, config.seed
        )
        order = Order(
            len(self.plan.training), config.batch, config.epochs, config.seed, start=self.step
        )
        return DataLoader(
            examples,
            batch_sampler=order,
            num_workers=config.workers,
            worker_init_fn=one_thread,
            prefetch_factor=4 if config.workers else None,
            pin_memory=self.device.type == "cuda",
        )

    def learn(self, batch: list[Tensor]) -> Tensor:
        """Take one step and give its loss, without waiting for a card to finish it."""
        self.network.train()
        pixels, labels, classes, measures = (
            each.to(self.device, non_blocking=True) for each in batch
        )
        images = unit(pixels).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            logits, extra = self.both(images)
        loss = self.config.endpoint_weight * self.loss(logits, labels)
        loss = loss + self._auxiliary(extra.float(), classes, measures)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimiser.step()
        self.schedule.step()
        self.step += 1
        self._average()
        return loss.detach()

    def _auxiliary(self, extra: Tensor, classes: Tensor, measures: Tensor) -> Tensor:
        said, measured = extra[:, : self.plan.classes], extra[:, self.plan.classes :]
        total = self.config.class_weight * _known_mean(
            binary_cross_entropy_with_logits, said, classes
        )
        return total + self.config.measure_weight * _known_mean(huber_loss, measured, measures)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _average(self) -> None:
        """Move the averaged weights; a young run averages over fewer steps."""
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(*self._smooth, 1 - keep)
        torch._foreach_copy_(*self._counts)

    def _progress(self, loss: float, seen: int, spent: float, waited: float) -> Progress:
        rate = seen * self.config.batch / max(spent, 1e-9)
        left = (self.steps - self.step) * self.config.batch / rate
        share = waited / max(spent, 1e-9)
        epoch = (self.step - 1) // self.per_epoch + 1
        return Progress(epoch, self.config.epochs, self.step, self.steps, loss, rate, left, share)

    def _end_of_epoch(self) -> None:
        labels = np.array([source.label for source in self.plan.validation])
        scores = self.validate()
        line = {
            "epoch": self.step // self.per_epoch,
            "time": time.time(),
            "auroc": auroc(labels, scores) if len(set(labels)) == 2 else None,
        }
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def validate(self) -> F32:
        """Score the validation sources with the averaged weights, as drawn without augmentation."""
        if not self._seen:
            examples = Examples(self.plan.validation, self.config.recipe, augment.NONE)
            self._seen = list(in_order(examples, self.config.workers))
        logits: F32 = predict(self.average, self._seen, bf16=self.config.bf16)
        return logits

    def score(self, sources: list[Any]) -> dict[str, tuple[int, float]]:
        """Give key to label and logit of each source, in fp32 with the averaged weights."""
        if not sources:
            return {}
        examples = Examples(sources, self.config.recipe, augment.NONE)
        logits = predict(self.average, in_order(examples, self.config.workers), bf16=False)
        return {s.key: (s.label, float(x)) for s, x in zip(sources, logits, strict=True)}

    def save(self) -> None:
        """Write the checkpoint and the weights of the same step."""
        held = {
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
            "rates": self.loss.rates,
        }
        checkpoint.write(self.out, held, self.average.state_dict())
        self._saved = time.monotonic()

    def resume(self) -> bool:
        """Go on from the run's checkpoint; False when there is none."""
        held = checkpoint.read(self.out, self.device)
        if held is None:
            return False
        self.network.load_state_dict(held["network"])
        self.average.load_state_dict(held["averaged"])
        self.optimiser.load_state_dict(held["optimiser"])
        self.schedule.last_epoch = held["schedule"]["last_epoch"]
        self.loss.rates = held["rates"]
        self.step = held["step"]
        self._forget(self.step // self.per_epoch)
        return True

    def _forget(self, epoch: int) -> None:
        """Drop the log's lines of epochs that come again."""
        if processes.rank():
            return
        log = self.out / "log.jsonl"
        if log.exists():
            lines = log.read_text().splitlines(keepends=True)
            log.write_text("".join(line for line in lines if json.loads(line)["epoch"] <= epoch))


@contextmanager
def _whole() -> Iterator[None]:
    """Hold Ctrl-C back until the block's end: a kept half step would be taken twice.

    Python interrupts its main thread only, and only there may a handler be set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)


def _pairs(
    held: dict[str, Tensor], given: dict[str, Tensor], *, real: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Give what is averaged and what it is averaged of: the real tensors, or the whole numbers."""
    names = [name for name, value in given.items() if value.is_floating_point() == real]
    return [held[name] for name in names], [given[name] for name in names]


def unit(pixels: Tensor) -> Tensor:
    """Give uint8 pixels, 255 = all trace, as the network's float32 input, 0..1."""
    return pixels.float() / 255


def _weighted(loss: LossConfig, labels: list[int]) -> LossConfig:
    """Set a weight of positives that was left to the training set."""
    if loss.kind != "bce-weighted" or loss.positive_weight:
        return loss
    positive = sum(labels)
    if not 0 < positive < len(labels):
        raise CohortError("bce-weighted needs training ECGs of both labels")
    return replace(loss, positive_weight=(len(labels) - positive) / positive)


def _known_mean(loss: Callable[..., Tensor], said: Tensor, wanted: Tensor) -> Tensor:
    """Average a loss over the targets that are known; zero where none is, with its graph (DDP)."""
    known = ~torch.isnan(wanted)
    each = loss(said, torch.where(known, wanted, 0.0), reduction="none")
    return torch.where(known, each, 0.0).sum() / known.sum().clamp_min(1)


@torch.inference_mode()  # type: ignore[untyped-decorator]
def predict(network: SaResNet50, batches: Iterable[tuple[Tensor, ...]], *, bf16: bool) -> F32:
    """Score the inputs of every batch: (sources,) logits."""
    device = next(network.parameters()).device
    out = []
    for pixels, *_ in batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            out.append(network(unit(pixels.to(device))).float().cpu())
    logits: F32 = torch.cat(out).numpy()
    return logits


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """No decay on biases and batch-norm's vectors."""
    wide = [p for p in network.parameters() if p.ndim > 1]
    thin = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": wide, "weight_decay": decay}, {"params": thin, "weight_decay": 0.0}]


def check_start(config: TrainConfig) -> None:
    """Refuse what a run cannot begin with, before a cohort is read.

    Raises:
        RuntimeMissing: there is no such device.
        CohortError: the weights to start from are none.
    """
    processes.device(config.device)
    if config.pretrained:
        load_pretrained(build(config.network), Path(config.pretrained))
