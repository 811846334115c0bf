"""What a step costs by arithmetic: FLOPs, and the seconds below which a device cannot do it.

Model FLOPs, of a decoder whose layers hold M weights in matrices and whose output layer holds d·V (d hidden, V
vocabulary; l layers):

    forward   2·l·M per token, 2·d·V per token whose logits are needed, 4·l·d per token and token that it attends to
    generate  a forward of prompt + completion − 1 tokens; logits for each token of the completion
    train     3 forwards (one for the loss, two for its gradient) of prompt + completion; logits for the completion

With logits for every token that is the customary 2·N a generated and 6·N a trained token, N = l·M + d·V. TRL
computes logits for completions alone, so no more is counted. Padding, work that checkpointing repeats and the extra
forward with vLLM (importance sampling) are no model FLOPs: they lower the utilisation, as they should.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Sequences = Sequence[tuple[int, int]]  # (tokens of the prompt, tokens of the completion)


@dataclass(frozen=True)
class Shape:
    """A Qwen2 decoder with tied embeddings; heads are hidden / heads wide."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int

    @property
    def kv_width(self) -> int:
        return self.hidden // self.heads * self.kv_heads

    @property
    def layer_matrices(self) -> int:
        """Weights of one layer that a token is multiplied by: q, o; k, v; gate, up, down."""
        return 2 * self.hidden**2 + 2 * self.hidden * self.kv_width + 3 * self.hidden * self.intermediate

    @property
    def matrices(self) -> int:
        """N: all weights that a token with logits is multiplied by."""
        return self.layers * self.layer_matrices + self.hidden * self.vocabulary

    @property
    def parameters(self) -> int:
        """Every parameter, with the biases of q, k and v and the norms."""
        biases_and_norms = self.hidden + 2 * self.kv_width + 2 * self.hidden
        return self.matrices + self.layers * biases_and_norms + self.hidden


# huggingface.co/Qwen/Qwen2.5-0.5B-Instruct, config.json
QWEN2_5_0_5B = Shape(hidden=896, intermediate=4864, layers=24, heads=14, kv_heads=2, vocabulary=151936)


@dataclass(frozen=True)
class Machine:
    """What the device was measured to do."""

    bytes_per_s: float  # read and written by a large copy
    flops_per_s: float  # of a large matrix product


def forward_flops(shape: Shape, *, tokens: int, contexts: int, logits: int) -> int:
    """Args: contexts: for each token the tokens that it attends to, itself included, added up."""
    matrices = shape.layers * shape.layer_matrices * tokens + shape.hidden * shape.vocabulary * logits
    return 2 * matrices + 4 * shape.layers * shape.hidden * contexts


def generate_flops(shape: Shape, sequences: Sequences) -> int:
    """The last token of a completion is never fed back."""
    return sum(
        forward_flops(shape, tokens=p + c - 1, contexts=(p + c - 1) * (p + c) // 2, logits=c) for p, c in sequences
    )


def train_flops(shape: Shape, sequences: Sequences) -> int:
    return sum(
        3 * forward_flops(shape, tokens=p + c, contexts=(p + c) * (p + c + 1) // 2, logits=c) for p, c in sequences
    )


def generate_bound_s(shape: Shape, sequences: Sequences, machine: Machine, *, weight_bytes: int) -> float:
    """Seconds that one batch takes at least: the prompts at once, then a token a step of every open completion.

    A step reads each weight once and the keys and values of every open sequence; it lasts as long as that takes, or as
    its FLOPs do. Completions that have ended cost nothing, as with vLLM.

    Args: sequences: of one batch. weight_bytes: of a weight, and of a key or value, while it generates.
    """
    weights = shape.matrices * weight_bytes
    kept_per_token = 2 * shape.layers * shape.kv_width * weight_bytes
    prompt_tokens = sum(p for p, _ in sequences)
    prefill = forward_flops(
        shape, tokens=prompt_tokens, contexts=sum(p * (p + 1) // 2 for p, _ in sequences), logits=len(sequences)
    )
    seconds = max(weights / machine.bytes_per_s, prefill / machine.flops_per_s)
    for step in range(1, max(c for _, c in sequences)):
        contexts = [p + step for p, c in sequences if c > step]
        flops = forward_flops(shape, tokens=len(contexts), contexts=sum(contexts), logits=len(contexts))
        read = weights + kept_per_token * sum(contexts)
        seconds += max(read / machine.bytes_per_s, flops / machine.flops_per_s)
    return seconds


def train_bound_s(shape: Shape, sequences: Sequences, machine: Machine) -> float:
    return train_flops(shape, sequences) / machine.flops_per_s


def training_memory(shape: Shape, *, tokens: int, kept: int, layer: int, checkpointing: bool) -> int:
    """Bytes of full fine-tuning in bf16 autocast with fp32 weights, without what CUDA, caches and vLLM take.

    16 for each parameter (weight, gradient, two moments), 2 for its bf16 copy during a pass, and what autograd keeps
    of each token in each layer.

    Args: tokens: of one pass, padding included. kept: bytes that a layer keeps of a token. layer: bytes that it would
    keep without checkpointing; with it, one layer at a time is computed again and holds them.
    """
    activations = tokens * (shape.layers * kept + (layer if checkpointing else 0))
    return 18 * shape.parameters + activations
