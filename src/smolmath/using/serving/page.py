"""The page to try a model on: a question, the reasoning as it is written, the answer; two models side by side.

Completions are shown as text whatever they hold: every piece of one is escaped here. Nothing is loaded from elsewhere.
"""

import os
import re
import threading
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from smolmath.studies.formulas import formulas_script
from smolmath.studies.wording import visible
from smolmath.using.serving.asking import Asking, Drawn, Shown
from smolmath.using.solving.reasoner import Reasoner

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
import gradio as gr
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_EXAMPLES = 4
_SAMPLED = "(samples, temperature) => samples > 1 && temperature === 0 ? 1 : temperature"
_script = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
_MOST_SAMPLES = 16
_MOST_BYTES = 1 << 20  # of what a browser sends
_READ = re.compile(
    r"/((assets|static|svelte)/.*|config|favicon\.ico|theme\.css|"
    r"gradio_api/(queue/data|heartbeat/\w+|startup-events|info|app_id|theme\.css))?"
)
_SENT = {"/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/cancel", "/gradio_api/reset"}


def page(reasoners: Sequence[Reasoner]) -> FastAPI:
    """The page's app. Args: reasoners: one model, or two to compare."""
    examples = example_questions(Path("data/split"))
    asking = Asking(reasoners, {question: reference for _, question, reference in examples})
    running = _Running()
    limit = max(reasoner.model.max_completion_tokens for reasoner in reasoners)
    names = " and ".join(f"<b>{escape(reasoner.model.name)}</b>" for reasoner in reasoners)

    def ask(
        question: str, samples: int, temperature: float, tokens: int, request: gr.Request
    ) -> Iterator[list[dict[str, Any]]]:
        session = str(request.session_hash)
        gone = running.begin(session)
        for shown in asking.ask(question, Drawn(int(samples), float(temperature), int(tokens)), gone):
            if not running.is_latest(session, gone):
                return  # what stands there is a newer question's
            columns = [gr.update(value=as_html(one, int(samples))) for one in shown]
            writes = any(one.state in ("waiting", "writing") for one in shown)
            yield [gr.update(value=asked_html(question)), gr.update(interactive=writes), *columns]

    def stop(request: gr.Request) -> None:
        running.stop(str(request.session_hash))

    with gr.Blocks(title="smolmath", analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML(f"<h1>smolmath</h1><p>Ask {names} a question.</p>", elem_id="head")
        question = gr.Textbox(
            lines=1, max_lines=8, label="Question", show_label=False, container=False, placeholder="A question",
            elem_id="question",
        )  # fmt: skip
        with gr.Row(elem_id="buttons"):
            button = gr.Button("Ask", variant="primary", scale=4, elem_id="ask")
            stopping = gr.Button("Stop", scale=1, elem_id="stop", interactive=False)
        if examples:
            labels = [f"{dataset}: {_shortened(one)}" for dataset, one, _ in examples]
            gr.Examples([[one] for _, one, _ in examples], [question], label="From the data", example_labels=labels,
                        elem_id="examples")  # fmt: skip
        with gr.Accordion("Sampling", open=False, elem_id="sampling"), gr.Row():
            samples = gr.Slider(1, _MOST_SAMPLES, 1, step=1, label="Completions (majority vote)")
            temperature = gr.Slider(0, 2, 0, step=0.1, label="Temperature (0: greedy)")
            tokens = gr.Slider(min(16, limit), max(4 * limit, 512), limit, step=16, label="Tokens, at most")
        samples.input(None, [samples, temperature], [temperature], js=_SAMPLED, api_visibility="private")
        asked = gr.HTML("", elem_id="asked")
        with gr.Row(elem_id="columns"):
            columns = [
                gr.HTML(as_html(Shown(reasoner.model.name, "idle"), 1), elem_classes="model", min_width=0)
                for reasoner in reasoners
            ]
        gr.on(
            [button.click, question.submit], ask, [question, samples, temperature, tokens],
            [asked, stopping, *columns], show_progress="hidden", api_visibility="private",
            trigger_mode="multiple",  # else a question is dropped while another is answered; the newest wins
        )  # fmt: skip
        stopping.click(stop, None, None, queue=False, show_progress="hidden", api_visibility="private")
    blocks.queue(default_concurrency_limit=8)  # the lock in Asking decides who works; the others see that they wait
    theme = gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=["system-ui", "sans-serif"],
                           font_mono=["ui-monospace", "monospace"])  # fmt: skip
    app: FastAPI = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None), blocks, path="/", footer_links=[], run_history=False,
        ssr_mode=False, pwa=False, mcp_server=False, theme=theme, css_paths=[Path(__file__).with_name("page.css")],
        head=f"<script>{formulas_script()}\n{_script}</script>",
    )  # fmt: skip
    app.add_middleware(_ThePageAlone)
    return app


