#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is said of commands and options: --help on every level, the manual pages and the completions of three shells, held
# against each other. Needs no KVM.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

completion=tools/completion
PATH=$work/bin:$PATH
export PATH

# What a path of words says of itself, kept: "" is charmvm --help, "snapshot save" charmvm snapshot save --help.
help_of() {
	local kept="$work/kept/$*"
	[ -e "$kept/text" ] || { mkdir -p "$kept" && "$charmvm" "$@" --help </dev/null >"$kept/text"; }
	cat "$kept/text"
}
names() { help_of "$@" | sed -nE '/^(Commands|Verbs):$/,/^$/s/^  ([a-z-]+) .*/\1/p'; }
options() { help_of "$@" | sed -nE 's/^  (-., |    )(--[a-z0-9-]+).*/\2/p'; }

# All there are, a line each: "", "ssh", "snapshot", "snapshot save", ...
paths() {
	local command verb
	echo
	for command in $(names); do
		echo "$command"
		for verb in $(names "$command"); do
			echo "$command $verb"
		done
	done
}
paths >"$work/paths"

# The page as plain words: what its macros hide is taken away.
plain() {
	local page=$work/${1##*/}
	[ -e "$page" ] || sed -E 's/\\f.//g; s/\\-/-/g; s/^\.(B|I|BR|RB|BI|IB|IR|RI) //; s/[][",|]/ /g; s/  +/ /g' "$1" >"$page"
	echo "$page"
}
# The page that has a command.
page_of() {
	local page
	case $1 in
	'') echo vmm/charmvm.1; return ;;
	image) echo tools/image/charmvm-image.1; return ;;
	esac
	for page in vmm/charmvm-*.1; do
		awk -v head="charmvm $1" 'first { if (index(" " $0 " ", " " head " ")) { found = 1; exit } }
			{ first = /^\.TP/ } END { exit !found }' "$(plain "$page")" && { echo "$page"; return; }
	done
}
# What the page says of a command: the entries that begin with it, or have it among others in their first line.
entries_of() { # PAGE COMMAND [VERB]
	awk -v head="charmvm $2${3:+ $3}" -v verb="${3:-}" '
		/^\.(TP|SH|SS)/ { on = 0; first = 1; next }
		first { first = 0; line = " " $0 " "
			on = index(line, " " head " ") || (verb != "" && index(line, " " verb " ") && index(line, "charmvm ")) }
		on' "$(plain "$1")"
}

# Those of the options on standard input ("-m, --mem") that the text has neither by name nor by letter. Of --help, all
# pages speak once.
missing_in() { # FILE
	awk -v file="$1" '
		function has(word) { return match(text, "(^|[^a-z-])" word "([^a-z-]|$)") }
		BEGIN { while ((getline line <file) > 0) text = text " " line }
		$NF != "--help" && !has($NF) && !(NF > 1 && has(substr($1, 1, 2))) { print $NF }'
}

every_level_has_help() {
	local path
	expect "$(wc -l <"$work/paths")" "$(sort -u "$work/paths" | wc -l)" "commands and verbs, each once" || return
	[ "$(wc -l <"$work/paths")" -gt 55 ] || { echo "only $(wc -l <"$work/paths") were found"; return 1; }
	while read -ra path; do
		"$charmvm" ${path[@]+"${path[@]}"} --help >"$work/text" 2>"$work/stderr" </dev/null
		expect $? 0 "status of charmvm ${path[*]} --help" || return
		if [ -s "$work/stderr" ] || [[ $(<"$work/text") != 'Usage: charmvm '* ]]; then
			cat "$work/stderr" "$work/text"
			return 1
		fi
		"$charmvm" help ${path[@]+"${path[@]}"} 2>&1 </dev/null | cmp -s - "$work/text" ||
			{ echo "charmvm help ${path[*]} says something else"; return 1; }
	done <"$work/paths"
}

every_command_and_option_is_in_a_manual_page() {
	local path page bad=
	while read -ra path; do
		# A group's verbs have entries of their own.
		[ "${#path[@]}" != 1 ] || [ "${path[0]}" = image ] || [ -z "$(names "${path[0]}")" ] || continue
		page=$(page_of "${path[0]:-}")
		[ -n "$page" ] || { echo "charmvm ${path[*]}: no page has it"; bad=1; continue; }
		case ${path[0]:-} in
		'' | image) cat "$(plain "$page")" ;;
		up | start | run) entries_of "$page" "${path[0]}"; cat "$(plain vmm/charmvm.1)" ;;
		snapshot) entries_of "$page" "${path[@]}" >"$work/own"; [ ! -s "$work/own" ] || cat "$(plain "$page")" ;;
		*) entries_of "$page" "${path[@]}" ;;
		esac >"$work/entry"
		[ -s "$work/entry" ] || { echo "$page: nothing on charmvm ${path[*]}"; bad=1; continue; }
		[ "${path[0]:-}" != image ] || grep -qw -- "${path[1]:-image}" "$work/entry" || { echo "$page: no ${path[1]}"; bad=1; }
		help_of ${path[@]+"${path[@]}"} | sed -nE 's/^  (-.,|   ) (--[a-z0-9-]+).*/\1 \2/p' |
			missing_in "$work/entry" | sed "s,^,$page: charmvm ${path[*]}: no ," >"$work/missing"
		[ ! -s "$work/missing" ] || { cat "$work/missing"; bad=1; }
	done <"$work/paths"
	[ -z "$bad" ]
}

