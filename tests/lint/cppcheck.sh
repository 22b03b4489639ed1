#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cppcheck over the program. What it found before is remembered by file in build/lint/cppcheck.
set -u
cd "$(dirname "$0")/../.." || exit

cache=${BUILD:-build}/lint/cppcheck
mkdir -p "$cache"
# missingIncludeSystem: it is not given the system's headers, which are not ours to check.
# varFuncNullUB: a NULL at the end of a list of arguments is a pointer with every libc that we build on.
# unmatchedSuppression: an inline suppression may be for another configuration of the same file.
tests/lint/files.sh product | grep '\.c$' >"$cache/files"
cppcheck --quiet --error-exitcode=1 -j 2 --cppcheck-build-dir="$cache" \
	--enable=warning,performance,portability --inline-suppr \
	--suppress=missingIncludeSystem --suppress=varFuncNullUB --suppress=unmatchedSuppression \
	--std=c11 --platform=unix64 -D_GNU_SOURCE -D__x86_64__ -D__cppcheck__ -I. \
	--template='{file}:{line}: {message} [{id}]' --file-list="$cache/files"
