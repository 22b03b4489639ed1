#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# All lints, or the ones that are named. Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit

passed=0
failed=0
[ $# -gt 0 ] || set -- includes spdx suppressions sizes format globals cppcheck tidy
for lint; do
	began=$SECONDS
	if output=$("tests/lint/$lint.sh" 2>&1); then
		passed=$((passed + 1))
		echo "ok lint/$lint ($((SECONDS - began)) s)"
		[ "$lint" != sizes ] || echo "$output"
	else
		failed=$((failed + 1))
		echo "$output"
		echo "FAILED lint/$lint"
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
