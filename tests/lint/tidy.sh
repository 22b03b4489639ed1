#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# clang's warnings and clang-tidy (.clang-tidy says which checks) over the program. A file that passed is
# looked at again when it, a header of ours or the checks have changed.
set -u
cd "$(dirname "$0")/../.." || exit

cache=${BUILD:-build}/lint/tidy
mkdir -p "$cache"
export cache flags

flags=$(printf 'include Makefile\nprint:\n\t$(info $(CPPFLAGS) -std=gnu17 $(WARNINGS))\n\t@:\n' |
	make -s --no-print-directory -f - print) || exit

one() {
	local file=$1 stamp words
	stamp=$cache/$(tr / - <<<"$file")
	[ "$stamp" -nt "$file" ] && [ "$stamp" -nt "$cache/headers" ] && return
	eval "words=($flags)"
	clang-tidy --quiet --warnings-as-errors='*' "$file" -- "${words[@]}" 2>/dev/null && touch "$stamp"
}
export -f one

# As old as the youngest header.
newest=$({ tests/lint/files.sh h | xargs ls -t; } | head -n 1)
touch -r "$newest" "$cache/headers"
[ .clang-tidy -nt "$newest" ] && touch -r .clang-tidy "$cache/headers"
tests/lint/files.sh product | grep '\.c$' | xargs -P 2 -n 1 bash -c 'one "$0"'
