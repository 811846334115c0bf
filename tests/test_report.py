"""The report of a small made-up workspace: numbers, what is missing, what is hostile, what is broken."""

import base64
import gzip
import html
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smolmath.errors import SmolmathError
from smolmath.evaluation.retention import Retained, read_retention, write_retention
from smolmath.evaluation.verdicts import verdicts_schema
from smolmath.records import COMPLETIONS, PROBLEMS, RecordsError, write_table
from smolmath.running.hashes import fingerprint
from smolmath.studies.report.collect import Curve, collect, read_curve
from smolmath.studies.report.completions import browse
from smolmath.studies.report.page import coded, duration, facts_by_value, write_report
from smolmath.studies.report.panels import panels, smoothed, smoothing_window
from smolmath.studies.report.plots import _in_percent
from smolmath.studies.results import ReportError, read_evaluation
from smolmath.studies.wording import p_text, percent, repro, signed, visible
from tests.conftest import ROOT

PARAMS = """
seed: 1
datasets:
  sums: {source: reasoning_gym, path: x.py, task: chain_sum, rows: 100, seed: 1, options: {}}
process: {tokenizer: models/base/tokenizer.json, contamination: {dataset: sums}}
difficulty: {}
prompt: {system: "Use tags.", reasoning_tag: reasoning, answer_tag: answer}
model: {source: shipped, name: calc, path: bases/calc, dtype: float32}
phases:
  sums:
    method: grpo
    dataset: sums
    init: base
    pass_rate: null
    max_prompt_tokens: 128
    prompts_per_step: 8
    preflight: stop
    checkpoint_steps: 20
    validation: {problems: 64, every_steps: 10, metric: accuracy, patience: null}
    lora: null
    rewards: {correctness: 2.0, soft_format: 0.5, integer: 0.0}
    answer_grounding_weight: 0.0
    sample_steps: null
    grpo: {max_steps: 3, num_generations: 4}
evaluate:
  models: [base, sums]
  datasets: [sums]
  sampling: {problems: 320, samples: 4, temperature: 1.0, top_p: 1.0, max_completion_tokens: 128, batch_size: 64}
"""
CURVE = """step,reward,completion_tokens,clipped_share,kl,validation_accuracy,reward_correctness,reward_soft_format
1,1.0,30,0.1,0.9,,0.4,0.4
2,1.5,32,0.0,0.8,0.5,0.6,0.6
3,1.9,35,0.0,0.7,0.75,0.7,1.0
"""
HOSTILE = "<script>alert(1)</script><reasoning>\n1 + 1\n</reasoning>\n<answer>\n3 & more\n</answer>"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A repository's root after a run of one phase on one dataset; Git is missing."""
    shutil.copy(Path(__file__).parents[1] / "dvc.yaml", tmp_path / "dvc.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    write_evaluation("base", accuracy=0.7, mean_at_k=0.675, mean_at_k_se=0.014)
    write_evaluation("sums", accuracy=0.9812, mean_at_k=0.971, mean_at_k_se=0.006)
    retained("mean_at_k", 0.675, 0.971, se=0.015, p=0.00005)
    write("metrics/train/sums.csv", CURVE)
    write_json("data/processed/sums/manifest.json", {"rows": ROWS, "rejected_by_reason": {"duplicate": 7}})
    sides = {"train": 70, "validation": 9, "test": 11}
    write_json("data/split/sums/manifest.json", {"rows": sides, "rejected_by_reason": {"held_out_elsewhere": 1}})
    write("dvc.lock", LOCK)
    write_json(JOURNAL_PATH, JOURNAL)
    for model in ("base", "sums"):
        write_tables(model)
    return tmp_path


ROWS = {"raw": 100, "kept": 91, "rejected": 7, "not_selected": 2}  # 91 = 70 + 9 + 11 + 1 held out elsewhere
LOCK = "stages:\n  base: {cmd: x}\n  train@sums: {cmd: x}\n"
JOURNAL_PATH, OTHER_PATH = (f"journal/{name}/{fingerprint(name, {}, {})}.json" for name in ("train@sums", "base"))
JOURNAL = {
    "stage": "train@sums",
    "fingerprint": "0123456789abcdef",
    "outs": {},
    "seconds": 75.2,
    "peak_memory_mb": 1234,
    "machine": {"cpu": "Test CPU", "gpu": None},
    "packages": {"torch": "2.13.0"},
    "steps": 3,
}


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def write_json(path, values):
    write(path, json.dumps(values))


def write_evaluation(model, dataset="sums", **changed):
    values = {"n": 320, "accuracy": 0.5, "accuracy_se": 0.0126, "accuracy_low": 0.45, "accuracy_high": 0.55}
    values |= {"strict_accuracy": 0.5, "format_rate": 0.9, "truncated": 0.0, "tokens": 31.5, "tokens_p95": 60, "k": 4}
    values |= {"mean_at_k": 0.5, "mean_at_k_se": 0.01, "mean_at_k_low": 0.48, "mean_at_k_high": 0.52}
    values |= {"maj_at_k": 0.6, "maj_at_k_low": 0.5, "maj_at_k_high": 0.7, "reasoning_score": 0.25}
    point = {"pass_at_k": 0.5, "pass_at_k_low": 0.4, "pass_at_k_high": 0.6}
    values |= {"pass_at_k": [{"k": 1, **point}, {"k": 2, **point}]}
    write_json(f"metrics/eval/{model}/{dataset}.json", values | changed)


def retained(measure, before, after, *, se, p, k=4):
    """What summarize says of the two models."""
    Path("metrics").mkdir(exist_ok=True)
    write_retention(Path("metrics/retention.csv"), rows_of("sums", measure, before, after, se=se, p=p, k=k))


def rows_of(dataset, measure, before, after, *, se, p, k=4):
    difference = after - before
    ends = [(value - 0.02, value + 0.02) for value in (before, after)]
    change = ("base", difference, se, difference - 2 * se, difference + 2 * se, 9, 3, p, p)
    return [
        Retained("base", dataset, measure, k, 320, before, *ends[0]),
        Retained("sums", dataset, measure, k, 320, after, *ends[1], *change),
    ]


def write_tables(model):
    """Three problems: p1 and p2 wrong with a hostile completion, p3 right."""
    problem = {"dataset": "sums", "reference_answer": "2", "raw_file": "f", "raw_row": 0}
    verdict = {"strategy": "tag", "strict": True, "formatted": True, "finished": True, "tokens": 9, "answer_group": 0}
    verdict["reward_correctness"] = 0.123456
    problems, completions, verdicts = [], [], []
    for number, right in ((3, True), (1, False), (2, False)):
        name = f"p{number}"
        problems.append({"id": name, "question": f"question {number}: 1 < 2?", **problem})
        completion = "<answer>\n2\n</answer>" if right else HOSTILE
        row = {"problem_id": name, "prompt": "p", "completion": completion, "finish_reason": "stop", "tokens": 9}
        completions += [{**row, "sample": 0}, {**row, "sample": 1, "completion": "a sampled one"}]
        judged = {"problem_id": name, "predicted_answer": "2" if right else "3", "correct": right, **verdict}
        verdicts += [{**judged, "sample": 0}, {**judged, "sample": 1}]
    write_table(Path("data/split/sums/test.parquet"), problems, PROBLEMS)
    write_table(Path(f"results/completions/{model}/sums.parquet"), completions, COMPLETIONS)
    write_table(Path(f"results/verdicts/{model}/sums.parquet"), verdicts, verdicts_schema(["correctness"]))


def page():
    """The report's HTML, no-break spaces made plain, so that the tests can be read."""
    return write_report().read_text(encoding="utf-8").replace("\u00a0", " ")


def test_the_page_opens_with_what_the_phase_did_to_its_own_dataset(workspace):
    assert (
        "GRPO on sums raised sampled accuracy on sums from 67.5 ± 1.4 % to 97.1 ± 0.6 % "
        "(+29.6 ± 1.5 points, n = 320 problems × 4 samples, p &lt; 0.0001)."
    ) in page()


def test_a_fall_is_called_a_fall_and_a_change_that_is_not_significant_is_called_no_difference(workspace):
    write_evaluation("sums", mean_at_k=0.6, mean_at_k_se=0.01)
    retained("mean_at_k", 0.675, 0.6, se=0.012, p=0.003)
    assert (
        "GRPO on sums lowered sampled accuracy on sums from 67.5 ± 1.4 % to 60.0 ± 1.0 % (−7.5 ± 1.2 points" in page()
    )
    write_evaluation("sums", mean_at_k=0.7, mean_at_k_se=0.01)
    retained("mean_at_k", 0.675, 0.7, se=0.015, p=0.07)
    html = page()
    assert (
        "no clear difference to sampled accuracy on sums: 67.5 ± 1.4 % before, 70.0 ± 1.0 % after (+2.5 ± 1.5" in html
    )
    assert "p = 0.07)." in html


def test_a_loss_stands_out_as_a_gain_does_whatever_the_measure_and_the_dataset(workspace):
    write_evaluation("base", accuracy=0.81, mean_at_k=0.675, mean_at_k_se=0.014)
    write_evaluation("sums", accuracy=0.19, mean_at_k=0.68, mean_at_k_se=0.01)
    params = Path("params.yaml").read_text().replace("datasets: [sums]", "datasets: [sums, legs, more]")
    Path("params.yaml").write_text(params)
    for dataset, after in (("legs", 0.4), ("more", 0.9)):
        write_evaluation("base", dataset)
        write_evaluation("sums", dataset, mean_at_k=after)
    rows = [
        *rows_of("sums", "mean_at_k", 0.675, 0.68, se=0.015, p=0.8),
        *rows_of("sums", "accuracy", 0.81, 0.19, se=0.03, p=1e-9, k=1),
        *rows_of("legs", "mean_at_k", 0.5, 0.4, se=0.02, p=1e-5),
        *rows_of("more", "mean_at_k", 0.5, 0.9, se=0.02, p=1e-9),
    ]
    write_retention(Path("metrics/retention.csv"), rows)
    html = page()
    found = re.findall(r'<div class="finding ([\w ]+)"><p>(.*?)</p>', html)
    assert [kind for kind, _ in found] == ["even", "down", "elsewhere down", "elsewhere up"]
    assert "no clear difference to sampled accuracy on sums" in found[0][1]
    assert "lowered greedy accuracy on sums from 81.0 ± 1.3 % to 19.0 ± 1.3 %" in found[1][1]
    assert "lowered sampled accuracy on legs from 50.0 ± 1.0 % to 40.0 ± 1.0 %" in found[2][1]
    assert "raised sampled accuracy on more from 50.0 ± 1.0 % to 90.0 ± 1.0 %" in found[3][1]


def test_a_loss_elsewhere_is_marked_as_a_gain_at_home_is(workspace):
    """What a phase forgot stands in its own line, with its own colour and p, not in small grey under a green bar."""
    write("params.yaml", two_datasets())
    for model, value in (("base", 0.675), ("sums", 0.633)):
        write_evaluation(model, "legs", mean_at_k=value, mean_at_k_se=0.012)
    rows = list(read_retention(Path("metrics/retention.csv")).values())
    others = [replace(row, dataset="legs") for row in rows]
    others[1] = replace(others[1], value=0.633, difference=-0.042, difference_se=0.013, p=0.0055, p_corrected=0.011)
    write_retention(Path("metrics/retention.csv"), [*rows, *others])
    assert (
        '<div class="finding elsewhere down"><p>It lowered sampled accuracy on legs from 67.5 ± 1.2 % to 63.3 ± 1.2 % '
        "(−4.2 ± 1.3 points, n = 320 problems × 4 samples, p = 0.011).</p></div>"
    ) in page()
    others[1] = replace(others[1], p_corrected=0.11)
    write_retention(Path("metrics/retention.csv"), [*rows, *others])
    assert '<div class="finding elsewhere even"><p>It made no clear difference to sampled accuracy on legs:' in page()


def two_datasets():
    legs = "  legs: {source: reasoning_gym, path: x.py, task: leg_counting, rows: 9, seed: 1, options: {}}\n"
    return PARAMS.replace("datasets:\n", "datasets:\n" + legs, 1).replace("datasets: [sums]", "datasets: [sums, legs]")


def test_the_least_that_a_bootstrap_can_tell_is_a_bound(workspace):
    retained("mean_at_k", 0.675, 0.971, se=0.015, p=1 / 10_001)
    assert "points, n = 320 problems × 4 samples, p ≤ 0.0001)" in page()
    assert p_text(6 / 10_001, 1 / 10_001) == "p ≤ 0.0006"  # Holm's, of six
    assert p_text(0.00059994, 9.999e-05) == "p ≤ 0.0006"  # as the file has it
    assert p_text(6 / 10_001, 2 / 10_001) == "p = 0.0006"
    assert p_text(1e-19) == "p < 0.0001"  # an exact test's


def test_backticks_are_code_and_header_cells_say_what_they_head(workspace):
    Path("metrics/retention.csv").unlink()
    html = page()
    assert "not summarized since it was evaluated. Run <code>dvc repro</code>." in html
    assert str(coded("`a < b` <i>")) == "<code>a &lt; b</code> &lt;i&gt;"
    assert not re.search(r"<th(?! scope=)[ >]", html)
    assert '<th scope="col">greedy accuracy</th>' in html
    assert '<th scope="row">sums</th>' in html
    assert '<th scope="rowgroup" colspan="11">on sums <span class="soft">320 problems, k = 4</span></th>' in html


def test_no_share_is_drawn_above_100_percent(workspace, monkeypatch):
    """Near 100 % one standard error reaches beyond: of 64 problems 63 right, 98.4 ± 1.6."""
    drawn = []
    fill = Axes.fill_between
    monkeypatch.setattr(
        Axes,
        "fill_between",
        lambda axes, x, low, high, **how: (drawn.extend([*low, *high]), fill(axes, x, low, high, **how)),
    )
    write("metrics/train/sums.csv", CURVE.replace("0.75", "0.99"))
    page()
    assert max(drawn) == 100
    limits = []
    for values in ([99.0, 100.0], [0.0, 1.0], [40.0, 60.0], [99.9, 99.9]):
        axes = Figure().add_subplot()
        axes.plot(values)
        _in_percent(axes)
        limits.append(axes.get_ylim())
    assert all(low >= 0 and high <= 100 and high - low >= 10 for low, high in limits), limits


def test_what_turns_the_direction_of_text_is_shown_by_its_number(workspace):
    assert visible("1 \u202e2\u2069 \u05d0") == "1 ⟨U+202E⟩2⟨U+2069⟩ \u05d0"
    write("params.yaml", PARAMS.replace("Use tags.", "Use \u202etags."))
    assert "Use ⟨U+202E⟩tags." in page()


def test_without_a_summary_since_the_evaluation_nothing_is_compared(workspace):
    Path("metrics/retention.csv").unlink()
    assert "cannot be compared on sums: not summarized since it was evaluated. Run <code>dvc repro</code>." in page()


def test_greedy_accuracy_is_compared_where_nothing_was_sampled(workspace):
    for model, accuracy in (("base", 0.5), ("sums", 0.75)):
        none = dict.fromkeys([f"{name}_at_k{end}" for name in ("mean", "maj") for end in ("", "_se", "_low", "_high")])
        write_evaluation(model, accuracy=accuracy, k=0, **none | {"pass_at_k": []})
    retained("accuracy", 0.5, 0.75, se=0.02, p=0.00001, k=1)
    html = page()
    assert (
        "raised greedy accuracy on sums from 50.0 ± 1.3 % to 75.0 ± 1.3 % (+25.0 ± 2.0 points, n = 320 problems,"
        in html
    )
    assert "no samples" in html


def test_tables_hold_the_numbers_with_their_standard_errors(workspace):
    html = page()
    for text in (
        "98.1 ± 1.3 %",
        "97.1 ± 0.6 %",
        "48.0–52.0",
        "60.0 %",
        "0.25",
        "31.5",
        "duplicate 7",
        "held out elsewhere 1",
        "1 min 15 s",
    ):
        assert text in html, text


def browsed(html):
    """What the page's script unpacks."""
    packed = re.search(r'id="completions-data">([^<]*)<', html)[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_completions_never_reach_the_page_as_html(workspace):
    html = page()
    assert "alert(1)" not in html
    assert "1 < 2?" not in html
    (dataset,) = browsed(html)["datasets"]
    assert dataset["problems"][0]["question"] == "question 1: 1 < 2?"
    assert dataset["models"]["base"][0][0]["text"] == HOSTILE


def test_every_completion_is_there_greedy_first_with_its_verdict_and_rewards(workspace):
    (dataset,) = browsed(page())["datasets"]
    assert [problem["id"] for problem in dataset["problems"]] == ["p1", "p2", "p3"]
    greedy, sampled = dataset["models"]["sums"][2]
    assert (greedy["right"], greedy["answer"], greedy["strategy"], greedy["rewards"]) == (
        True,
        "2",
        "tag",
        {"correctness": 0.1235},
    )
    assert sampled["text"] == "a sampled one"


def test_a_page_has_room_for_so_many_completions_and_says_which_it_shows(workspace):
    (found,) = browse(["base", "sums"], ["sums"], {}, most=8)  # 2 models × 2 completions each: 2 problems
    assert [problem["id"] for problem in found.problems] == ["p1", "p2"]
    assert found.of == 3
    assert all(len(answers) == 2 for answers in found.models.values())


def test_sources_of_the_problems_are_shown_where_there_are_several(workspace):
    for model in ("base", "sums"):
        sources = [
            {"source": name, "n": 160, "accuracy": value, "accuracy_low": value - 0.1, "accuracy_high": value + 0.1}
            for name, value in (("olympiads", 0.31), ("amc_aime", 0.52))
        ]
        write_evaluation(model, sources=sources)
    html = page()
    assert "sums by source" in html
    assert "olympiads" in html
    assert "21.0–41.0" in html


def cell(accuracy, **name):
    return {**name, "n": 16, "accuracy": accuracy, "accuracy_low": accuracy - 0.1, "accuracy_high": accuracy + 0.1}


def majority(up_to, n, right):
    return {"up_to": up_to, "n": n, "maj_at_k": right, "maj_at_k_low": right - 0.1, "maj_at_k_high": right + 0.1}


def test_levels_and_majorities_are_shown_and_a_part_that_one_model_lacks_is_said(workspace):
    write_evaluation(
        "base", levels=[cell(0.31, level="1"), cell(0.52, level="5")], calibration=[majority(1.0, 7, 0.9)]
    )
    tables = [majority(0.25, 1234, 0.125), majority(1.0, 5, 0.8)]
    write_evaluation("sums", levels=[cell(0.35, level="1"), cell(0.66, level="5")], calibration=tables)
    html = page()
    assert "sums by level" in html
    assert '<th scope="row">5</th><td>52.0 %</td><td class="soft">42.0–62.0</td><td>16</td>' in html
    assert "sums by source" not in html
    first = '<th scope="row">25 %</th><td class="text soft" colspan="3">none</td>'
    assert f'{first}<td>12.5 %</td><td class="soft">2.5–22.5</td><td>1,234</td>' in html
    assert html.index(first) < html.index('<th scope="row">100 %</th><td>90.0')


def suite(differences, *, se=0.01, p=0.01):
    """base and sums on sums and more datasets; differences: dataset -> by how much sums is better."""
    names = [*differences]
    Path("params.yaml").write_text(PARAMS.replace("datasets: [sums]", f"datasets: [{', '.join(names)}]"))
    rows = []
    for name, difference in differences.items():
        for model, accuracy in (("base", 0.5), ("sums", 0.5 + difference)):
            ends = {"accuracy_low": accuracy - 0.05, "accuracy_high": accuracy + 0.05}
            write_evaluation(
                model, name, accuracy=accuracy, accuracy_se=0.03, truncated=0.04, tokens=212.4, k=0, **ends
            )
        rows += rows_of(name, "accuracy", 0.5, 0.5 + difference, se=se, p=p, k=1)
    write_retention(Path("metrics/retention.csv"), rows)


def test_the_suite_is_a_table_of_benchmarks_with_intervals_changes_and_their_average(workspace):
    suite({"sums": 0.3, "aime": -0.1, "amc": 0.1})
    write_evaluation("sums", "amc", accuracy=0.6, accuracy_se=0.03, k=0, all_variants_right=0.25, mean_at_k=None)
    html = page()
    table = html[html.index("By benchmark") :]
    table = table[: table.index("</table>")]
    assert '<th scope="col">sums<br><span class="soft">after base</span></th>' in table
    assert "80.0 ± 3.0 %" in table
    assert '<span class="soft">75.0–85.0</span>\n<br><span class="right">+30.0 ± 1.0</span>' in table
    assert '<span class="wrong">−10.0 ± 1.0</span>' in table
    assert "cut off 4.0 %, 212 tokens" in table
    assert "all variants 25.0 %<br>" in table
    # (0.3 − 0.1 + 0.1) / 3 = 0.1; errors √3 · 1 / 3 = 0.6; each interval ± 2 points: √3 · 2 / 3 = 1.2
    average = table[table.index('<th scope="row">average</th>') :]
    assert "60.0 ± 1.7 %" in average
    assert '+10.0&nbsp;±&nbsp;0.6<br><span class="soft">+8.8 to +11.2</span>' in average


def test_what_one_dataset_alone_has_is_no_suite(workspace):
    assert "By benchmark" not in page()


def test_a_benchmark_that_was_not_evaluated_leaves_no_average(workspace):
    suite({"sums": 0.3, "aime": -0.1})
    Path("metrics/eval/sums/aime.json").unlink()
    table = page().split("By benchmark")[1]
    assert '<td class="missing">–</td>' in table
    assert "+10.0" not in table


def test_benchmarks_on_which_nothing_clear_has_changed_share_a_sentence(workspace):
    suite({"sums": 0.3, "aime": 0.01, "amc": -0.02, "svamp": 0.02}, p=0.2)
    html = page()
    assert '<div class="finding elsewhere even"><p>It made no clear difference on aime, amc, svamp.</p>' in html
    assert html.count('"finding elsewhere') == 1


def test_the_version_of_the_data_is_shown(workspace):
    write_json("data/raw/sums/manifest.json", {"files": [{"sha256": "f" * 64}]})
    assert ">ffffffffffff</code>" in page()
    write_json("data/raw/sums/manifest.json", {"revision": "e53f048856ff4f594e959d75785d2c2d37b678ee", "files": []})
    assert ">e53f048856ff</code>" in page()


def test_energy_is_shown_where_the_machine_told_it(workspace):
    assert "&nbsp;Wh" not in page()
    write_json(JOURNAL_PATH, {**JOURNAL, "energy_wh": 1.234})
    assert "1.23&nbsp;Wh" in page()


def test_what_has_not_run_is_said_with_the_command_that_makes_it(workspace):
    Path("dvc.lock").unlink()
    for path in ("metrics", "data", "results", "journal"):
        shutil.rmtree(path)
    html = page()
    for text in (
        "GRPO on sums: not evaluated yet (base and sums on sums): run <code>dvc repro</code>.",
        "not evaluated yet: run <code>dvc repro evaluate@base-sums</code>",
        "Not trained yet: run <code>dvc repro train@sums</code>.",
        "not processed yet: run <code>dvc repro process@sums</code>",
        "not split yet: run <code>dvc repro split@sums</code>",
        "results/verdicts/base/sums.parquet is not here: run <code>dvc repro</code>, or <code>dvc pull</code> where a remote has it.",
        "no journal entry: not run yet",
        "No Git commit: fatal: not a git repository",
    ):
        assert text in html, text
    assert not list(Path("reports/plots").iterdir())


def test_the_page_loads_nothing_from_anywhere(workspace):
    html = page()
    assert not re.search(r"https?://", html)
    assert not re.search(r"""(src|href)=["'](?!#|data:,)""", html)
    assert "@import" not in html


def test_two_renders_of_the_same_workspace_give_the_same_bytes(workspace):
    write_report(Path("one"))
    write_report(Path("two"))
    names = sorted(path.name for path in Path("one/plots").iterdir())
    assert "retention.svg" in names
    assert "train-sums-reward.png" in names
    for name in [f"plots/{name}" for name in names] + ["index.html"]:
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes(), name


def test_plots_take_the_colour_of_the_page(workspace):
    write_report()
    for plot in Path("reports/plots").glob("*.svg"):
        svg = plot.read_text(encoding="utf-8")
        assert "currentColor" in svg
        assert "#010203" not in svg
        assert "prefers-color-scheme" in svg  # opened by itself it has to choose a colour


def test_plots_of_another_recipe_do_not_stay_behind(workspace):
    write("reports/plots/train-old-reward.svg", "<svg/>")
    write_report()
    assert not Path("reports/plots/train-old-reward.svg").exists()


def test_params_that_changed_after_a_stage_ran_are_named_beside_it(workspace):
    lock = {"schema": "2.0", "stages": {"train@sums": {"cmd": "x", "params": {"params.yaml": {"seed": 2}}}}}
    write_json("dvc.lock", lock)  # JSON is YAML
    write_json(f"journal/train@sums/{fingerprint('train@sums', {}, {'seed': 2})}.json", JOURNAL)
    assert "params.yaml has changed since: seed" in page()


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("metrics/eval/sums/sums.json", "{", r"metrics/eval/sums/sums\.json: no readable JSON"),
        ("metrics/eval/sums/sums.json", '{"n": 3}', r"sums\.json: no number under accuracy, accuracy_se"),
        ("metrics/retention.csv", "a,b\n1,2\n", r"metrics/retention\.csv: no retention matrix"),
        ("metrics/train/sums.csv", "loss\n1\n", r"metrics/train/sums\.csv: no column 'step'"),
        ("metrics/train/sums.csv", "step,loss\n1,\n2,oops\n", r"metrics/train/sums\.csv:3: loss: 'oops' is no number"),
        ("data/split/sums/manifest.json", "[]", r"data/split/sums/manifest\.json: holds no object"),
        (JOURNAL_PATH, "", r"journal/train@sums/[0-9a-f]{16}\.json: no readable JSON"),
        ("dvc.lock", "stages: [", r"dvc\.lock of the workspace cannot be read: settle its merge"),
    ],
)
def test_a_broken_file_stops_the_report_and_is_named(workspace, path, text, message):
    write(path, text)
    with pytest.raises(SmolmathError, match=message):
        write_report()


