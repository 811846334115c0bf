"""A model that is asked: how it is found, what its parts are, when questions are refused, what lies in a saved file."""

import json
import shutil
import subprocess
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from smolmath.answers import grade
from smolmath.engines import Completion, Sampling
from smolmath.engines.transformers import _Pieces
from smolmath.errors import StageError
from smolmath.evaluation.generation import generate_batches, read_completions
from smolmath.params.core import ParamsError, read_params
from smolmath.params.evaluate import SamplingParams
from smolmath.params.prompt import PromptParams
from smolmath.prompts import chat_prompt
from smolmath.tags import DEFAULT_TAGS, Tags
from smolmath.using.solving.conversation import Conversation
from smolmath.using.solving.files import Question, SaveError, append_row, read_questions, solution_row
from smolmath.using.solving.models import FoundModel, ModelError, find_model
from smolmath.using.solving.parts import PartsReader, split_parts
from smolmath.using.solving.reasoner import QuestionError, Reasoner
from smolmath.using.solving.show import Stream, print_solution
from tests.conftest import ROOT

CALC = ROOT / "bases" / "calc"
PROMPT = PromptParams(system="Be brief.", reasoning_tag="reasoning", answer_tag="answer")
SUMS = [
    f"State the final answer to the following arithmetic problem: {sum_} ="
    for sum_ in ("9 + 8 - 5", "1 + 2 + 3 + 4", "7 - 9", "6 + 6 - 1 + 8 + 5", "3 - 3", "2 + 9 - 4 + 1 + 1 + 7")
]


@pytest.fixture(scope="module")
def params():
    params = read_params(ROOT / "recipes" / "demo.yaml")
    params["hardware"]["threads"] = 1  # two tests may run at the same time
    return params


@pytest.fixture(scope="module")
def reasoner(params):
    return Reasoner.load(str(CALC), params)


# --- models by name


def put_model(folder, **config):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_last_trained_phase_is_the_model_if_none_is_named(project, params):
    for name, found in (("base", "base"), ("sums", "sums"), ("legs", "legs")):
        put_model(project / "models" / name)
        assert find_model(None, params).name == found
    assert find_model("models/sums", params) == find_model("sums", params)
    assert find_model("sums/", params).folder == Path("models/sums")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (None, r"no model has been made here yet\. Run: make demo"),
        ("legs", r"legs: models/legs holds no weights\. Run: dvc repro train@legs \(or dvc pull models/legs\)"),
        ("models/base", r"base: models/base holds no weights\. Run: dvc repro base "),
        ("sum", r"sum: no model of that name\. Did you mean 'sums'\? There are: base, sums, legs; or name a directory"),
        ("models/sum", r"models/sum: no model of that name\. Did you mean 'sums'\? There are: base, sums, legs"),
        ("./elsewhere/model", r"no model of that name\. There are: base, sums, legs"),
        ("no such/name", r"no model of that name"),
        ("q" * 5000, r"^q{200}: no model of that name"),
        ("a/" + "q" * 300, r"no model of that name"),
        ("bare", r"bare: no model directory: config\.json or \*\.safetensors is missing in it"),
        ("broken", r"broken/config\.json: not readable"),
        ("listed", r"listed/config\.json: holds no JSON object"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_had_is_named_with_what_to_do(project, params, asked, message):
    (project / "bare").mkdir()
    (project / "models").mkdir()
    put_model(project / "broken").joinpath("config.json").write_text("{")
    put_model(project / "listed").joinpath("config.json").write_text("[]")
    with pytest.raises(ModelError, match=message):
        find_model(asked, params)


def test_a_model_is_asked_with_the_prompt_that_it_was_trained_with(project, params):
    folder = put_model(project / "mine", dtype="bfloat16")
    assert find_model("mine", params).prompt.system == params["prompt"]["system"]
    assert find_model("mine", params).dtype == "bfloat16"
    (folder / "smolmath.json").write_text(json.dumps({"phase": "old"}))  # of an older version
    assert find_model("mine", params).prompt.system == params["prompt"]["system"]
    (folder / "smolmath.json").write_text(json.dumps({"prompt": PROMPT.model_dump()}))
    assert find_model("mine", params).prompt == PROMPT
    (folder / "smolmath.json").write_text(json.dumps({"prompt": {"system": "x"}}))
    with pytest.raises(ParamsError, match=r"mine/smolmath.json: prompt.answer_tag: missing"):
        find_model("mine", params)


def test_weights_that_cannot_be_loaded_are_told_without_a_traceback(project, params):
    put_model(project / "mine", model_type="qwen2")
    with pytest.raises(ModelError, match=r"mine: mine can't be loaded \("):
        Reasoner.load("mine", params)
    put_model(project / "odd", model_type="no_such_kind")
    with pytest.raises(ModelError, match=r"odd: odd can't be loaded \(ValueError: .*no_such_kind"):
        Reasoner.load("odd", params)


# --- parts of a completion

WHOLE = "<reasoning>\n2+2=4\n</reasoning>\n<answer>\n4\n</answer>"
PIECES = st.sampled_from(
    ["<", ">", "/", "a", "\n", "<reasoning>", "</reasoning>", "<answer>", "</answer>", "<ans", "wer>", "<<reasoning>"]
)


def joined(parts):
    found = {"reasoning": "", "answer": "", "text": ""}
    for part, text in parts:
        found[part] += text
    return found


@given(st.lists(PIECES, max_size=12).map("".join), st.data())
def test_parts_are_the_same_however_a_completion_is_cut_into_pieces(completion, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(completion)), max_size=8)))
    pieces = [completion[a:b] for a, b in zip([0, *cuts], [*cuts, len(completion)], strict=True)]
    whole, cut = PartsReader(), PartsReader()
    read = joined([*whole.feed(completion), *whole.end()])
    assert joined([part for piece in pieces for part in cut.feed(piece)] + list(cut.end())) == read


