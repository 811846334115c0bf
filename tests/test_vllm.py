"""The real vLLM engine on a CPU (make test-vllm): the same interface, prompts and stop rules as transformers."""

import pytest
from benchmarks.evaluation import judged, read_problems

from smolmath.engines import Sampling, load_engine
from smolmath.evaluation.paired import compare_verdicts
from smolmath.params.prompt import PromptParams
from smolmath.prompts import chat_prompt
from tests.conftest import ROOT
from tests.test_training import HARDWARE

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),  # vLLM's and its dependencies' own, which are not ours to mend
]
PROMPT = PromptParams(
    system="Work it out in <reasoning> tags, then give the result in <answer> tags.",
    reasoning_tag="reasoning",
    answer_tag="answer",
)
ASKED = [
    chat_prompt(f"State the final answer to the following arithmetic problem: {a} + {b} - {c} =", PROMPT)
    for a, b, c in [(1, 2, 3), (4, 5, 6), (7, 8, 9), (9, 9, 1), (3, 0, 8), (6, 6, 6), (2, 7, 4), (5, 1, 0)]
]


@pytest.fixture(scope="module")
def engines():
    pytest.importorskip("vllm", reason="the vLLM environment is made by `make test-vllm`")
    hardware = HARDWARE.model_copy(update={"engine": "vllm", "gpu_memory": 0.1})
    base = ROOT / "bases" / "calc"
    plain = load_engine(base, dtype="float32", hardware=hardware.model_copy(update={"engine": "transformers"}))
    return load_engine(base, dtype="float32", hardware=hardware), plain


def test_greedy_completions_are_those_of_transformers(engines):
    vllm, plain = engines
    greedy = Sampling(temperature=0.0, top_p=1.0, samples=1, max_completion_tokens=64, seed=0)
    ours, theirs = vllm.generate(ASKED, greedy), plain.generate(ASKED, greedy)
    assert [one.text for (one,) in ours] == [one.text for (one,) in theirs]
    assert [one.finish_reason for (one,) in ours] == [one.finish_reason for (one,) in theirs]
    assert [one.tokens for (one,) in ours] == [one.tokens for (one,) in theirs]


def test_accuracy_is_that_of_transformers_within_the_paired_interval(engines):
    problems = read_problems(None, 64)
    chats = [chat_prompt(problem["question"], PROMPT) for problem in problems]
    greedy = Sampling(temperature=0.0, top_p=1.0, samples=1, max_completion_tokens=96, seed=0)
    texts, verdicts = [], []
    for engine in engines:
        found = [one for (one,) in engine.generate(chats, greedy)]
        texts.append([one.text for one in found])
        as_rows = [{"text": one.text, "finished": one.finish_reason == "stop"} for one in found]
        verdicts.append(judged(as_rows, problems))
    print(f"{sum(a == b for a, b in zip(*texts, strict=True))} of 64 greedy completions are the same")
    (found,) = compare_verdicts(*verdicts)
    assert 0.5 < found.before < 1
    assert found.difference.low <= 0 <= found.difference.high


def test_sampled_completions_repeat_with_their_seed_and_are_as_many_as_asked(engines):
    vllm, _ = engines
    drawn = Sampling(temperature=1.0, top_p=1.0, samples=4, max_completion_tokens=64, seed=7)
    once = vllm.generate(ASKED, drawn)
    assert [len(completions) for completions in once] == [4] * len(ASKED)
    assert vllm.generate(ASKED, drawn) == once


def test_a_completion_that_was_cut_is_told(engines):
    vllm, _ = engines
    cut = Sampling(temperature=0.0, top_p=1.0, samples=1, max_completion_tokens=2, seed=0)
    assert {one.finish_reason for (one,) in vllm.generate(ASKED, cut)} == {"length"}


def test_a_streamed_completion_comes_in_pieces_that_are_its_text(engines):
    vllm, _ = engines
    greedy = Sampling(temperature=0.0, top_p=1.0, samples=1, max_completion_tokens=64, seed=0)
    pieces = []
    ((streamed,),) = vllm.generate(ASKED[:1], greedy, pieces.append)
    assert "".join(pieces) == streamed.text
    assert len(pieces) > 3
    assert vllm.generate(ASKED[:1], greedy) == [[streamed]]


def test_a_stream_that_is_stopped_leaves_no_request_behind(engines):
    vllm, _ = engines
    greedy = Sampling(temperature=0.0, top_p=1.0, samples=1, max_completion_tokens=64, seed=0)
    undisturbed = vllm.generate(ASKED[:2], greedy)

    def stop(piece):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vllm.generate(ASKED[:1], greedy, stop)
    assert not vllm.engine.llm_engine.has_unfinished_requests()
    assert vllm.generate(ASKED[:2], greedy) == undisturbed


@pytest.fixture
def unpacked_linears(monkeypatch):
    """vLLM on a CPU repacks linear weights after loading them, and then takes no new ones."""
    layers = pytest.importorskip("vllm.model_executor.layers.utils")
    import torch

    def plain(layer, remove_weight):
        layer.cpu_linear = torch.nn.functional.linear

    monkeypatch.setattr(layers, "dispatch_cpu_unquantized_gemm", plain)


def test_grpo_with_vllm_beside_it_learns_as_with_transformers(tmp_path, unpacked_linears):
    from tests.test_training import GRPO, SUMS, grpo_trainer

    settings = {"num_generations": 8, "max_steps": 20, "max_completion_length": 64, "learning_rate": 2.0e-4}
    settings["lr_scheduler_type"] = "constant"
    rewards = {"correctness": 2.0, "soft_format": 0.4}
    phase = GRPO.model_copy(update={"prompts_per_step": 8, "grpo": settings, "rewards": rewards})
    mean, spread = {}, {}
    for mode in ("off", "colocate"):
        hardware = HARDWARE.model_copy(update={"vllm": mode, "vllm_memory": 0.1, "vllm_sleep": False})
        trainer, _ = grpo_trainer(tmp_path / mode, phase, hardware, problems=SUMS)
        assert trainer.use_vllm == (mode == "colocate")
        if trainer.use_vllm:  # config.json says float32 here; a type of its own is the test below
            engine = trainer.vllm_generation.llm.llm_engine.vllm_config.model_config
            assert (str(engine.dtype), engine.max_model_len) == ("torch.float32", 64 + 64)
        trainer.train()
        rewarded = [row["reward"] for row in trainer.state.log_history if "reward" in row]
        assert len(rewarded) == 20
        mean[mode] = sum(rewarded) / 20
        # Of a step's mean over its 64 completions; steps are drawn from models that move apart by chance alone.
        spread[mode] = (sum((r - mean[mode]) ** 2 for r in rewarded) / 19 / 20) ** 0.5
        first, last = sum(rewarded[:5]) / 5, sum(rewarded[-5:]) / 5
        assert last > first  # both learn
    assert abs(mean["off"] - mean["colocate"]) < 3 * (spread["off"] ** 2 + spread["colocate"] ** 2) ** 0.5


def test_the_engine_computes_in_the_type_that_is_trained_whatever_config_json_says(tmp_path, unpacked_linears):
    from trl.generation import vllm_generation

    from smolmath.training.grpo.trainer import engine_type

    with engine_type("bfloat16"):
        engine = vllm_generation.LLM(
            model=str(ROOT / "bases" / "calc"), enforce_eager=True, gpu_memory_utilization=0.1
        )
    assert str(engine.llm_engine.vllm_config.model_config.dtype) == "torch.bfloat16"
