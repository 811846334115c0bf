#!/usr/bin/env bash
# Run the pipeline at another commit too, on this machine, and print what the workspace does better or worse, as a
# Markdown table. The checkout and its results stay as they are: the other side runs in a clone of its own.
#
#     tools/compare_with.sh origin/main >> "$GITHUB_STEP_SUMMARY"
set -euo pipefail
cd "$(dirname "$0")/.."
base=$(git rev-parse --verify --quiet "${1:?name a commit to compare with}^{commit}") ||
	{ echo "error: $1 is no commit here: git fetch" >&2; exit 1; }
export PATH="$PWD/.venv/bin:$PATH"
tag="compared-${base:0:12}"
other=$(mktemp -d)
trap 'rm -rf "$other"; git tag --delete "$tag" > /dev/null 2>&1 || true' EXIT
git tag --force "$tag" "$base" > /dev/null
git -c advice.detachedHead=false clone --quiet --branch "$tag" . "$other"
cache=$(dvc cache dir)
(
	cd "$other"
	dvc cache dir --local "$cache" # one cache: what both sides have in common is not run twice
	dvc repro >&2
	git add --all dvc.lock metrics
	git -c user.name=compare -c user.email=compare@localhost commit --quiet --allow-empty --message "as run here"
	git tag --force "$tag" > /dev/null
)
git fetch --quiet --force "$other" "refs/tags/$tag:refs/tags/$tag"
smolmath compare "$tag" --markdown