def test_a_part_is_given_as_soon_as_it_can_be_no_tag():
    reader = PartsReader()
    assert list(reader.feed("<reasoning>2<3")) == [("reasoning", "2<3")]
    assert list(reader.feed(" and 5</")) == [("reasoning", " and 5")]
    assert list(reader.feed("b>")) == [("reasoning", "</b>")]
    assert list(reader.feed("</reasoning><answer>1")) == [("answer", "1")]


def test_parts_go_by_the_tags_of_the_model():
    parts = split_parts("<think>a</think><final>7</final>", Tags("think", "final"))
    assert parts == {"reasoning": "a", "answer": "7", "text": ""}
    assert split_parts(WHOLE, DEFAULT_TAGS) == {"reasoning": "2+2=4", "answer": "4", "text": ""}
    assert split_parts("<reasoning>\ncut o", DEFAULT_TAGS)["reasoning"] == "cut o"


# --- pieces as the engine writes them


def test_the_pieces_of_a_streamed_completion_are_its_text(reasoner):
    for question in SUMS[:1]:
        for limit, temperature in ((96, 0.0), (11, 0.0), (40, 1.0)):
            pieces = []
            sampling = Sampling(temperature, 1.0, 1, limit, 7)
            prompt = chat_prompt(question, reasoner.model.prompt)
            ((streamed,),) = reasoner.engine.generate([prompt], sampling, pieces.append)
            assert "".join(pieces) == streamed.text
            assert all(pieces)
            assert len(pieces) > 5
            assert [[streamed]] == reasoner.engine.generate([prompt], sampling)


def fed(tokenizer, ids, ends=frozenset()):
    import torch

    pieces = []
    streamer = _Pieces(tokenizer, set(ends), pieces.append)
    for value in (torch.tensor([[1, 2, 3]]), *(torch.tensor([number]) for number in ids)):
        streamer.put(value)
    streamer.end()
    return pieces


@pytest.mark.parametrize("text", ["é", "naïve 😀 日本語", "a\n\n b", "  two  ", "𝒙²+½", ""])
def test_characters_of_several_tokens_are_written_whole(reasoner, text):
    tokenizer = reasoner.engine.tokenizer
    pieces = fed(tokenizer, tokenizer(text, add_special_tokens=False)["input_ids"])
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)


def test_a_completion_that_ends_in_half_a_character_is_written_as_it_is_decoded(reasoner):
    tokenizer = reasoner.engine.tokenizer
    ids = tokenizer("5 😀", add_special_tokens=False)["input_ids"][:-1]
    assert "".join(fed(tokenizer, ids)) == tokenizer.decode(ids)


