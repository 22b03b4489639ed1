#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# C files look as clang-format (the version of Debian 12) leaves them; scripts pass shellcheck.
set -u
cd "$(dirname "$0")/../.." || exit

bad=0
unformatted=$({ tests/lint/files.sh c; tests/lint/files.sh h; } | xargs clang-format --dry-run 2>&1 |
	sed -n 's/^\([^: ]*\.[ch]\):[0-9].*clang-format-violations.*/\1/p' | sort -u)
for file in $unformatted; do
	echo "$file: not as clang-format leaves it; run: clang-format -i $file"
	bad=1
done
# SC2016 (info): expressions in single quotes are awk's and make's here. SC2187: ash is
# checked as dash, which is right. SC2094 (info): takes a pipeline of two programs for one.
tests/lint/files.sh shell | xargs shellcheck -x -e SC2016,SC2094,SC2187 || bad=1
exit $bad
