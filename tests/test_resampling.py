"""Groups without a spread of rewards are redrawn from other prompts: with real TRL on the shipped base."""

from importlib.util import find_spec

import pytest

from smolmath.errors import StageError
from smolmath.params.phases import OnlineDifficultyParams, ResampleParams
from tests.test_training import GRPO, SUMS, grpo_trainer

if find_spec("vllm"):
    pytest.skip(
        "beside vLLM trl warns when it is imported; these tests run in the other environment", allow_module_level=True
    )

GROUP = 4
PROMPTS = 3


def by_place(good):
    """A reward with a spread in the groups of the good questions, and none elsewhere."""

    def reward(*, question, **_):
        return [float(place % 2) if asked in good else 1.0 for place, asked in enumerate(question)]

    return reward


def trained(folder, good, *, rounds, problems=SUMS, steps=1, **settings):
    grpo = {"num_generations": GROUP, "max_steps": steps, "max_completion_length": 24} | settings
    resample = ResampleParams(rounds=rounds) if rounds else None
    phase = GRPO.model_copy(
        update={"prompts_per_step": PROMPTS, "grpo": grpo, "resample": resample, "sample_steps": 1}
    )
    trainer, samples = grpo_trainer(folder, phase, problems=problems)
    trainer.reward_funcs = [by_place(good)]
    drawn, batches = [], []
    single_turn, score = trainer._generate_single_turn, trainer._generate_and_score_completions

    def noted(prompt_ids, *rest):
        ids, logps = single_turn(prompt_ids, *rest)
        if trainer._kept is None:
            drawn.append(list(zip(prompt_ids, ids, strict=True)))
            logps = [[float(token) for token in tokens] for tokens in ids]  # as an engine says them, told by the token
        return ids, logps

    def kept(inputs):
        batches.append(score(inputs))
        return batches[-1]

    trainer._generate_single_turn, trainer._generate_and_score_completions = noted, kept
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    return trainer, rows, drawn, batches, samples