def test_nothing_is_written_after_an_end_token(reasoner):
    tokenizer = reasoner.engine.tokenizer
    ids = tokenizer("12<|im_end|>34", add_special_tokens=False)["input_ids"]
    assert "".join(fed(tokenizer, ids, {tokenizer.eos_token_id})) == "12"


def test_a_tokenizer_that_drops_a_texts_first_space_loses_none_within():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["\u2581a", "\u2581b", "\n", "<unk>"]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made)
    ids = [0, 2, 1, 0, 2, 2, 1]
    assert "".join(fed(tokenizer, ids)) == tokenizer.decode(ids) == "a\n b a\n\n b"


# --- asking


def test_greedy_completions_and_answers_are_those_of_evaluation(reasoner, params, tmp_path):
    sampling = SamplingParams(**params["evaluate"]["sampling"] | {"samples": 0, "batch_size": 4})
    problems = [{"id": f"{i:016x}", "question": question} for i, question in enumerate(SUMS)]
    batches = generate_batches(
        reasoner.engine, problems, prompt=reasoner.model.prompt, sampling=sampling, seed=1, state=tmp_path, what="test"
    )
    rows = read_completions(batches)
    solutions = [reasoner.solve(question, write=lambda piece: None) for question in SUMS]
    assert [one.completion for one in solutions] == [row["completion"] for row in rows]
    assert [one.tokens for one in solutions] == [row["tokens"] for row in rows]
    assert [one.finished for one in solutions] == [row["finish_reason"] == "stop" for row in rows]
    assert [one.answer for one in solutions] == [grade(row["completion"], "0").extracted for row in rows]
    assert sum(one.answer is not None for one in solutions) >= 4


def test_samples_repeat_with_their_seed(reasoner):
    once = reasoner.solve(SUMS[3], samples=6, temperature=1.0, seed=3)
    assert once == reasoner.solve(SUMS[3], samples=6, temperature=1.0, seed=3)
    assert once.samples == 6
    assert sum(count for _, count in once.votes) <= 6
    assert once.tokens > 6 * 10