class _ThePageAlone:
    """What this page's browser asks of gradio, and nothing else that gradio can do, as taking anybody's files."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refused := _refused(scope["method"], scope["path"], Headers(scope=scope))):
            await PlainTextResponse(*refused)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _refused(method: str, path: str, headers: Headers) -> tuple[str, int] | None:
    if not (path in _SENT if method == "POST" else method in ("GET", "HEAD") and _READ.fullmatch(path)):
        return "not here", 404
    if method != "POST":
        return None
    if "origin" in headers and headers["origin"].partition("://")[2] != headers.get("host"):
        return "this page alone may ask", 403
    length = headers.get("content-length", "")
    return None if length.isdecimal() and int(length) <= _MOST_BYTES else ("too large, or of no said length", 413)


class _Running:
    """The latest question of each browser tab: the others are stopped."""

    def __init__(self) -> None:
        self._gone: dict[str, threading.Event] = {}

    def begin(self, session: str) -> threading.Event:
        self.stop(session)
        self._gone = {name: gone for name, gone in self._gone.items() if not gone.is_set()}
        self._gone[session] = threading.Event()
        return self._gone[session]

    def is_latest(self, session: str, gone: threading.Event) -> bool:
        return self._gone.get(session) is gone

    def stop(self, session: str) -> None:
        if session in self._gone:
            self._gone[session].set()


def as_html(shown: Shown, samples: int) -> str:
    """A model's column: its name, the reasoning, the answer, and what is to be known of both."""
    parts = [f"<h2>{escape(shown.model)}</h2>"]
    if shown.state == "refused":
        parts.append(f'<p class="refused">{_text(shown.reason)}</p>')
    elif shown.reasoning or shown.state == "writing":
        parts.append(f'<pre class="reasoning">{_text(shown.reasoning)}</pre>')
    if shown.answer is not None:
        parts.append(f'<p class="answer"><span>Answer</span> <bdi>{_text(shown.answer)}</bdi></p>')
    elif shown.state == "done":
        parts.append('<p class="answer none">no answer</p>')
    if shown.reference is not None and shown.right is not None:
        verdict = '<b class="right">✓ right</b>' if shown.right else '<b class="wrong">✗ wrong</b>'
        parts.append(f'<p class="graded">{verdict} reference <bdi>{_text(shown.reference)}</bdi></p>')
    if note := _note(shown, samples):
        parts.append(f'<p class="note">{_text(note)}</p>')
    return f'<section class="solution {shown.state}" aria-live="polite">{"".join(parts)}</section>'


def _note(shown: Shown, samples: int) -> str:
    if shown.state == "waiting":
        return "waits for its turn …"
    if shown.state == "writing":
        return f"writes {samples} completions …" if samples > 1 and not shown.reasoning else ""
    if shown.state == "stopped":
        return "stopped." if shown.reasoning else "stopped before anything was written."
    if shown.solution is None:
        return ""
    solution = shown.solution
    words = [f"{solution.tokens} tokens"]
    if not solution.finished:
        words.append("cut off at the limit")
    if solution.samples > 1:
        votes = ", ".join(f"{answer} ({count})" for answer, count in solution.votes) or "none"
        words.append(f"answers of {solution.samples} completions: {votes}")
    return "; ".join(words)


def asked_html(question: str) -> str:
    """What the columns below it answer."""
    return f"<p>{_text(question.strip())}</p>" if question.strip() else ""


def _text(text: str) -> str:
    """Whatever it holds, as text, without what turns the direction of what stands beside it."""
    return escape(visible(text))


def example_questions(split: Path) -> list[tuple[str, str, str]]:
    """A few (dataset, question, reference answer) of each dataset that is here, from its validation side."""
    sides = [path for path in sorted(split.glob("*/validation.parquet")) if pq.read_metadata(path).num_rows]
    each = max(1, _EXAMPLES // max(1, len(sides)))
    found = []
    for path in sides[:_EXAMPLES]:
        batch = next(pq.ParquetFile(path).iter_batches(each, columns=["question", "reference_answer"]))
        found += [(path.parent.name, str(row["question"]), str(row["reference_answer"])) for row in batch.to_pylist()]
    return found


def _shortened(question: str) -> str:
    """Its end, which tells questions of one kind apart."""
    words = " ".join(question.split())
    return words if len(words) < 45 else "… " + words[-45:].partition(" ")[2]  # gradio cuts at 60