def test_a_broken_list_in_an_evaluation_stops_the_report_and_is_named(workspace):
    write_evaluation("sums", pass_at_k=None)
    with pytest.raises(
        ReportError, match=r"sums\.json: no list under pass_at_k. Remove it and run: dvc repro evaluate@sums-sums"
    ):
        write_report()


def test_commands_that_the_page_advises_are_quoted_for_a_shell(workspace):
    """A name of params.yaml may hold anything, and the page's words are copied to a prompt."""
    name = "x; touch hacked"
    write("params.yaml", PARAMS.replace("models: [base, sums]", f"models: [base, sums, {name!r}]"))
    page = html.unescape(write_report().read_text(encoding="utf-8"))
    assert f"run <code>dvc repro 'evaluate@{name}-sums'</code>" in page
    assert repro(f"train@{name}") == f"dvc repro 'train@{name}'"
    assert repro("train@sums") == "dvc repro train@sums"


def test_no_advice_goes_past_the_check_of_names():
    """`dvc repro -s` runs a stage without `check`, and a name of params.yaml is then the shell's."""
    advice = [path for path in (ROOT / "src").rglob("*.*") if path.suffix in (".py", ".j2", ".js")]
    found = [
        path for path in advice if re.search(r"dvc repro (-f )?-s", path.read_text().replace("`dvc repro -s -f`", ""))
    ]
    assert found == []


