"""GPT-2's activation function and Llama's norm in one kernel each; transformers runs eight."""

from torch import nn
from transformers import PreTrainedModel
from transformers.activations import NewGELUActivation
from transformers.models.llama.modeling_llama import LlamaRMSNorm


def fuse(model: PreTrainedModel) -> PreTrainedModel:
    """Replace `gelu_new` and RMSNorm by torch's fused versions, in place, and return the model.

    The formulas are the same, results differ by rounding. Parameters keep their names, and the
    config its `gelu_new`, so checkpoints stay transformers' own.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NewGELUActivation):
                setattr(parent, name, nn.GELU(approximate="tanh"))
            elif isinstance(child, LlamaRMSNorm):
                setattr(parent, name, _fused_norm(child))
    return model


def _fused_norm(norm: LlamaRMSNorm) -> nn.RMSNorm:
    fused = nn.RMSNorm(norm.weight.shape, norm.variance_epsilon, elementwise_affine=False)
    fused.weight = norm.weight
    return fused