manual_pages_are_well_formed() {
	local page
	command -v groff >/dev/null || { echo "no groff here"; return 77; }
	for page in vmm/*.[157] tools/image/*.1 vmm/build/*.5; do
		expect "$(groff -man -ww -z "$page" 2>&1)" "" "what groff says of $page" || return
	done
}

# The commands, the verbs and the options that a shell offers, as "PATH: WORD", sorted.
wanted() {
	local path
	while read -ra path; do
		{
			names ${path[@]+"${path[@]}"}
			options ${path[@]+"${path[@]}"}
		} | sed "s/^/${path[*]}: /"
	done <"$work/paths" | sort -u
}

offers_all() { # SHELL
	mkdir -p "$work/bin" && ln -sf "$(realpath "$charmvm")" "$work/bin/charmvm"
	wanted >"$work/wanted"
	[ "$(wc -l <"$work/wanted")" -gt 300 ] || { echo "only $(wc -l <"$work/wanted") words are wanted"; return 1; }
	sort -u "$work/offered" >"$work/got"
	comm -23 "$work/wanted" "$work/got" >"$work/missing"
	head -n 20 "$work/missing"
	[ ! -s "$work/missing" ]
}

bash_offers_every_command_and_option() {
	mkdir -p "$work/bin" && ln -sf "$(realpath "$charmvm")" "$work/bin/charmvm"
	# shellcheck source=tools/completion/charmvm.bash
	. "$completion/charmvm.bash"
	local path word
	while read -ra path; do
		for word in '' --; do
			# Only what has commands or verbs has names to offer.
			[ "$word" ] || [ -n "$(names ${path[@]+"${path[@]}"})" ] || continue
			COMP_WORDS=(charmvm ${path[@]+"${path[@]}"} "$word")
			COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
			COMPREPLY=()
			_charmvm 2>/dev/null
			printf "${path[*]}: %s\n" ${COMPREPLY[@]+"${COMPREPLY[@]}"}
		done
	done <"$work/paths" >"$work/offered"
	offers_all
}

zsh_offers_every_command_and_option() {
	command -v zsh >/dev/null || { echo "no zsh here"; return 77; }
	mkdir -p "$work/bin" && ln -sf "$(realpath "$charmvm")" "$work/bin/charmvm"
	zsh -f -c '
		. $1
		while read -r line; do
			for word in "" --; do
				[[ -n $word ]] || grep -qE "^(Commands|Verbs):" "$3/$line/text" || continue
				words=(charmvm ${=line} "$word") CURRENT=$#words
				_charmvm_candidates | sed "s/^/$line: /"
			done
		done <$2' zsh "$completion/_charmvm" "$work/paths" "$work/kept" >"$work/offered"
	offers_all
}

fish_offers_every_command_and_option() {
	command -v fish >/dev/null || { echo "no fish here"; return 77; }
	mkdir -p "$work/bin" && ln -sf "$(realpath "$charmvm")" "$work/bin/charmvm"
	HOME=$work fish --no-config -c '
		source $argv[1]
		while read line
			for word in "" --
				test -n "$word"; or grep -qE "^(Commands|Verbs):" "$argv[3]/$line/text"; or continue
				complete -C (string join -- " " charmvm (string split -n " " -- $line) "$word") | string replace -r "\t.*" "" | sed "s/^/$line: /"
			end
		end <$argv[2]' "$completion/charmvm.fish" "$work/paths" "$work/kept" >"$work/offered"
	offers_all
}

# Of an image that does not run.
snapshots_are_offered() {
	mkdir -p "$work/bin" && ln -sf "$(realpath "$charmvm")" "$work/bin/charmvm"
	"$charmvm" image create -q -f qcow2 "$work/a.qcow2" 1M && "$charmvm" snapshot save fresh --image "$work/a.qcow2" || return
	# shellcheck source=tools/completion/charmvm.bash
	. "$completion/charmvm.bash"
	COMP_WORDS=(charmvm up "$work/a.qcow2" --from f) COMP_CWORD=4 COMPREPLY=()
	_charmvm
	expect "${COMPREPLY[*]}" fresh "what bash offers" || return
	if command -v zsh >/dev/null; then
		expect "$(zsh -f -c '. $1; words=(charmvm up $2 --from f) CURRENT=5; _charmvm_candidates' zsh "$completion/_charmvm" \
			"$work/a.qcow2")" fresh "what zsh offers" || return
	fi
	if command -v fish >/dev/null; then
		expect "$(HOME=$work fish --no-config -c 'source $argv[1]; complete -C "charmvm up $argv[2] --from f"' \
			"$completion/charmvm.fish" "$work/a.qcow2")" fresh "what fish offers" || return
	fi
}

run_tests every_level_has_help every_command_and_option_is_in_a_manual_page manual_pages_are_well_formed \
	bash_offers_every_command_and_option zsh_offers_every_command_and_option fish_offers_every_command_and_option \
	snapshots_are_offered
