"""Fused kernels compute what transformers' modules do, forward and backward, under their names."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification
from transformers.activations import NewGELUActivation
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from rm_tension.model.fused import fuse
from rm_tension.model.reward_model import load_reward_model

STOCK = (NewGELUActivation, LlamaRMSNorm)


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)]
)
def test_rewards_and_gradients_are_the_stock_models(backbone, dtype, limit):
    results = []
    for change in (lambda model: model, fuse):
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(
            backbone, num_labels=1, pad_token_id=0
        )
        model = change(model.to(dtype).eval())
        ids = torch.tensor([[5, 6, 7, 8], [5, 9, 3, 4]])
        logits = model(ids).logits
        logits.sum().backward()
        gradients = [parameter.grad.flatten() for parameter in model.parameters()]
        results.append(torch.cat([logits.flatten(), *gradients]).double())
    stock, fused = results
    assert float((fused - stock).norm() / stock.norm()) < limit


def test_a_loaded_model_has_no_stock_module_left_and_stocks_own_names(backbone):
    model = load_reward_model(backbone)
    stock = AutoModelForSequenceClassification.from_pretrained(backbone, num_labels=1)
    assert any(isinstance(module, STOCK) for module in stock.modules())
    assert not any(isinstance(module, STOCK) for module in model.modules())
    assert model.state_dict().keys() == stock.state_dict().keys()
    assert model.config.to_dict().get("activation_function") in (None, "gelu_new")
