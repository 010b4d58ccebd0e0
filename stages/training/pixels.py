"""Images that stay bytes until they are read: a quarter of the memory to keep and to fetch."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from stages.common.datasets import Images


@dataclass(frozen=True)
class Pixels:
    """Images of one split. Reading turns each byte into `scale`·byte + `shift`."""

    bytes: Tensor
    """(examples, pixels), uint8."""
    scale: float
    shift: Tensor
    """(1,), of the floating-point type that pixels are read as."""

    @classmethod
    def normalized(
        cls, images: Images, mean: float, deviation: float, device: torch.device
    ) -> Self:
        """Take images (examples, height, width), read as (byte/255 − mean) / deviation, float32."""
        return cls(
            bytes=torch.from_numpy(images).to(device).flatten(start_dim=1),
            scale=1 / (255 * deviation),
            shift=torch.tensor([-mean / deviation], dtype=torch.float32, device=device),
        )

    def __len__(self) -> int:
        """Say how many examples there are."""
        return len(self.bytes)

    @property
    def width(self) -> int:
        """Pixels in an image."""
        return self.bytes.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.bytes.device

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Read some of the images, (…, pixels)."""
        return self._read(self.bytes[rows].to(self.shift.dtype))

    def fetch(self, chosen: Tensor, copies: Tensor, out: Tensor) -> None:
        """Read images by number into tensors that the caller has allocated.

        Args:
            chosen: (images,), int64, their numbers.
            copies: (images, pixels), uint8, receives the bytes.
            out: (images, pixels), receives the normalized pixels.
        """
        torch.index_select(self.bytes, 0, chosen, out=copies)
        self._read(out.copy_(copies))

    def _read(self, values: Tensor) -> Tensor:
        return torch.add(self.shift, values, alpha=self.scale, out=values)