def test_an_evaluation_that_is_newer_than_the_summary_is_not_compared(workspace):
    write_evaluation("sums", mean_at_k=0.5)
    assert "cannot be compared on sums: not summarized since it was evaluated. Run <code>dvc repro</code>." in page()


def test_a_broken_table_stops_the_report_and_is_named(workspace):
    write("results/verdicts/sums/sums.parquet", "not parquet")
    with pytest.raises(RecordsError, match=r"results/verdicts/sums/sums\.parquet is no readable parquet file"):
        write_report()


def test_outside_a_project_there_is_nothing_to_report_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReportError, match=r"holds no dvc\.yaml, so it is no project"):
        write_report()


def test_the_journal_entry_of_the_recorded_run_counts_and_no_newer_one(workspace):
    write_json("journal/train@sums/ffffffffffffffff.json", {**JOURNAL, "seconds": 3600})
    entries = {stage.stage: stage.entry for stage in collect().stages}
    assert entries["train@sums"] == JOURNAL
    assert entries["base"] is None


def test_an_empty_cell_is_not_measured_and_no_zero(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("step,loss\n1,0.5\n2,\n", encoding="utf-8")
    assert read_curve(path) == Curve(steps=[1.0, 2.0], columns={"loss": [0.5, None]})


def test_a_missing_evaluation_is_none(tmp_path):
    assert read_evaluation(tmp_path / "nothing.json") is None


def test_smoothing_is_a_centred_mean_that_narrows_at_the_ends_and_leaves_gaps_open():
    # (0+3)/2, (0+3+6)/3, (3+6+9)/3, (6+9)/2
    assert smoothed([0, 3, 6, 9], 3) == [1.5, 3, 6, 7.5]
    assert smoothed([2, None, 4], 3) == [2, None, 4]


@pytest.mark.parametrize(("steps", "window"), [(3, 1), (19, 1), (20, 3), (50, 5), (100, 11), (5000, 51)])
def test_the_smoothing_window_is_odd_and_about_a_tenth_of_the_curve(steps, window):
    assert smoothing_window(steps) == window


def test_the_parts_of_the_reward_are_weighted_so_that_they_add_up_to_it(workspace):
    report = collect()
    reward, validation, *others = panels(report.phases["sums"], report.curves["sums"], 65)
    assert {line.label: line.values for line in reward.lines} == {  # integer has weight 0 and only watches
        "reward": [1.0, 1.5, 1.9],
        "correctness × 2": pytest.approx([0.8, 1.2, 1.4]),
        "soft_format × 0.5": pytest.approx([0.2, 0.3, 0.5]),
    }
    # √(p (1 − p) / (n − 1)) with n = 65: √(0.25 / 64), √(0.1875 / 64)
    assert validation.lines[0].errors == pytest.approx([0.0, 0.0625, 0.0541266])
    assert [panel.name for panel in others] == ["tokens", "shares", "kl"]  # no entropy was logged


def test_numbers_are_written_as_people_read_them():
    assert percent(0.675, 0.0142) == "67.5\u00a0±\u00a01.4\u00a0%"
    assert [signed(points) for points in (3.04, -12.12, -0.04)] == ["+3.0", "−12.1", "0.0"]
    assert [duration(s) for s in (4.21, 75.2, 7260)] == ["4.2\u00a0s", "1\u00a0min 15\u00a0s", "2\u00a0h 1\u00a0min"]


def test_a_fact_that_differs_between_stages_keeps_the_stages_apart(workspace):
    write_json(OTHER_PATH, {**JOURNAL, "machine": {"cpu": "Other CPU"}})
    html = page()
    assert "Test CPU" in html
    assert "Other CPU" in html
    assert facts_by_value([], "machine") == {}
