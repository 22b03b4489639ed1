#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How long files and functions are, and how much of them is comment, for each layer. Fails on what is
# longer than the ceilings.
set -u
cd "$(dirname "$0")/../.." || exit

{
	tests/lint/files.sh product
	tests/lint/files.sh all | grep -E '^(tests|guest-kit|tools)/.*\.[ch]$'
} | xargs awk -v FILE_MAX=800 -v FUNCTION_MAX=100 '
function close_file() {
	if (file == "")
		return
	kind = file ~ /\.h$/ ? "h" : "c"
	add(layer, kind, lines)
	if (layer != "tests")
		add("program", kind, lines)
	if (lines > FILE_MAX) {
		print file ": " lines " lines, the ceiling is " FILE_MAX
		bad = 1
	}
}
function add(where, what, value) {
	values[where, what, ++count[where, what]] = value
}
# The value below which the given part (in percent) of them lies.
function part_of(where, what, percent,    n, i, j, t, v) {
	n = count[where, what]
	if (!n)
		return "-"
	for (i = 1; i <= n; i++)
		v[i] = values[where, what, i]
	for (i = 2; i <= n; i++) {
		t = v[i]
		for (j = i - 1; j >= 1 && v[j] > t; j--)
			v[j + 1] = v[j]
		v[j + 1] = t
	}
	i = int((n * percent + 99) / 100)
	return v[i < 1 ? 1 : i]
}
function row(where,    share) {
	share = text[where] ? int(100 * comment[where] / text[where] + 0.5) "%" : "-"
	printf "%-18s %5d %10s %18s %9s %11s\n", where, count[where, "c"] + count[where, "h"], \
		part_of(where, "c", 50) " / " part_of(where, "c", 100), \
		part_of(where, "f", 50) " / " part_of(where, "f", 90) " / " part_of(where, "f", 100), \
		share, part_of(where, "h", 50) " / " part_of(where, "h", 100)
}
FNR == 1 {
	close_file()
	file = FILENAME
	layer = file
	sub(/\/[^\/]*$/, "", layer)
	if (layer ~ /^(tests|guest-kit|tools)/)
		layer = "tests"
	if (!(layer in seen)) {
		seen[layer] = 1
		layers[++nlayers] = layer
	}
	lines = 0
	signature = start = in_comment = 0
}
{ lines++ }
/[^ \t]/ {
	text[layer]++
	if (layer != "tests")
		text["program"]++
	if (in_comment || /\/\*/) {
		comment[layer]++
		if (layer != "tests")
			comment["program"]++
	}
	if (/\/\*/)
		in_comment = 1
	if (/\*\//)
		in_comment = 0
}
# A function, as the house style lays it out: a signature in the first column, "{" and "}" alone there.
/^[A-Za-z_].*\(/ && !/;[ \t]*$/ {
	signature = FNR
	name = $0
	sub(/\(.*/, "", name)
	sub(/.*[ *]/, "", name)
}
/^\{$/ { start = signature ? signature : FNR }
/^\}$/ && start {
	length_lines = FNR - start + 1
	add(layer, "f", length_lines)
	if (layer != "tests")
		add("program", "f", length_lines)
	if (length_lines > FUNCTION_MAX) {
		print FILENAME ":" start ": " name "() has " length_lines " lines, the ceiling is " FUNCTION_MAX
		bad = 1
	}
	start = signature = 0
}
END {
	close_file()
	printf "%-18s %5s %10s %18s %9s %11s\n", "lines", "files", ".c med/max", "func med/p90/max", \
		"comments", ".h med/max"
	for (l = 1; l <= nlayers; l++)
		if (layers[l] != "tests")
			row(layers[l])
	row("program")
	row("tests")
	exit bad
}'
