#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whoever silences a checker says why, on the same line: at least eight letters after the directive.
set -u
cd "$(dirname "$0")/../.." || exit

# directive: what it looks like up to where the reason begins
directives='NOLINT(NEXTLINE|BEGIN)?(\([^)]*\))?
cppcheck-suppress[a-z-]*[ (]*\[?[A-Za-z0-9_,]+\]?\)?
shellcheck disable=[^ ]+
clang-format off
#[ \t]*pragma GCC diagnostic ignored "[^"]*"
no_sanitize(_[a-z]+)?(\([^)]*\))?'

bad=0
while read -r directive; do
	# grep for speed, awk for what follows the directive on its line.
	tests/lint/files.sh all | grep -vE '\.md$|^tests/lint/' | xargs grep -nHIE "$directive" |
		directive=$directive awk '
			match($0, ENVIRON["directive"]) {
				reason = substr($0, RSTART + RLENGTH)
				gsub(/[^A-Za-z]+/, "", reason)
				if (length(reason) < 8) {
					print $0 " <- why?"
					bad = 1
				}
			}
			END { exit bad }' || bad=1
done <<<"$directives"
exit $bad