@pytest.mark.slow
def test_a_flat_group_gives_its_place_to_another_prompt_until_the_rounds_are_over(tmp_path):
    first = trained(tmp_path / "off", [], rounds=0)[0].scored.rows
    asked = [row["question"] for row in first[::GROUP]]
    others = [problem["question"] for problem in SUMS if problem["question"] not in asked]
    # The first prompt has a spread at once, of the five others three.
    good = [asked[0], *others[:3]]
    trainer, (row,), drawn, (batch,), samples = trained(tmp_path / "on", good, rounds=3)
    trains_on = [scored["question"] for scored in trainer.scored.rows[::GROUP]]
    assert trains_on[0] == asked[0]  # what has a spread stays where it was
    assert set(trains_on) <= set(good)
    assert len(set(trains_on)) == PROMPTS
    # What TRL learns from: these prompts, their completions, an advantage for each.
    texts = trainer.processing_class.batch_decode(batch["prompt_ids"])
    assert all(question in text for question, text in zip(trains_on, texts[::GROUP], strict=True))
    lengths = batch["completion_mask"].sum(1)
    assert [len(ids) for ids in trainer.scored.ids] == lengths.tolist()
    assert (batch["sampling_per_token_logps"] == batch["completion_ids"] * batch["completion_mask"]).all()
    assert all(batch["advantages"] != 0)
    # What is logged is of these alone, but for what was drawn in all.
    assert row["frac_reward_zero_std"] == 0
    assert row["reward"] == 0.5
    assert row["resample/first_reward"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert row["resample/completions"] == sum(map(len, drawn))
    assert row["resample/groups"] == sum(map(len, drawn[1:])) / GROUP
    assert row["completions/mean_length"] == pytest.approx(float(lengths.float().mean()))
    assert len(drawn) > 1
    prompts = [tuple(prompt) for round_ in drawn for prompt, _ in round_[::GROUP]]
    assert len(set(prompts)) == len(prompts)  # no prompt twice in a step
    assert row["num_tokens"] == sum(len(prompt) + len(ids) for round_ in drawn for prompt, ids in round_)
    (path,) = samples.folder.glob("*.parquet")
    import pyarrow.parquet as pq

    assert [sample["question"] for sample in pq.read_table(path).to_pylist()[::GROUP]] == trains_on


@pytest.mark.slow
def test_what_stays_flat_is_trained_on_and_told(tmp_path):
    _, rows, drawn, batches, _ = trained(tmp_path, [], rounds=1, steps=2, steps_per_generation=2)
    assert len(drawn) == 2  # for the two steps of one generation
    assert [len(round_) for round_ in drawn] == [2 * PROMPTS * GROUP, 2 * GROUP]  # two of eight questions were left
    assert rows[0]["frac_reward_zero_std"] == 1
    assert rows[0]["resample/groups"] == 2
    assert "resample/groups" not in rows[1]
    assert not batches[0]["advantages"].any()


@pytest.mark.slow
def test_prompts_that_were_flat_are_passed_over_in_the_epochs_that_follow(tmp_path):
    good = [problem["question"] for problem in SUMS[:3]]
    grpo = {"num_generations": GROUP, "max_steps": 8, "max_completion_length": 8}
    always = {"prompts_per_step": PROMPTS, "grpo": grpo, "online_difficulty": OnlineDifficultyParams(skip=1.0)}
    trainer, _ = grpo_trainer(tmp_path, GRPO.model_copy(update=always), problems=SUMS)
    trainer.reward_funcs = [by_place(good)]
    asked = []
    score = trainer._generate_and_score_completions

    def noted(inputs):
        batch = score(inputs)
        asked.append({row["question"] for row in trainer.scored.rows})
        return batch

    trainer._generate_and_score_completions = noted
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert [row["resample/skipped"] for row in rows[:1]] == [0]
    # Each of the five others was asked once: then its place goes to one that has a spread, until none is left.
    flat = [question for questions in asked for question in questions - set(good)]
    assert sorted(flat[:5]) == sorted(problem["question"] for problem in SUMS[3:])
    assert asked[-1] == set(good)
    known = {trainer.train_dataset[place]["question"] for place in trainer.state.stateful_callbacks["flat"]}
    assert known == {problem["question"] for problem in SUMS[3:]}


def test_a_prompt_is_passed_over_by_chance_and_for_another_as_long_as_there_is_one():
    from smolmath.training.grpo.resampled import passed_over

    planned, flat = [3, 1, 4], [1, 2, 3]
    assert passed_over(planned, 6, [], 1.0, [1, 0])[0] == planned
    asked, others = passed_over(planned, 6, flat, 1.0, [1, 0])
    assert sorted(asked) == [0, 4, 5]
    assert asked[2] == 4
    assert list(others) == []  # 1, 2 and 3 were flat
    assert passed_over([0, 1, 2], 3, [0, 1, 2], 1.0, [1, 0])[0] == [0, 1, 2]  # nothing else is there
    kept = sum(passed_over([1], 6, flat, 0.75, [1, step])[0] == [1] for step in range(400))
    assert 70 < kept < 130
    assert passed_over(planned, 6, flat, 0.5, [1, 7])[0] == passed_over(planned, 6, flat, 0.5, [1, 7])[0]


def test_where_one_generation_asks_every_problem_there_is_nothing_to_redraw(tmp_path):
    phase = GRPO.model_copy(update={"prompts_per_step": len(SUMS), "resample": ResampleParams(rounds=1)})
    with pytest.raises(
        StageError, match=r"8 train problems are fewer than the 8 prompts .* and the others that resample"
    ):
        grpo_trainer(tmp_path, phase)


def test_groups_that_earn_the_same_sum_have_no_spread_whatever_float32_makes_of_it():
    import torch

    from smolmath.training.grpo.resampled import without_spread

    weights = torch.tensor([2.0, 0.4])
    same = torch.ones(16, 2)  # 16 times 2.4: their standard deviation is 2.5e-7 in float32
    assert (same * weights).sum(dim=1).std() > 1e-8
    unlike = torch.ones(16, 2)
    unlike[3, 1] = 0.0
    unscorable = torch.full((16, 2), torch.nan)
    one_unscorable = torch.ones(16, 2)
    one_unscorable[5] = torch.nan  # has no advantage, and the others have none
    half_scored = torch.ones(16, 2)
    half_scored[5, 0] = torch.nan  # 0.4 where the others have 2.4
    found = without_spread(torch.cat([same, unlike, unscorable, one_unscorable, half_scored]), weights, 16)
    assert found.tolist() == [True, False, True, True, False]
