"""Mixed precision: the format that gradients survive."""

from __future__ import annotations

import pytest
import torch

from recbole_ext.mixed_precision import mixed_precision


@pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'")
@pytest.mark.parametrize(
    ("device", "enable_scaler", "dtype"),
    [
        ("cpu", False, torch.bfloat16),
        ("cpu", True, torch.bfloat16),
        ("cuda", False, torch.bfloat16),
        ("cuda", True, torch.float16),
    ],
)
def test_float16_is_taken_only_with_a_scaled_loss(device: str, enable_scaler: bool, dtype: torch.dtype) -> None:
    assert mixed_precision(torch.device(device), True, enable_scaler).fast_dtype == dtype


def test_without_enable_amp_products_stay_in_single_precision() -> None:
    matrix = torch.ones(2, 2)
    with mixed_precision(matrix.device, False, False):
        assert (matrix @ matrix).dtype == torch.float32
    with mixed_precision(matrix.device, True, False):
        assert (matrix @ matrix).dtype == torch.bfloat16
