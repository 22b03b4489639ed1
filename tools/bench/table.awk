# SPDX-License-Identifier: Apache-2.0
# Prints the table of one part, or with -v json=1 its JSON object.
#
# usage: awk -v part=PART -v columns="COLUMN..." -f table.awk ROWS RESULTS
# RESULTS has lines PART COLUMN METRIC VALUE; ROWS describes itself at its top (its divisors
# are numbers here, or products of two).

function number(text,    factor) {
	return split(text, factor, "*") == 2 ? factor[1] * factor[2] : text + 0
}

# What a wish allows: a number, or a factor times another column; "" if that was not measured.
function bound(text, row,    factor) {
	if (split(text, factor, "*") == 1)
		return text + 0
	return (factor[2], row) in value ? factor[1] * value[factor[2], row] : ""
}

function verdict(wish, row,    side, limit) {
	split(wish, side, "<=")
	limit = bound(side[2], row)
	if (!((side[1], row) in value) || limit == "")
		return "unknown"
	return value[side[1], row] <= limit ? "met" : "MISSED"
}

# A wish as the reader wants it: the column is named where it is not the first.
function wish_text(wish, row,    side, limit) {
	split(wish, side, "<=")
	limit = bound(side[2], row)
	return (side[1] == column[1] ? "" : side[1] " ") "<= " \
		(limit == "" ? side[2] : sprintf("%.*f", decimals[row], limit)) ": " verdict(wish, row)
}

FILENAME == ARGV[1] {
	if ($0 ~ /^#/ || split($0, field, "|") != 6 || field[1] != part)
		next
	rows++
	title[rows] = field[2]
	metric[rows] = field[3]
	divisor[rows] = number(field[4])
	decimals[rows] = field[5]
	wishes[rows] = field[6]
	next
}

$1 == part {
	raw[$2, $3] = $4
	for (row = 1; row <= rows; row++)
		if (metric[row] == $3)
			value[$2, row] = $4 / divisor[row]
}

function print_table(    row, i, n, wish, line) {
	printf "%-28s", ""
	for (i = 1; i <= count; i++)
		printf " %*s", width[i], column[i]
	print "   target"
	for (row = 1; row <= rows; row++) {
		line = sprintf("%-28s", title[row])
		for (i = 1; i <= count; i++)
			line = line sprintf(" %*s", width[i], (column[i], row) in value ? \
				sprintf("%.*f", decimals[row], value[column[i], row]) : "-")
		n = split(wishes[row], wish, " ")
		for (i = 1; i <= n; i++)
			line = line (i == 1 ? "   " : ", ") wish_text(wish[i], row)
		print line
	}
}

function print_json(    row, i, n, wish, side, first) {
	printf "  \"%s\": {\n", part
	for (i = 1; i <= count; i++) {
		printf "    \"%s\": {", column[i]
		first = 1
		for (row = 1; row <= rows; row++)
			if ((column[i], metric[row]) in raw && !shown[column[i], metric[row]]++) {
				printf "%s\"%s\": %s", first ? "" : ", ", metric[row], raw[column[i], metric[row]]
				first = 0
			}
		print "},"
	}
	printf "    \"targets\": ["
	first = 1
	for (row = 1; row <= rows; row++) {
		n = split(wishes[row], wish, " ")
		for (i = 1; i <= n; i++) {
			split(wish[i], side, "<=")
			printf "%s\n      {\"metric\": \"%s\", \"column\": \"%s\", \"bound\": \"%s\", \"verdict\": \"%s\"}", \
				first ? "" : ",", metric[row], side[1], side[2], verdict(wish[i], row)
			first = 0
		}
	}
	printf "\n    ]\n  }"
}

END {
	count = split(columns, column, " ")
	for (i = 1; i <= count; i++)
		width[i] = length(column[i]) > 9 ? length(column[i]) : 9
	if (json)
		print_json()
	else
		print_table()
}
