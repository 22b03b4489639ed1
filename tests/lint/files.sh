#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The files that the lints look at, one a line, sorted. Run from the top of the tree.
#
#   tests/lint/files.sh all|c|h|product|shell
#
# all: everything that is tracked or could be; c, h: C files and headers; product: C files and headers of
# the program itself; shell: what sh or bash runs.
set -u

everything() {
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files -co --exclude-standard
	else
		find . -type f -not -path './build/*' | sed 's|^\./||'
	fi | LC_ALL=C sort -u | while read -r f; do [ -f "$f" ] && echo "$f"; done
}

case ${1:-} in
all) everything ;;
c) everything | grep '\.c$' ;;
h) everything | grep '\.h$' ;;
product) everything | grep -E '^(vmm|devices|firmware|guest-kit/agent)/.*\.[ch]$' ;;
shell)
	everything | xargs awk 'FNR == 1 && /^#!.*[\/ ](sh|bash)( |$)/ { print FILENAME } { nextfile }'
	;;
*)
	echo "files.sh: all, c, h, product or shell" >&2
	exit 2
	;;
esac
