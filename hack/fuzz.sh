#!/usr/bin/env bash
# fuzz.sh FUZZTIME runs every fuzz target of the module for that long, goes on where one finds something, and ends with
# "N targets, N failed". A failing input is a new file in the testdata/fuzz of its package.
set -euo pipefail
cd "$(dirname "$0")/.."

targets=0 failed=0
while IFS=: read -r file name; do
  targets=$((targets + 1))
  package=./$(dirname "$file") target=${name#func }
  # Finding the smallest input that does something new takes longer than it is worth in a short run.
  fuzz() { go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 10x "$package" 2>&1; }
  # A worker that is cut off at the end of its time is reported as a failure without an input: once more.
  if ! out=$(fuzz "$1") && { [[ $out != *'context deadline exceeded'* || $out == *'Failing input'* ]] || ! out=$(fuzz "$1"); }; then
    failed=$((failed + 1))
    echo "$package $target:" && echo "$out"
  fi
done < <(git ls-files -co --exclude-standard '*_test.go' | xargs grep -oH '^func Fuzz[A-Za-z0-9_]*')

echo "$targets targets, $failed failed"
((failed == 0))