@pytest.mark.parametrize(
    ("question", "settings", "message"),
    [
        ("", {}, r"the question is empty"),
        (" \n\t", {}, r"the question is empty"),
        ("\udcff?", {}, r"the question is not valid UTF-8"),
        ("1 + 1", {"samples": 2}, r"several samples of a greedy completion are all the same: set a temperature"),
        ("1 + 1", {"temperature": float("inf")}, r"a temperature of inf: it can be 0, which is greedy, or 0.01 to 100"),
        ("1 + 1", {"temperature": float("nan")}, r"a temperature of nan: it can be 0"),
        ("1 + 1", {"temperature": 1e-300}, r"a temperature of 1e-300: it can be 0"),
        ("1 + 1", {"temperature": 1.0, "samples": 10**9}, r"1,000,000,000 samples: 1 to 1,024 are drawn of a question"),
        ("1 + 1", {"samples": 0}, r"0 samples: 1 to 1,024 are drawn"),
        ("1 + 1", {"seed": 2**64}, r"a seed of 18446744073709551616: it can be 0 to 2\*\*63 - 1"),
        ("1 + " * 25_000, {}, r"the question is too long: with the system prompt it has \d+,\d+ tokens, and .+calc reads 512"),
    ],
)  # fmt: skip
def test_a_question_that_cannot_be_asked_is_refused(reasoner, question, settings, message):
    with pytest.raises(QuestionError, match=message):
        reasoner.solve(question, **settings)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for message in messages %}{{ raise_exception('no system messages here') }}{% endfor %}",
         "its chat template can't write this chat (no system messages here). Mend it or empty prompt.system"),
        ("{% for message in %}", "its chat template can't write this chat (Expected an expression"),
        ("{{ messages[9].content.x }}", "its chat template can't write this chat ("),
        ("{{ 1 // 0 }}", "its chat template can't write this chat (integer division or modulo by zero"),
        ("{{ range(10 ** 9) }}", "its chat template can't write this chat (Range too big"),
        ("", "the tokenizer has no chat template"),
    ],
)  # fmt: skip
def test_a_chat_template_that_cannot_be_used_is_told_in_one_line(params, tmp_path, template, message):
    shutil.copytree(CALC, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(template)
    with pytest.raises(StageError) as told:
        Reasoner.load(str(tmp_path / "model"), params).solve("1 + 1")
    assert str(told.value).startswith(f"{tmp_path / 'model'}: {message}")
    assert "\n" not in str(told.value)


def test_a_completion_that_the_context_ends_is_told_as_cut_off(reasoner):
    question = "1 + " * 150 + "1 ="
    assert 0 < reasoner.room(question) < 90
    solution = reasoner.solve(question, max_completion_tokens=96)
    assert (solution.finished, solution.tokens) == (False, reasoner.room(question))


class Says:
    """An engine with completions of its own: text, and whether it was finished."""

    def __init__(self, *said):
        self.said = said

    def render(self, prompt):
        return "".join(f"{message['role']}:{message['content']}\n" for message in prompt)

    def count_tokens(self, text):
        return len(text)

    def generate(self, prompts, sampling, write=None):
        return [[Completion(text, "stop" if finished else "length", 5) for text, finished in self.said]]


def says(*said, name="it", context=1000, folder=None):
    return Reasoner(reading(context)(name, folder or Path("nowhere"), PROMPT, "float32", 50), Says(*said))


def reading(tokens):
    """Models with that context, whatever their config says."""
    return type("Reading", (FoundModel,), {"context": tokens})


def test_equal_answers_vote_together_and_the_first_completion_of_the_majority_is_shown():
    texts = [
        "<answer>3</answer>",
        "I don't know",
        "<reasoning>a</reasoning><answer>1/2</answer>",
        "<answer>0.5</answer>",
    ]
    solution = says(*((text, True) for text in texts)).solve("?", samples=4, temperature=1.0)
    assert solution.answer == "1/2"
    assert solution.votes == [("1/2", 2), ("3", 1)]
    assert (solution.completion, solution.reasoning) == (texts[2], "a")
    assert solution.tokens == 20


def test_where_no_completion_has_an_answer_there_is_none_and_the_first_is_shown():
    solution = says(("<reasoning>hm", False), ("<reasoning>so", False)).solve("?", samples=2, temperature=1.0)
    assert (solution.answer, solution.votes, solution.reasoning, solution.finished) == (None, [], "hm", False)


@pytest.mark.parametrize(
    ("completion", "reasoning"),
    [
        (WHOLE, "2+2=4"),
        ("First 2+2. The answer is 4.", "First 2+2. The answer is 4."),
        ("Adding up.\n<answer>4</answer>", "Adding up."),
        ("<answer>4</answer>", ""),
    ],
)
def test_reasoning_is_what_stands_before_the_answer(completion, reasoning):
    solution = says((completion, True)).solve("?")
    assert (solution.reasoning, solution.answer) == (reasoning, "4")


# --- on a terminal


def shown(solution, pieces, **console):
    out = Console(width=80, record=True, file=open("/dev/null", "w"), **console)  # noqa: SIM115
    with out.file:
        stream = Stream(out, DEFAULT_TAGS)
        for piece in pieces:
            stream.write(piece)
        stream.end()
        print_solution(out, solution)
        return out.export_text(styles=bool(console))


def test_a_streamed_completion_is_shown_without_tags_and_empty_lines_and_its_answer_once():
    solution = says((WHOLE, True)).solve("?")
    for pieces in ([WHOLE], list(WHOLE)):
        assert shown(solution, pieces) == "2+2=4\nanswer: 4\n"


def test_reasoning_has_a_colour_of_its_own_on_a_terminal():
    text = shown(says((WHOLE, True)).solve("?"), [WHOLE], force_terminal=True)
    assert text.startswith("\x1b[36m2+2=4\x1b[0m\n")
    assert "\x1b[1;32m4\x1b[0m" in text


def test_what_a_model_writes_moves_no_cursor_and_is_no_markup():
    completion = "<reasoning>[red]a[/red]\x1b[2Jb\r\x07</reasoning><answer>[b]\x1b[1m4</answer>"
    text = shown(says((completion, True)).solve("?"), [completion], force_terminal=True)
    assert "[red]a[/red][2Jb" in text
    assert "\x1b[2J" not in text
    assert not {"\r", "\x07"} & set(text)


def test_a_cut_off_completion_and_a_missing_answer_are_said():
    text = shown(says(("<reasoning>so", False)).solve("?"), ["<reasoning>so"])
    assert (
        text
        == "so\nno answer found in the completion\nthe completion was cut off after 5 tokens: raise --max-tokens.\n"
    )


def test_votes_are_a_table_with_those_that_gave_no_answer():
    said = [("<answer>7</answer>", True)] * 5 + [("<answer>8</answer>", True)] * 2 + [("hm", True)]
    text = shown(says(*said).solve("?", samples=8, temperature=1.0), [])
    assert [line.split() for line in text.splitlines()] == [
        ["answer:", "7"],
        ["answer", "samples"],
        ["7", "×5", "█" * 15],
        ["8", "×2", "█" * 6],
        ["none", "×1", "█" * 3],
    ]  # fmt: skip


# --- conversations


def test_the_oldest_turns_are_left_out_when_the_context_is_full_and_the_file_has_all(tmp_path):
    # A turn: "user:q\n" + "assistant:" + 50 characters + "\n" = 68; the system prompt 17; a completion's 50 are kept free.
    dropped = []
    conversation = Conversation(says(("a" * 50, True), context=280))
    for _ in range(3):
        conversation.ask("q", print, dropped.append)
    assert dropped == []  # 17 + 3·68 + 7 = 228 ≤ 230 would still be room, which is not asked for yet
    conversation.ask("q", print, dropped.append)
    assert (dropped, conversation.dropped) == ([], 0)
    conversation.ask("q", print, dropped.append)
    assert (dropped, conversation.dropped) == ([1], 1)
    conversation.ask("q" * 60, print, dropped.append)
    assert (dropped, conversation.dropped) == ([1, 2], 3)
    conversation.save(tmp_path / "talk.jsonl")
    conversation.save(tmp_path / "talk.jsonl")
    first, second = [json.loads(line) for line in (tmp_path / "talk.jsonl").read_text().splitlines()]
    assert first["messages"] == second["messages"]
    assert [message["role"] for message in first["messages"]] == ["system", *["user", "assistant"] * 6]
    assert first["messages"][0]["content"] == "Be brief."


def test_a_question_that_alone_is_too_long_leaves_the_conversation_as_it_was():
    dropped = []
    conversation = Conversation(says(("a" * 50, True), context=280))
    conversation.ask("q", print, dropped.append)
    with pytest.raises(QuestionError, match="too long"):
        conversation.ask("q" * 500, print, dropped.append)
    assert (dropped, conversation.dropped, len(conversation.turns)) == ([], 0, 1)


def test_a_conversation_that_outgrows_a_real_model_goes_on(reasoner):
    small = reading(160)(**{field.name: getattr(reasoner.model, field.name) for field in fields(FoundModel)})
    dropped = []
    conversation = Conversation(Reasoner(small, reasoner.engine), 64)
    for question in SUMS[:3]:
        conversation.ask(question, lambda piece: None, dropped.append)
    assert sum(dropped) == conversation.dropped > 0
    assert [turn.question for turn in conversation.turns] == SUMS[:3]
    assert all(turn.completion for turn in conversation.turns)


def test_a_limit_beyond_the_context_does_not_forget_every_turn():
    dropped = []
    conversation = Conversation(says(("a" * 50, True), context=280), 10_000)
    for _ in range(3):
        conversation.ask("q", print, dropped.append)
    assert dropped == [1]  # 280 / 2 are kept free: 17 + 68 + 7 = 92 leave 188, 160 leave 120


# --- files


@pytest.mark.parametrize(
    ("name", "text", "questions"),
    [
        ("q.txt", "1 + 1\n\n  2 + 2 \r\n3", [("1 + 1", None), ("2 + 2", None), ("3", None)]),
        ("q.jsonl", '{"question": "1 + 1"}\n\n{"id": 7, "question": "2", "other": []}', [("1 + 1", None), ("2", 7)]),
        ("q.json", '\ufeff{"id": "a", "question": "1"}\n', [("1", "a")]),
    ],
)
def test_questions_are_read_line_by_line(tmp_path, name, text, questions):
    (tmp_path / name).write_text(text)
    assert [(one.text, one.id) for one in read_questions(tmp_path / name)] == questions


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", r"q\.jsonl:2: not JSON"),
        (b"[1]", r"q\.jsonl:2: no object with a text under \"question\""),
        (b'{"text": "1"}', r"q\.jsonl:2: no object with a text"),
        (b'{"question": 3}', r"q\.jsonl:2: no object with a text"),
        (b'{"question": " "}', r"q\.jsonl:2: the question is empty"),
        (b'{"question": "1", "id": [1]}', r"q\.jsonl:2: the id is neither"),
        (b'{"question": "\xff"}', r"q\.jsonl:2: not JSON \(UnicodeDecodeError\)"),
        (b"[" * 100_000, r"q\.jsonl:2: not JSON \(RecursionError\)"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, line, message):
    (tmp_path / "q.jsonl").write_bytes(b'{"question": "1"}\n' + line + b"\n")
    with pytest.raises(QuestionError, match=message):
        read_questions(tmp_path / "q.jsonl")


def test_of_many_bad_lines_a_few_are_named_and_the_rest_counted(tmp_path):
    (tmp_path / "q.jsonl").write_text("{\n" * 30)
    with pytest.raises(QuestionError, match=r"(?s)q.jsonl:5: .*… and 25 more lines") as raised:
        read_questions(tmp_path / "q.jsonl")
    assert "q.jsonl:6" not in str(raised.value)


def test_files_without_a_question_are_refused(tmp_path):
    (tmp_path / "q.txt").write_text("\n\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\n")
    for name, message in (
        ("q.txt", "holds no question"),
        ("bytes.txt", "bytes.txt:1: no UTF-8"),
        ("x", "No such file"),
    ):
        with pytest.raises(QuestionError, match=message):
            read_questions(tmp_path / name)


def test_a_saved_solution_says_how_it_was_made(tmp_path):
    solution = says((WHOLE, True)).solve("2 + 2?")
    row = solution_row(Question("2 + 2?", "q1"), solution, "sums", Sampling(0.0, 1.0, 1, 96, 0))
    append_row(tmp_path / "deep" / "a.jsonl", row)
    read = json.loads((tmp_path / "deep" / "a.jsonl").read_text())
    assert read == {
        "id": "q1", "question": "2 + 2?", "reasoning": "2+2=4", "answer": "4", "completion": WHOLE, "finished": True,
        "tokens": 5, "votes": [["4", 1]], "model": "sums",
        "sampling": {"temperature": 0.0, "top_p": 1.0, "samples": 1, "max_completion_tokens": 96, "seed": 0},
    }  # fmt: skip


WRITER = """
import sys, time
from pathlib import Path
from smolmath.using.solving.files import append_row
path, name = Path(sys.argv[1]), sys.argv[2]
for number in range(150):
    append_row(path, {"writer": name, "number": number, "text": "é" * (1 + 997 * number % 40_000)})
    while len({line[:13] for line in path.read_bytes().splitlines()[:300]}) < 2 and not number:
        time.sleep(0.01)  # for the other, so that both write at the same time
"""


def test_two_processes_append_to_one_file_and_every_line_is_whole(tmp_path):
    path = tmp_path / "saved.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in "ab"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for name in "ab":
        assert [row["number"] for row in rows if row["writer"] == name] == list(range(150))
    changes = sum(a["writer"] != b["writer"] for a, b in pairwise(rows))
    assert changes > 1, "the two never wrote at the same time"
    assert [entry.name for entry in tmp_path.iterdir()] == ["saved.jsonl"]


FULL = """
import resource, sys
from pathlib import Path
from smolmath.using.solving.files import append_row
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for number in range(9):
    append_row(Path(sys.argv[1]), {"text": "a" * 300})
"""


def test_a_row_that_no_longer_fits_the_disk_is_not_begun(tmp_path):
    path = tmp_path / "saved.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=False)
    assert "cannot be written (File too large)" in done.stderr
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"text": "a" * 300}] * 3


def test_a_line_that_was_left_open_spoils_no_other(tmp_path):
    path = tmp_path / "saved.jsonl"
    path.write_text('{"question": "ha')
    append_row(path, {"a": 1})
    assert path.read_text() == '{"question": "ha\n{"a": 1}\n'


def test_a_file_that_cannot_be_written_is_found_before_anything_is_generated(tmp_path):
    append_row(tmp_path / "new.jsonl", None)
    assert (tmp_path / "new.jsonl").read_bytes() == b""
    with pytest.raises(SaveError, match=r"cannot be written \(Is a directory\)"):
        append_row(tmp_path, None)
