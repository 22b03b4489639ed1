#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# No mutable state at file scope, nor static in functions: every machine, loop and device is an object that
# somebody owns. Looks at the object files, which cannot hide any; what is allowed stands in
# globals.allow with its reason.
set -u
cd "$(dirname "$0")/../.." || exit

out=${BUILD:-build}/$(uname -m)/release
objects=$(tests/lint/files.sh product | grep '\.c$' | sed "s|^\(.*\)\.c$|$out/\1.o|")
# shellcheck disable=SC2086 # a list of words
make --no-print-directory -s -j2 MODE=release BUILD="${BUILD:-build}" $objects >/dev/null || exit

# Object symbols in a writable section. Constants that need relocation lie in .data.rel.ro.
# shellcheck disable=SC2086 # a list of words
found=$(objdump -t $objects | awk -v out="$out/" '
	/file format/ {
		file = substr($1, length(out) + 1)
		sub(/\.o:$/, ".c", file)
	}
	NF >= 5 && / O / && $(NF - 2) ~ /^(\.data|\.bss|\.tdata|\.tbss|\*COM\*)/ && $(NF - 2) !~ /^\.data\.rel\.ro/ {
		sub(/\.[0-9]+$/, "", $NF)
		print file, $NF
	}' | LC_ALL=C sort -u)

allowed=$(grep -v '^#' tests/lint/globals.allow)
bad=0
while read -r file symbol; do
	[ -n "$file" ] || continue
	if ! grep -qF "$file $symbol " <<<"$allowed"; then
		echo "$file: $symbol is mutable state at file scope; give it an owner"
		bad=1
	fi
done <<<"$found"
while read -r file symbol reason; do
	[ -n "$file" ] || continue
	if ! grep -qxF "$file $symbol" <<<"$found"; then
		echo "globals.allow: $file has no $symbol any more; take the line away"
		bad=1
	fi
	if [ -z "$reason" ]; then
		echo "globals.allow: $file $symbol: a reason is missing"
		bad=1
	fi
done <<<"$allowed"
exit $bad
