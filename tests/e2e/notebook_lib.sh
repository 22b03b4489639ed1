# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What tests of a notebook share: machines run in a lab, whoever visits them is outside of it. Read behind lib.sh, with $machine set.

coproc LAB { tests/lab/lab run --quiet --ports 8800-8899 --time 7200 -- tests/e2e/shell_in_lab.sh; }
exec {to}>&"${LAB[1]}" {from}<&"${LAB[0]}"
# Tests are children, and these descriptors are theirs as well: one test at a time.
there() { # COMMAND: in the lab; its output, its status
	local line
	printf '%s\n' "$1" >&"$to"
	while IFS= read -r line <&"$from"; do
		case $line in "= "*) return "${line#= }" ;; esac
		printf '%s\n' "$line"
	done
	echo "the lab has ended"
	return 125
}
url_of() { # MACHINE
	there "\"\$charmvm\" open $1 --time 15m"
}
status_of() { # PORT PATH TOKEN
	curl -s -m 120 -o /dev/null -w '%{http_code}' "http://localhost:$1/$2?token=$3"
}
kernels_of() { # PORT TOKEN
	curl -s -m 120 "http://localhost:$1/api/kernels?token=$2" | jq -r '.[].id'
}

token() { sed 's/.*token=//' "$work/url"; } # of the first machine
ends_when_asked() {
	there "\"\$charmvm\" stop $machine --time 300" || return
	echo exit >&"$to"
	cat <&"$from" # until the lab is gone
}
