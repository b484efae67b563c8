"""A training loop of the kind that the original authors of the problem wrote, plainly and without tricks."""

from pathlib import Path

import albumentations
import numpy as np
import torch
from albumentations.pytorch import ToTensorV2
from jpeg_quartets import training_records
from PIL import Image
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, Dataset

from dmx.models.depthmasknet import depthmasknet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FourJpegs(Dataset[dict[str, Tensor]]):
    """Opens four JPEG by PIL for each sample and transforms each on its own."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.records = training_records(folder)
        resize = albumentations.Resize(size, size)
        self.colour = albumentations.Compose([resize, albumentations.Normalize(MEAN, STD), ToTensorV2()])
        self.grey = albumentations.Compose([resize, albumentations.Normalize((0.0,), (1.0,)), ToTensorV2()])

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        sample = {}
        for role, path in self.records[number].paths().items():
            grey = role in ("mask", "depth")
            with Image.open(self.folder / path) as file:
                picture = np.array(file.convert("L" if grey else "RGB"))
            sample[role] = (self.grey if grey else self.colour)(image=picture)["image"]
        return sample


def train_epoch(folder: Path, *, width: int, size: int, batch_size: int, workers: int) -> None:
    """One epoch with the losses of BCE + Dice for the mask and L1 for the depth."""
    loader = DataLoader(FourJpegs(folder, size), batch_size=batch_size, shuffle=True, num_workers=workers)
    net = depthmasknet(width=width)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=len(loader), cycle_momentum=False)
    totals = dict.fromkeys(("loss", "iou", "rmse"), 0.0)
    for sample in loader:
        optimizer.zero_grad()
        logits, raw = net(sample["image"], sample["background"])
        mask, depth = (sample["mask"] > 0.5).float(), raw.sigmoid()
        loss = (
            binary_cross_entropy_with_logits(logits, mask) + dice(logits, mask) + (depth - sample["depth"]).abs().mean()
        )
        loss.backward()
        optimizer.step()
        schedule.step()
        totals["loss"] += loss.item()
        totals["iou"] += iou(logits > 0, mask > 0)
        totals["rmse"] += (depth - sample["depth"]).square().mean().sqrt().item()


def dice(logits: Tensor, mask: Tensor) -> Tensor:
    """1 - 2 Σ p g / (Σ p² + Σ g²), the mean over samples."""
    p, g = logits.sigmoid().flatten(1), mask.flatten(1)
    return (1 - (2 * (p * g).sum(1) + 1) / (p.square().sum(1) + g.square().sum(1) + 1)).mean()


def iou(predicted: Tensor, mask: Tensor) -> float:
    """Intersection over union of the batch."""
    return (predicted & mask).sum().item() / max(1, (predicted | mask).sum().item())
