"""Ask a served model, and see it write: python examples/client.py "What is 3 + 4 - 2?"

Works with `smolmath serve`, `vllm serve` and every other OpenAI-compatible server.
"""

import argparse

from openai import OpenAI


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question")
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy, as in evaluation")
    parser.add_argument("--max-tokens", type=int, default=256)
    args = parser.parse_args()

    client = OpenAI(base_url=args.url, api_key="unused")  # the client wants a key; these servers don't look at it
    stream = client.chat.completions.create(
        model=client.models.list().data[0].id,  # the one model that is served
        messages=[{"role": "user", "content": args.question}],  # the system prompt is in the model's chat template
        temperature=args.temperature,
        max_tokens=args.max_tokens,
        stream=True,
    )
    for chunk in stream:
        for choice in chunk.choices:
            print(choice.delta.content or "", end="", flush=True)
    print()


if __name__ == "__main__":
    main()
